//! `export`: what is committed and running, as a file for plans that are made elsewhere.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::document_file::{self, OutFile};
use super::exit::{Exit, Failure};
use super::output;
use crate::control::client::{AskError, Client};
use crate::export::{Export, MAX_EXPORT_BYTES};
use crate::reconcile::offline;

/// Options of `export`.
#[derive(Args)]
pub struct ExportArgs {
    /// Write it to this file, and not to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Prints or writes the state as it is; it is JSON, whatever the format of data.
pub(crate) fn export(global: &Global, args: ExportArgs) -> Result<ExitCode, Failure> {
    let home = global.home()?;
    let out = args.out.as_deref().map(OutFile::new::<Export>).transpose()?;
    let sockets = crate::runtime::socket_candidates(&home).map_err(anyhow::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let running = match runtime.block_on(Client::new(sockets).status()) {
        Ok(status) => Some(status),
        Err(AskError::NoHost) => None,
        Err(error) => return Err(super::control::failure(error)),
    };
    let export = offline::export(&home, running.as_ref()).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let text = export.write().ok_or_else(|| {
        Failure::message(Exit::General, format!("the exported state would be larger than {MAX_EXPORT_BYTES} bytes"))
    })?;
    match out {
        Some(out) => out.write::<Export>(&text)?,
        None => output::write_stdout(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The exported state at `path`.
pub(crate) fn at(path: &std::path::Path) -> Result<Export, Failure> {
    let bytes = document_file::read::<Export>(path)?;
    Export::read(&bytes).map_err(|error| document_file::unusable(path, &error).hint("`airssys-wasm export` makes one"))
}
