//! `validate`: checks desired files and changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use super::paint::{Paint, Stream};
use crate::desired::Entry;
use crate::diagnostic::Diagnostic;

/// Options of `validate`.
#[derive(Args)]
pub struct ValidateArgs {
    /// The desired directory; default as for `run`
    dir: Option<PathBuf>,
}

/// What `validate` found.
#[derive(Serialize)]
struct Report {
    #[serde(rename = "$type")]
    document: &'static str,
    valid: Vec<String>,
    problems: Vec<Diagnostic>,
}

/// Reads every desired file and reports every problem in every one of them.
pub(crate) fn validate(global: &Global, args: ValidateArgs) -> Result<ExitCode, Failure> {
    let directory = global.desired_directory(args.dir)?;
    let desired = crate::reconcile::read::once(&directory).map_err(|problem| {
        let failure = Failure::message(Exit::Configuration, problem.message);
        match problem.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let mut report = Report { document: "airssys-wasm/validate/v1", valid: Vec::new(), problems: Vec::new() };
    for (name, entry) in &desired.entries {
        match entry {
            Entry::Wanted { .. } => report.valid.push(name.to_string()),
            Entry::Held(held) => report.problems.extend(held.problems.iter().cloned()),
        }
    }
    report.problems.extend(desired.unknown.iter().flat_map(|file| file.problems.iter().cloned()));
    report.problems.sort_by_key(Diagnostic::location);
    report.problems.dedup();
    output::print(global.output, &report, || {
        let count = report.valid.len();
        format!("{count} {} valid\n", if count == 1 { "file is" } else { "files are" })
    })?;
    if report.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    print_problems(global, &report.problems);
    let paint = Paint::new(global, Stream::Stderr);
    let count = report.problems.len();
    let what = if count == 1 { "problem" } else { "problems" };
    eprintln!("{} {count} {what} in {}", paint.red("error:"), crate::escape::Escaped(&directory.display().to_string()));
    Ok(Exit::Validation.into())
}

/// Prints diagnostics to standard error, the first word in red.
pub(crate) fn print_problems(global: &Global, problems: &[Diagnostic]) {
    let paint = Paint::new(global, Stream::Stderr);
    for problem in problems {
        let text = problem.to_string();
        match text.strip_prefix("error:") {
            Some(rest) => eprintln!("{}{rest}", paint.red("error:")),
            None => eprintln!("{text}"),
        }
    }
}
