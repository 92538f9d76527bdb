//! `gc`: removes what no kept generation needs, while no host is running.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use crate::quantity::ByteSize;
use crate::reconcile::unix_now_s;
use crate::state::{Collected, Keep, Options, Reader, StateError, Store};

/// Options of `gc`.
#[derive(Args)]
pub struct GcArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(rename = "$type")]
    document: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    collected: Collected,
    freed_bytes: u64,
}

/// Removes old generations, and objects and compiled code that only they need.
pub(crate) fn gc(global: &Global, args: GcArgs) -> Result<ExitCode, Failure> {
    let home = global.home()?;
    let settings = global.config()?.state;
    // A home that no host ever used stays as it is.
    let is_used = Reader::new(&home).snapshot().map_err(|error| failure(&error))?.digest.is_some();
    let collected = if is_used {
        let opened = Store::open(&home, Options::at(unix_now_s().unsigned_abs())).map_err(|error| failure(&error))?;
        let keep = Keep { removes: !args.dry_run, ..Keep::with(SystemTime::now(), &settings) };
        opened.store.collect(keep).wait().map_err(|error| failure(&error))?
    } else {
        Collected::default()
    };
    let freed_bytes = collected.object_bytes + collected.cache_bytes + collected.generation_bytes;
    let report = Report { document: "airssys-wasm/gc/v1", dry_run: args.dry_run, collected, freed_bytes };
    output::print(global.output, &report, || text(&report))?;
    Ok(ExitCode::SUCCESS)
}

fn failure(error: &StateError) -> Failure {
    let failure = Failure::message(Exit::Configuration, error.to_string());
    match error {
        StateError::Locked { .. } => {
            failure.hint("a running host does this by itself, once an hour; to do it now, stop the host first")
        }
        _ => match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
    }
}

fn text(report: &Report) -> String {
    let Collected { generations, objects, object_bytes, cache_entries, cache_bytes, generation_bytes } =
        report.collected;
    let (done, freed) = if report.dry_run { ("would remove", "would free") } else { ("removed", "freed") };
    format!(
        "{done}  {generations} generations ({}), {objects} objects ({}), {cache_entries} entries of the code cache ({})\n\
         {freed}  {}\n",
        ByteSize(generation_bytes),
        ByteSize(object_bytes),
        ByteSize(cache_bytes),
        ByteSize(report.freed_bytes),
    )
}
