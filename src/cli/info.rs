//! `info`: everything about one installation.

use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::control::{ask_raw, failure};
use super::exit::{Exit, Failure};
use super::global::installation;
use super::output;
use crate::control::client::AskError;
use crate::reconcile::offline;
use crate::status::info::text;

/// Options of `info`.
#[derive(Args)]
pub struct InfoArgs {
    /// The installation
    name: String,
}

/// Prints what the running host says, or what is committed when none runs.
pub(crate) fn info(global: &Global, args: InfoArgs) -> Result<ExitCode, Failure> {
    let name = installation(&args.name)?;
    let info = match ask_raw(global, async |client| client.info(name.as_str()).await)? {
        Ok(info) => info,
        Err(AskError::NoHost) => offline::info(&global.home()?, &name)?.ok_or_else(|| {
            let message = format!("there is no installation named {name}");
            Failure::message(Exit::General, message).hint("`airssys-wasm list` shows the names")
        })?,
        Err(error) => return Err(failure(error)),
    };
    output::print(global.output, &info, || text(&info))?;
    Ok(ExitCode::SUCCESS)
}
