//! `fsck`: is everything that is stored what was written, and would it be accepted today?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use crate::reconcile::{fsck as check, unix_now_s};
use crate::state::{Checked, Reader, repair};

/// Options of `fsck`.
#[derive(Args)]
pub struct FsckArgs {
    /// Remove what is damaged and comes again by itself; never a generation, never the floors. No host may run
    #[arg(long)]
    repair: bool,
    /// The trust policy; default is `trust.toml` in the home
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    #[serde(rename = "$type")]
    document: &'static str,
    sound: bool,
    repaired: usize,
    #[serde(flatten)]
    checked: Checked,
}

/// Ends with 0 when nothing is wrong, with 1 when something is, and with 3 when nothing could be checked.
pub(crate) fn fsck(global: &Global, args: FsckArgs) -> Result<ExitCode, Failure> {
    let policy = global.trust_policy(args.trust)?;
    let engine = check::engine_in_use()?;
    let reader = Reader::new(&global.home()?);
    let checked = check::fsck(&reader, &engine, &policy, unix_now_s()).map_err(|error| Failure::state(&error))?;
    let repaired = match args.repair {
        true => {
            repair(&reader, &checked.findings, unix_now_s().unsigned_abs()).map_err(|error| Failure::state(&error))?
        }
        false => 0,
    };
    let is_left = |finding: &crate::state::Finding| !(finding.note || args.repair && finding.is_repairable());
    let sound = !checked.findings.iter().any(is_left);
    let report = Report { document: "airssys-wasm/fsck/v1", sound, repaired, checked };
    output::print(global.output, &report, || text(&report))?;
    Ok(if sound { ExitCode::SUCCESS } else { Exit::General.into() })
}

fn text(report: &Report) -> String {
    let Checked { generations, objects, cache_entries, mirrors, findings, snapshot: _ } = &report.checked;
    let mut text = String::new();
    for finding in findings {
        let mark = if finding.note { "= " } else { "! " };
        text += &format!("{mark} {}  {} [{}]\n", finding.place, finding.why, finding.code);
        finding.advice.lines().for_each(|line| text += &format!("     {line}\n"));
    }
    text += &format!(
        "checked  {generations} generations, {objects} objects, {cache_entries} entries of the code cache, {mirrors} mirrors\n"
    );
    if report.repaired > 0 {
        text += &format!("removed  {} damaged files\n", report.repaired);
    }
    let damage = findings.iter().filter(|finding| !finding.note).count();
    text + &match (report.sound, damage) {
        (true, 0) => "sound\n".to_owned(),
        (true, _) => "sound now; the next pass of a host brings back what was removed\n".to_owned(),
        (false, n) => format!("{n} things are wrong\n"),
    }
}
