//! `validate`: checks desired files and changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::exit::{Exit, Failure};
use super::global::FromGitArgs;
use super::output;
use super::paint::{Paint, Stream};
use crate::desired::{DesiredState, Entry};
use crate::diagnostic::Diagnostic;
use crate::reconcile::repository::{FromGit, SnapshotParts};
use crate::resolution::Refusal;
use crate::worker::Workers;

/// Options of `validate`.
#[derive(Args)]
pub struct ValidateArgs {
    /// The desired directory; default as for `run`
    dir: Option<PathBuf>,
    #[command(flatten)]
    from_git: FromGitArgs,
    /// Fetch nothing from other machines: what was fetched before must do
    #[arg(long, requires = "from_git")]
    offline: bool,
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
    let (desired, place) = match args.from_git.source(&global.config()?)? {
        Some(from) => {
            let place = from.repository.to_string();
            (from_commit(global, from, args.offline)?, place)
        }
        None => {
            let directory = global.desired_directory(args.dir)?;
            let desired = crate::reconcile::read::once(&directory).map_err(refused)?;
            (desired, crate::escape::escape(&directory.display().to_string()))
        }
    };
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
    eprintln!("{} {count} {what} in {}", paint.red("error:"), place);
    Ok(Exit::Validation.into())
}

/// The desired files of the commit that would be applied next.
fn from_commit(global: &Global, from: FromGit, offline: bool) -> Result<DesiredState, Failure> {
    let parts = SnapshotParts {
        from,
        workers: Workers::of_this_program()?,
        settings: global.config()?.sources,
        home: global.home()?,
        offline,
    };
    crate::reconcile::offline::of_commit(parts)?.map_err(refused)
}

fn refused(problem: Refusal) -> Failure {
    let failure = Failure::message(Exit::Configuration, problem.message);
    problem.hint.into_iter().fold(failure, Failure::hint)
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
