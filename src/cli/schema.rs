//! `schema`: the JSON Schemas of files and documents.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use crate::escape::Escaped;
use crate::schema::{KINDS, Kind};

/// Options of `schema`.
#[derive(Args)]
pub struct SchemaArgs {
    /// Of what; without it all kinds are listed
    kind: Option<String>,
}

/// Prints one schema as it is, whatever the format of data; or the list of kinds.
pub(crate) fn schema(_global: &Global, args: SchemaArgs) -> Result<ExitCode, Failure> {
    let mut list = String::new();
    for Kind { name, about, .. } in KINDS {
        let _ = writeln!(list, "{name:<12}{about}");
    }
    let text = match &args.kind {
        None => list,
        Some(name) => match Kind::of_name(name) {
            Some(kind) => kind.text(),
            None => {
                let message = format!("there is no schema of {}", Escaped(name));
                return Err(Failure::message(Exit::CommandLine, message).hint(format!("there are\n{list}")));
            }
        },
    };
    output::write_stdout(&text)?;
    Ok(ExitCode::SUCCESS)
}
