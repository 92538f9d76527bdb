//! `list`: the components, one line each.

use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::exit::Failure;
use super::output;
use super::status::gather;
use crate::status::text;

/// Options of `list`.
#[derive(Args)]
pub struct ListArgs {}

/// Prints a table of all components.
pub(crate) fn list(global: &Global, _args: ListArgs) -> Result<ExitCode, Failure> {
    let status = gather(global)?;
    output::print(global.output, &status.components, || text::table(&status))?;
    Ok(ExitCode::SUCCESS)
}
