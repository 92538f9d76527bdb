//! `rollback`: goes back to an earlier generation, by the running host or, where none runs, by itself.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Global;
use super::control::{ask_raw, failure};
use super::exit::{Exit, Failure};
use super::global::HostArgs;
use super::output::{self, Format};
use super::run::Printer;
use crate::control::client::AskError;
use crate::control::documents::RollbackBody;
use crate::name::InstallationName;
use crate::plan::rollback::document::RollbackDocument;
use crate::reconcile::notice::Notice;
use crate::reconcile::order::Refused;
use crate::reconcile::rollback::{RollbackOrder, RollbackTarget, look};
use crate::resolution::Refusal;
use crate::runtime::{HostConfig, StartError, roll_back_once};
use crate::user;

/// Options of `rollback`.
#[derive(Args)]
pub struct RollbackArgs {
    /// The installations that go back; without a name all of them
    names: Vec<InstallationName>,
    /// The generation to go back to; default is the newest earlier one that differs, the last good one before others
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Only show what it would do
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    host: RollbackHostArgs,
}

/// Where a host finds what it works with, without an argument for the directory: the names are there.
#[derive(Args)]
struct RollbackHostArgs {
    /// The desired directory, from which secrets of its files are read; default is the setting `desired`
    #[arg(long, value_name = "DIR")]
    desired: Option<std::path::PathBuf>,
    /// The trust policy; default is `trust.toml` in the home
    #[arg(long, value_name = "FILE")]
    trust: Option<std::path::PathBuf>,
}

/// Shows what changes, asks, and lets it be carried out.
pub(crate) fn rollback(global: &Global, args: RollbackArgs) -> Result<ExitCode, Failure> {
    let RollbackArgs { names, to, dry_run, yes, host } = args;
    let target = RollbackTarget { names: names.into_iter().collect(), to };
    let host = HostArgs::of(host.desired, host.trust);
    let config = match ask_raw(global, async |client| client.status().await)? {
        Ok(running) => {
            host.check_same(global, &running, None)?;
            None
        }
        Err(AskError::NoHost) => Some(global.host_config(host)?),
        Err(error) => return Err(failure(error)),
    };
    let shown = match &config {
        None => by_host(global, &target, true, None)?,
        Some(config) => {
            look(&config.home, Some(&config.desired), &config.trust, &config.secrets, &target).map_err(not_done)?
        }
    };
    let code = ExitCode::from(exit_code(&shown));
    if dry_run || !shown.is_ready() {
        output::print(global.output, &shown, || shown.text())?;
        // Without an option nothing is left to do when nothing differs.
        return Ok(code);
    }
    if global.output == Format::Text {
        output::write_stdout(&shown.text())?;
    }
    if !yes && !is_confirmed()? {
        return Err(Failure::message(Exit::General, "nothing was done"));
    }
    let done = match config {
        None => by_host(global, &target, false, Some(shown.digest))?,
        Some(config) => by_itself(global, config, target, shown.digest)?,
    };
    let generation = done.committed.unwrap_or_default();
    output::print(global.output, &done, || format!("done: generation {generation}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// 0 when nothing differs, 10 when something does, 12 when it is refused.
fn exit_code(shown: &RollbackDocument) -> u8 {
    match (shown.refused.is_empty(), shown.actions.is_empty()) {
        (false, _) => 12,
        (true, true) => 0,
        (true, false) => 10,
    }
}

fn by_host(
    global: &Global,
    target: &RollbackTarget,
    dry_run: bool,
    digest: Option<String>,
) -> Result<RollbackDocument, Failure> {
    let names = target.names.iter().map(ToString::to_string).collect();
    let body = RollbackBody { names, to: target.to, dry_run, digest };
    let answer = ask_raw(global, async |client| client.rollback(&body).await)?;
    answer.map_err(|error| match error {
        AskError::Refused(why) => refused(&why),
        other => failure(other),
    })
}

fn by_itself(
    global: &Global,
    config: HostConfig,
    target: RollbackTarget,
    digest: String,
) -> Result<RollbackDocument, Failure> {
    let printer = Arc::new(Printer::new(global));
    let order = RollbackOrder { target, digest: Some(digest), by: user::own() };
    let tell = Arc::new(move |notice: &Notice| printer.tell(notice));
    roll_back_once(config, tell, &order).map_err(not_started)
}

fn not_done(error: anyhow::Error) -> Failure {
    match error.downcast_ref::<Refused>() {
        Some(why) => refused(&why.0),
        None => Failure::new(Exit::Configuration, error),
    }
}

fn not_started(error: StartError) -> Failure {
    match error.refused() {
        Some(why) => refused(&why.0),
        None => super::control::not_started(&error),
    }
}

fn refused(why: &Refusal) -> Failure {
    let refused = Failure::message(Exit::Validation, format!("{} [{}]", why.message, why.code));
    why.hint.iter().cloned().fold(refused, Failure::hint)
}

/// Asks at a terminal; nobody there can't have meant yes.
fn is_confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::message(Exit::CommandLine, "nobody is at a terminal to be asked, so nothing was done")
            .hint("--yes carries it out without asking"));
    }
    eprint!("Roll back? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
