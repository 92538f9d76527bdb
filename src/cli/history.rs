//! `history`: what each generation changed, from the files of the state alone.

use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::exit::Failure;
use super::output;
use crate::history::text;
use crate::name::InstallationName;
use crate::reconcile::past;

/// Options of `history`.
#[derive(Args)]
pub struct HistoryArgs {
    /// Only what touches this installation
    name: Option<InstallationName>,
    /// How many generations, from the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    number: u16,
}

/// Prints the last generations, newest first.
pub(crate) fn history(global: &Global, args: HistoryArgs) -> Result<ExitCode, Failure> {
    let history = past::history(&global.home()?, usize::from(args.number), args.name.as_ref())?;
    output::print(global.output, &history, || text::history(&history))?;
    Ok(ExitCode::SUCCESS)
}
