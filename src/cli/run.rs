//! `run`: the host in the foreground.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::Global;
use super::exit::{Exit, Failure};
use super::global::HostArgs;
use super::paint::{Paint, Stream};
use super::service;
use crate::reconcile::notice::{Notice, Weight};
use crate::runtime::{Host, StartError, StopReport};

/// Threads of the async runtime: it carries signals, the control socket and the loop, no guests.
const ASYNC_THREADS: usize = 2;

/// Exit code of a host that stopped and had to cut something off.
const CUT_OFF: u8 = 13;

/// Options of `run`.
#[derive(Args)]
#[command(
    after_help = "SIGINT and SIGTERM drain and stop it; it then ends with 0, or with 13 when a component did not \
                        end in time and was cut off. A second one ends it at once, with 130 or 143. SIGHUP looks at \
                        everything now, as `sync` does."
)]
pub struct RunArgs {
    #[command(flatten)]
    host: HostArgs,
}

/// Starts the host and runs it until a signal.
pub(crate) fn run(global: &Global, args: RunArgs) -> Result<ExitCode, Failure> {
    let config = global.host_config(args.host)?;
    let printer = Arc::new(Printer::new(global));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(ASYNC_THREADS).enable_all().build()?;
    let report = runtime.block_on(async {
        // Before anything starts, so that a signal during the start is not lost.
        let stop = stop_on_signals(printer.clone())?;
        let told = printer.clone();
        let host = Host::start(config, Arc::new(move |notice: &Notice| told.tell(notice)))
            .await
            .map_err(|error| failure(&error))?;
        service::attend(host.handle().pulse());
        service::sync_on_hangup(host.handle(), printer.clone(), global)?;
        host.run(stop).await.map_err(Failure::from)
    })?;
    printer.line(&stopped(&report));
    // What is left on worker threads is a guest past its stop time; the process does not wait for it.
    runtime.shutdown_background();
    Ok(if report.in_time { ExitCode::SUCCESS } else { ExitCode::from(CUT_OFF) })
}

fn failure(error: &StartError) -> Failure {
    let exit = if error.is_configuration() { Exit::Configuration } else { Exit::General };
    let failure = Failure::message(exit, error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn stopped(report: &StopReport) -> String {
    let time = crate::status::text::took(u64::try_from(report.took.as_micros()).unwrap_or(u64::MAX));
    let left = match report.undelivered {
        0 => String::new(),
        n => format!("; {n} messages were still waiting"),
    };
    let late = if report.in_time { "" } else { "; some did not end in time and were cut off" };
    format!("stopped {} components{left}{late}  {time}", report.stopped)
}

/// Becomes true with the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_on_signals(printer: Arc<Printer>) -> Result<watch::Receiver<bool>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let first = next_signal(&mut interrupt, &mut terminate).await;
        printer.line(&format!("{first}: draining and stopping; once more ends at once"));
        let _ = stop.send(true);
        service::stopping();
        let second = next_signal(&mut interrupt, &mut terminate).await;
        printer.line(&format!("{second}: ended at once"));
        let code = if second == "SIGINT" { 130 } else { 143 };
        std::process::exit(code);
    });
    Ok(stopped)
}

async fn next_signal(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        // Cancel-safe: a signal that arrives stays recorded until the next `recv`.
        _ = interrupt.recv() => "SIGINT",
        // Cancel-safe: as above.
        _ = terminate.recv() => "SIGTERM",
    }
}

/// Prints notices to standard error: a bar for long work on a terminal, lines elsewhere.
pub(crate) struct Printer {
    paint: Paint,
    quiet: bool,
    bar: Mutex<Option<ProgressBar>>,
    terminal: bool,
}

impl Printer {
    /// For standard error as it is now.
    pub(crate) fn new(global: &Global) -> Self {
        use std::io::IsTerminal as _;
        Self {
            paint: Paint::new(global, Stream::Stderr),
            quiet: global.quiet,
            bar: Mutex::new(None),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Prints one notice.
    pub(crate) fn tell(&self, notice: &Notice) {
        let weight = notice.weight();
        if self.quiet && weight < Weight::Warning {
            return;
        }
        if let (Notice::Working { what, name, step: (at, of) }, true) = (notice, self.terminal) {
            self.progress(&format!("{what} {name}"), *at, *of);
            return;
        }
        let text = notice.to_string();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let first = match weight {
            Weight::Progress => self.paint.dim(first),
            Weight::Good => first.to_owned(),
            Weight::Warning => self.paint.yellow(first),
            Weight::Bad => self.paint.red(first),
        };
        self.line(&if rest.is_empty() { first } else { format!("{first}\n{rest}") });
    }

    fn progress(&self, what: &str, at: usize, of: usize) {
        let mut slot = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bar = slot.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}  {elapsed}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(of as u64);
        bar.set_position(at as u64);
        bar.set_message(what.to_owned());
        if at == of {
            bar.finish_and_clear();
            *slot = None;
        }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn line(&self, text: &str) {
        let stamp = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        let text = format!("{} {text}", self.paint.dim(&stamp));
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match bar.as_ref() {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}
