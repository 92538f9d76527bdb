//! `apply`: one pass while no host is running.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use super::global::HostArgs;
use super::output;
use super::paint::{Paint, Stream};
use super::plan::colored;
use super::run::Printer;
use crate::reconcile::notice::Notice;
use crate::runtime::apply_once;

/// Options of `apply`.
#[derive(Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    host: HostArgs,
    /// End with 0 whatever is left to do
    #[arg(long)]
    exit_zero: bool,
}

/// Prints the plan, tries what is new, commits. The next `run` starts what was committed.
pub(crate) fn apply(global: &Global, args: ApplyArgs) -> Result<ExitCode, Failure> {
    let config = global.host_config(args.host)?;
    let printer = Arc::new(Printer::new(global));
    let told = printer.clone();
    let pass = apply_once(config, Arc::new(move |notice: &Notice| told.tell(notice))).map_err(|error| {
        let exit = if error.is_configuration() { Exit::Configuration } else { Exit::General };
        let failure = Failure::message(exit, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    output::print(global.output, &pass.plan.document(), || colored(&pass.plan, Paint::new(global, Stream::Stdout)))?;
    if args.exit_zero {
        return Ok(ExitCode::SUCCESS);
    }
    if !pass.failed.is_empty() {
        return Ok(Exit::General.into());
    }
    // What the plan would have changed is done; what it holds, blocks or asks approval for is left.
    Ok(match pass.plan.exit_code() {
        10 => ExitCode::SUCCESS,
        left => ExitCode::from(left),
    })
}
