//! `audit`: what was decided and done, by whom, and what was denied, from the files of the state alone.

use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use crate::audit::query::{MAX_SHOWN, Query};
use crate::audit::{Kind, text};
use crate::name::InstallationName;
use crate::quantity::Millis;
use crate::reconcile::unix_now_s;
use crate::state::Reader;
use crate::timestamp::unix_seconds;

/// Options of `audit`.
#[derive(Args)]
pub struct AuditArgs {
    /// Only what is about this installation
    name: Option<InstallationName>,
    /// Only records of this kind, as `denied` or `install`; may be given several times
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<Kind>,
    /// Only from this time on: a date as 2027-01-31T12:00:00Z, or a span before now as 90m
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,
    /// How many records, from the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=MAX_SHOWN as i64))]
    number: u32,
    /// Check that no record was changed, moved or removed, and print the digest of the last one
    #[arg(long)]
    verify: bool,
}

/// Prints the newest records that match, oldest first.
pub(crate) fn audit(global: &Global, args: AuditArgs) -> Result<ExitCode, Failure> {
    let AuditArgs { name: installation, kind, since, until, number, verify } = args;
    let query = Query { installation, kinds: kind.into_iter().collect(), since, until, most: number as usize };
    let audit = Reader::new(&global.home()?).audit(&query).map_err(|error| Failure::state(&error))?;
    output::print(global.output, &audit, || match verify {
        true => text::chain(&audit.chain),
        false => text::audit(&audit),
    })?;
    if audit.chain.broken == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    if verify {
        return Ok(Exit::Validation.into());
    }
    eprintln!("warning: the log was changed, or part of it is lost; `airssys-wasm audit --verify` says where");
    Ok(ExitCode::SUCCESS)
}

fn kind(word: &str) -> Result<Kind, String> {
    Kind::of_word(word).ok_or_else(|| {
        let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("the kinds are {}", words.join(", "))
    })
}

/// Seconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    if let Ok(span) = text.parse::<Millis>() {
        return Ok(unix_now_s().unsigned_abs().saturating_sub(span.0 / 1_000));
    }
    let date = text.parse().ok().and_then(|date| unix_seconds(&date)).and_then(|seconds| u64::try_from(seconds).ok());
    date.ok_or_else(|| "a time is a date as 2027-01-31T12:00:00Z, or a span before now as 90m".to_owned())
}
