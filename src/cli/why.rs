//! `why`: what made an installation what it is, from the files of the state alone.

use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use crate::history::text;
use crate::name::InstallationName;
use crate::reconcile::past;

/// Options of `why`.
#[derive(Args)]
pub struct WhyArgs {
    /// The installation
    name: InstallationName,
}

/// Prints generation, action, file, signer, digest and the line of each permission.
pub(crate) fn why(global: &Global, args: WhyArgs) -> Result<ExitCode, Failure> {
    let Some(why) = past::why_installed(&global.home()?, &args.name)? else {
        let held = past::why_held(&global.home()?, &args.name)?;
        let held = held.map_or_else(String::new, |held| format!(": {}", crate::escape::escape(&held)));
        let message = format!("there is no installation named {}{held}", args.name);
        let hint =
            format!("`airssys-wasm list` shows the names, `airssys-wasm history {}` what became of it", args.name);
        return Err(Failure::message(Exit::General, message).hint(hint));
    };
    output::print(global.output, &why, || text::why(&why))?;
    Ok(ExitCode::SUCCESS)
}
