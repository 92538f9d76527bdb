//! `status`: the host and its components, or all about one.

use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use crate::control::client::{self, AskError};
use crate::escape::Escaped;
use crate::runtime::socket_candidates;
use crate::status::{HostStatus, text};

/// Options of `status`.
#[derive(Args)]
pub struct StatusArgs {
    /// Only this installation
    name: Option<String>,
}

/// Prints what the running host says, or what is committed when none runs.
pub(crate) fn status(global: &Global, args: StatusArgs) -> Result<ExitCode, Failure> {
    let mut status = gather(global)?;
    if let Some(name) = &args.name {
        status.components.retain(|component| &component.name == name);
        if status.components.is_empty() {
            let message = format!("there is no installation named {}", Escaped(name));
            return Err(Failure::message(Exit::General, message).hint("`airssys-wasm list` shows the names"));
        }
    }
    output::print(global.output, &status, || text::full(&status, args.name.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the running host; without one, reads what is committed.
pub(crate) fn gather(global: &Global) -> Result<HostStatus, Failure> {
    let home = global.home()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(client::status(&socket_candidates(&home).map_err(anyhow::Error::from)?)) {
        Ok(status) => Ok(status),
        Err(AskError::NoHost) => crate::reconcile::offline::status(&home).map_err(Failure::from),
        Err(error) => Err(Failure::new(Exit::Network, error)),
    }
}
