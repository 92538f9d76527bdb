//! `apply`: one pass with an operator's word, by the running host or, where none runs, by itself.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Global;
use super::control::{ask_raw, failure, passed};
use super::exit::{Exit, Failure};
use super::global::HostArgs;
use super::output;
use super::paint::{Paint, Stream};
use super::plan::colored;
use super::run::Printer;
use super::saved;
use super::waiting;
use crate::control::client::AskError;
use crate::control::documents::ApplyBody;
use crate::plan::approval::ApprovalName;
use crate::reconcile::notice::Notice;
use crate::reconcile::order::ApplyOrder;
use crate::runtime::apply_once;
use crate::saved::SavedPlan;
use crate::status::HostStatus;
use crate::user;

/// Options of `apply`.
#[derive(Args)]
#[command(mut_arg("dir", |dir| dir.value_name("DIR|PLAN").help(
    "The desired directory, or a plan that `plan --out` saved; default is the setting `desired`, else `desired` in the home"
)))]
pub struct ApplyArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Approve what the plan asks for: permission:NAME, signer:NAME, breaking:NAME or delete
    #[arg(long, value_name = "APPROVAL", num_args = 1..)]
    approve: Vec<ApprovalName>,
    /// Only if the plan is this one; at least the digits that `plan` prints
    #[arg(long, value_name = "DIGEST")]
    plan: Option<String>,
    /// End with 0 whatever is left to do
    #[arg(long)]
    exit_zero: bool,
}

/// Lets the running host carry out a pass in the name of this user, and prints what came of it.
fn apply_by_host(
    global: &Global,
    args: &ApplyArgs,
    host: &HostStatus,
    saved: Option<SavedPlan>,
) -> Result<ExitCode, Failure> {
    args.host.check_same(global, host, saved.as_ref())?;
    let approve = args.approve.iter().map(ToString::to_string).collect();
    let body = ApplyBody { approve, plan: args.plan.clone(), saved: saved.map(Box::new) };
    let asked = ask_raw(global, async |client| waiting::told(&client, global, client.apply(&body)).await)?;
    let pass = asked.map_err(|error| match error {
        AskError::Refused(why) => {
            let refused = Failure::message(Exit::Validation, format!("{} [{}]", why.message, why.code));
            why.hint.into_iter().fold(refused, Failure::hint)
        }
        other => failure(other),
    })?;
    output::print(global.output, &pass, || passed(&pass))?;
    Ok(if args.exit_zero { ExitCode::SUCCESS } else { ExitCode::from(pass.exit_code) })
}

/// Prints the plan, tries what is new, commits. The next `run` starts what was committed.
pub(crate) fn apply(global: &Global, mut args: ApplyArgs) -> Result<ExitCode, Failure> {
    let saved = args.host.dir().map(saved::at).transpose()?.flatten();
    let running = ask_raw(global, async |client| client.status().await)?;
    match running {
        Ok(host) => return apply_by_host(global, &args, &host, saved),
        Err(AskError::NoHost) => {}
        Err(error) => return Err(failure(error)),
    }
    let command = args.host.apply_command(global);
    if let Some(saved) = &saved {
        args.host.take_from(&saved.inputs.desired);
    }
    let config = global.host_config(args.host)?;
    let is_from_git = config.from_git.is_some();
    let approve = args.approve.into_iter().collect();
    let order = ApplyOrder { approve, plan: args.plan, saved, by: user::own() };
    let printer = Arc::new(Printer::new(global));
    let told = printer.clone();
    let pass = apply_once(config, Arc::new(move |notice: &Notice| told.tell(notice)), &order).map_err(|error| {
        let exit = match error.refused() {
            Some(_) => Exit::Validation,
            None if error.is_configuration() => Exit::Configuration,
            None => Exit::General,
        };
        let failure = Failure::message(exit, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    output::print(global.output, &pass.plan.document(), || {
        colored(&pass.plan, &command, Paint::new(global, Stream::Stdout))
    })?;
    if args.exit_zero {
        return Ok(ExitCode::SUCCESS);
    }
    if !pass.failed.is_empty() {
        return Ok(Exit::General.into());
    }
    // What the plan would have changed is done; what it holds, blocks or asks approval for is left.
    Ok(match pass.plan.exit_code() {
        // A commit that could not be had, or is refused, is left as well.
        0 | 10 if is_from_git && !pass.problems.is_empty() => ExitCode::from(12),
        10 => ExitCode::SUCCESS,
        left => ExitCode::from(left),
    })
}
