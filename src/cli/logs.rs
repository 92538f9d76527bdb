//! `logs`: a component's log.
//!
//! Read from its files, so that it works while no host runs, and after one died.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use super::output::{self, Format};
use super::paint::{Paint, Stream};
use crate::escape::Escaped;
use crate::logs::{Follow, Level, LogLine};
use crate::name::InstallationName;

/// Wait between two looks for new lines, in milliseconds.
const POLL_MS: u64 = 100;

/// Options of `logs`.
#[derive(Args)]
pub struct LogsArgs {
    /// The installation
    name: String,
    /// Go on with new lines until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// How many lines from the end
    #[arg(long, value_name = "N", default_value_t = 100)]
    tail: usize,
    /// Only lines that matter at least this much: trace, debug, info, warn, error
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
}

/// Prints the last lines, and with `-f` every new one. JSON is one object a line, YAML one document a line.
pub(crate) fn logs(global: &Global, args: LogsArgs) -> Result<ExitCode, Failure> {
    let name: InstallationName = args.name.parse().map_err(|error| {
        Failure::message(Exit::CommandLine, format!("{} is no installation's name: {error}", Escaped(&args.name)))
    })?;
    let least = args.level.as_deref().map_or(Ok(Level::Trace), level)?;
    let home = global.home()?;
    let known = crate::reconcile::offline::status(&home)?.components.iter().any(|c| c.name == name.as_str());
    let (lines, mut follow) = Follow::open(&home.logs_dir(), &name, args.tail, None)?;
    if lines.is_empty() && !known && !args.follow {
        let message = format!("there is no installation named {name}, and no log of one");
        return Err(Failure::message(Exit::General, message).hint("`airssys-wasm list` shows the names"));
    }
    let paint = Paint::new(global, Stream::Stdout);
    let print = |lines: Vec<LogLine>| -> Result<(), Failure> {
        let text: Result<String, Failure> =
            lines.iter().filter(|line| line.level >= least).map(|line| render(global.output, line, paint)).collect();
        output::write_stdout(&text?)
    };
    if lines.is_empty() && !global.quiet {
        eprintln!("{name} has logged nothing yet");
    }
    print(lines)?;
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(Duration::from_millis(POLL_MS));
        print(follow.poll()?)?;
        if output::is_stdout_closed() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn level(text: &str) -> Result<Level, Failure> {
    Ok(match text {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => {
            let message = format!("{} is no level", Escaped(text));
            return Err(Failure::message(Exit::CommandLine, message).hint("one of trace, debug, info, warn, error"));
        }
    })
}

fn render(format: Format, line: &LogLine, paint: Paint) -> Result<String, Failure> {
    Ok(match format {
        Format::Text | Format::Markdown => {
            let text = line.to_string();
            let painted = match line.level {
                Level::Trace | Level::Debug => paint.dim(&text),
                Level::Info => text,
                Level::Warn => paint.yellow(&text),
                Level::Error => paint.red(&text),
            };
            painted + "\n"
        }
        Format::Json => serde_json::to_string(line).map_err(|error| Failure::new(Exit::General, error))? + "\n",
        Format::Yaml => format!("---\n{}", output::yaml(line)?),
    })
}
