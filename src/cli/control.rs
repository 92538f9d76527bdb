//! `sync`, `pause`, `resume`: requests to the running host.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use super::global::{HostArgs, installation};
use super::output;
use super::run::Printer;
use super::waiting;
use crate::control::client::{AskError, Client};
use crate::control::documents::{PassDocument, PausedDocument};
use crate::reconcile::notice::Notice;
use crate::runtime::{StartError, resume_once, socket_candidates};
use crate::status::text::took;
use crate::user;

/// Options of `sync`.
#[derive(Args)]
pub struct SyncArgs {
    /// Do not wait for what must be fetched from other machines, or takes long to compile
    #[arg(long)]
    no_wait: bool,
    /// End with 0 whatever is left to do
    #[arg(long)]
    exit_zero: bool,
}

/// Options of `pause` and `resume`.
#[derive(Args)]
pub struct PauseArgs {
    /// The installation; without it everything
    name: Option<String>,
}

/// Lets the host look at everything now, and says what came of it.
pub(crate) fn sync(global: &Global, args: SyncArgs) -> Result<ExitCode, Failure> {
    let pass = ask(global, async |client| waiting::told(&client, global, client.sync(!args.no_wait)).await)?;
    output::print(global.output, &pass, || passed(&pass))?;
    Ok(if args.exit_zero { ExitCode::SUCCESS } else { ExitCode::from(pass.exit_code) })
}

/// Holds every action on one installation, or all of them.
pub(crate) fn pause(global: &Global, args: PauseArgs) -> Result<ExitCode, Failure> {
    let name = args.name.as_deref().map(installation).transpose()?.map(|name| name.to_string());
    let paused = ask(global, async |client| client.pause(name.clone()).await)?;
    output::print(global.output, &paused, || listed(&paused))?;
    Ok(ExitCode::SUCCESS)
}

/// Lifts what holds one installation back, or the pause of everything.
pub(crate) fn resume(global: &Global, args: PauseArgs) -> Result<ExitCode, Failure> {
    let name = args.name.as_deref().map(installation).transpose()?.map(|name| name.to_string());
    let paused = match ask_raw(global, async |client| client.resume(name.clone()).await)? {
        Ok(paused) => paused,
        Err(AskError::NoHost) => resume_by_itself(global, args.name.as_deref())?,
        Err(error) => return Err(failure(error)),
    };
    output::print(global.output, &paused, || {
        let lifted = match (paused.hold_lifted, paused.changed) {
            (true, _) => "the held target is tried again\n",
            (false, true) => "",
            (false, false) => "nothing held it back\n",
        };
        lifted.to_owned() + &listed(&paused)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn resume_by_itself(global: &Global, name: Option<&str>) -> Result<PausedDocument, Failure> {
    let name = name.map(installation).transpose()?;
    let config = global.host_config(HostArgs::of(None, None))?;
    let printer = Arc::new(Printer::new(global));
    let tell = Arc::new(move |notice: &Notice| printer.tell(notice));
    resume_once(config, tell, name.as_ref(), &user::own()).map_err(|error| not_started(&error))
}

/// Why what needs the state for itself could not be done.
pub(super) fn not_started(error: &StartError) -> Failure {
    let exit = if error.is_configuration() { Exit::Configuration } else { Exit::General };
    let failure = Failure::message(exit, error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Asks the running host of the home.
pub(crate) fn ask<D>(global: &Global, question: impl AsyncFnOnce(Client) -> Result<D, AskError>) -> Result<D, Failure> {
    ask_raw(global, question)?.map_err(failure)
}

/// The same, for those who make something else of a refusal.
pub(crate) fn ask_raw<D>(
    global: &Global,
    question: impl AsyncFnOnce(Client) -> Result<D, AskError>,
) -> Result<Result<D, AskError>, Failure> {
    let sockets = socket_candidates(&global.home()?).map_err(anyhow::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(question(Client::new(sockets))))
}

/// A refusal as a failure of the command.
pub(crate) fn failure(error: AskError) -> Failure {
    match error {
        AskError::NoHost => Failure::new(Exit::Network, error).hint("`airssys-wasm run` starts one"),
        AskError::Broken(_) => Failure::new(Exit::Network, error),
        AskError::Refused(why) => {
            let failure = Failure::message(Exit::General, format!("{} [{}]", why.message, why.code));
            match why.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
    }
}

/// What a pass did, as text.
pub(crate) fn passed(document: &PassDocument) -> String {
    let mut text = String::new();
    for done in &document.done {
        let _ = writeln!(text, "done     {}  {}", done.name, done.kind);
    }
    for left in document.failed.iter().chain(&document.left) {
        let location = left.note.location.as_deref().map_or_else(String::new, |location| format!("{location}: "));
        let why = &left.note.why;
        let _ = writeln!(text, "{:<8} {}  {location}{} [{}]", left.note.kind, left.name, why.message, why.code);
        for line in why.hint.iter().flat_map(|hint| hint.lines()) {
            let _ = writeln!(text, "         {line}");
        }
    }
    for problem in &document.problems {
        let _ = writeln!(text, "problem  {} [{}]", problem.message, problem.code);
    }
    if document.fetching {
        text.push_str("fetching something still; `airssys-wasm status` shows what\n");
    }
    if document.compiling {
        text.push_str("compiling something still; `airssys-wasm status` shows what\n");
    }
    let _ = writeln!(
        text,
        "looked at everything in {}: {} done, {} failed, {} held back; generation {}",
        took(document.pass.took_us),
        document.done.len(),
        document.failed.len(),
        document.left.len(),
        document.generation
    );
    text
}

fn listed(document: &PausedDocument) -> String {
    let mut text = String::new();
    if let Some(by) = &document.all {
        let _ = writeln!(text, "paused   everything, {by}");
    }
    for paused in &document.names {
        let _ = writeln!(text, "paused   {}, {}", paused.name, paused.by);
    }
    if text.is_empty() { "nothing is paused\n".to_owned() } else { text }
}
