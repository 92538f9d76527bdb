//! The command line: one file a command, each a thin use of the library.
//!
//! Data goes to standard output, everything else to standard error. Exit codes are those of
//! `exit`; `plan` and `apply` have their own above 9.

mod apply;
mod audit;
mod call;
mod completions;
mod control;
mod dead_letters;
mod document_file;
mod exit;
mod export;
mod fsck;
mod gc;
mod global;
mod history;
mod info;
mod keygen;
mod list;
mod logs;
mod output;
mod paint;
mod plan;
mod rollback;
mod run;
mod saved;
mod schema;
mod service;
mod sign;
mod status;
mod storage;
mod validate;
mod verify;
mod waiting;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use exit::{Exit, Failure};
use output::Format;

/// Runs signed WebAssembly components as a directory of TOML files says.
#[derive(Parser)]
#[command(name = "airssys-wasm", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// Directory of the per-user files (state, logs, keys, control socket); default $AIRSSYS_HOME, else ~/.airssys
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// How data is printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// No colour; so does the environment variable NO_COLOR
    #[arg(long, global = true)]
    no_color: bool,
    /// Only errors and the data asked for
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start the host and keep the running set equal to a directory
    Run(run::RunArgs),
    /// Show what a pass would do, without doing it
    Plan(plan::PlanArgs),
    /// Carry out one pass now, with what you approve in it
    Apply(apply::ApplyArgs),
    /// Check desired files without resolving anything
    Validate(validate::ValidateArgs),
    /// Make a signing key
    Keygen(keygen::KeygenArgs),
    /// Write digest and size of the wasm into a manifest and sign it
    Sign(sign::SignArgs),
    /// Check a component's signature, digest and trust
    Verify(verify::VerifyArgs),
    /// List the components, one line each
    List(list::ListArgs),
    /// Show the host and its components, or all about one
    Status(status::StatusArgs),
    /// Show everything about one component: signers, permissions and who granted them, limits, counters
    Info(info::InfoArgs),
    /// Show a component's log
    Logs(logs::LogsArgs),
    /// Deliver one message to a component and print its reply
    Call(call::CallArgs),
    /// Show messages that no component handled, and send them again
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Let the host look at everything now, and wait for the pass
    Sync(control::SyncArgs),
    /// Print or write what is committed and running, for `plan --against` elsewhere; holds no secret
    Export(export::ExportArgs),
    /// Print the JSON Schema of a file or document
    Schema(schema::SchemaArgs),
    /// Carry out nothing from now on, for one installation or at all; what runs goes on
    Pause(control::PauseArgs),
    /// Lift what holds an installation back, or the pause of everything
    Resume(control::PauseArgs),
    /// Go back to an earlier generation, of everything or of some installations, and hold that
    Rollback(rollback::RollbackArgs),
    /// Check everything that is stored against its digests and signatures; changes nothing
    Fsck(fsck::FsckArgs),
    /// Remove old generations and what only they need; a host does so once an hour
    Gc(gc::GcArgs),
    /// Print the completion script of a shell
    Completions(completions::CompletionsArgs),
    /// What a host starts to fetch and compile; of no use to people
    #[command(hide = true)]
    Worker,
    /// List, check, export, import, migrate or purge what components keep; no host may run
    Storage(storage::StorageArgs),
    /// Show what each generation changed, newest first
    History(history::HistoryArgs),
    /// Show what made an installation what it is
    Why(why::WhyArgs),
    /// Show who ordered and approved what, what was done and refused, and what components were denied
    Audit(audit::AuditArgs),
}

/// Parses the command line, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::CommandLine.into() } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command {
        _ if cli.global.output == Format::Markdown && !matches!(cli.command, Command::Plan(_)) => {
            Err(Failure::message(Exit::CommandLine, "only `plan` has a Markdown form")
                .hint("--output text, json or yaml"))
        }
        Command::Run(args) => run::run(&cli.global, args),
        Command::Plan(args) => plan::plan(&cli.global, args),
        Command::Apply(args) => apply::apply(&cli.global, args),
        Command::Validate(args) => validate::validate(&cli.global, args),
        Command::Keygen(args) => keygen::keygen(&cli.global, args),
        Command::Sign(args) => sign::sign(&cli.global, args),
        Command::Verify(args) => verify::verify(&cli.global, args),
        Command::List(args) => list::list(&cli.global, args),
        Command::Status(args) => status::status(&cli.global, args),
        Command::Info(args) => info::info(&cli.global, args),
        Command::Call(args) => call::call(&cli.global, args),
        Command::Logs(args) => logs::logs(&cli.global, args),
        Command::DeadLetters(args) => dead_letters::dead_letters(&cli.global, args),
        Command::Sync(args) => control::sync(&cli.global, args),
        Command::Export(args) => export::export(&cli.global, args),
        Command::Schema(args) => schema::schema(&cli.global, args),
        Command::Pause(args) => control::pause(&cli.global, args),
        Command::Resume(args) => control::resume(&cli.global, args),
        Command::Rollback(args) => rollback::rollback(&cli.global, args),
        Command::Fsck(args) => fsck::fsck(&cli.global, args),
        Command::Gc(args) => gc::gc(&cli.global, args),
        Command::Completions(args) => completions::completions(args),
        Command::Storage(args) => storage::storage(&cli.global, args),
        Command::Worker => Ok(crate::worker::serve()),
        Command::History(args) => history::history(&cli.global, args),
        Command::Why(args) => why::why(&cli.global, args),
        Command::Audit(args) => audit::audit(&cli.global, args),
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.print(&cli.global),
    }
}
