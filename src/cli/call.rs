//! `call`: one message to a component, or one of its operations, and the reply.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Global;
use super::control::ask_raw;
use super::exit::{Exit, Failure};
use super::global::installation;
use super::output::{self, Format};
use crate::codec::{Codec, UnknownCodec};
use crate::control::client::AskError;
use crate::control::documents::CallReplyDocument;
use crate::control::{DEFAULT_CALL_WAIT_MS, MAX_CALL_BYTES, MAX_CALL_WAIT_MS};
use crate::name::{OperationName, ParseOperationNameError};
use crate::quantity::Millis;

/// There is no such installation, or it takes no messages now.
const NOT_THERE: u8 = 20;
/// Its mailbox is full, or was, and the message had to go.
const MAILBOX_FULL: u8 = 21;
/// It did not answer in time.
const TIMED_OUT: u8 = 22;
/// It answered with an error.
const REFUSED: u8 = 23;
/// It crashed or was stopped.
const ENDED: u8 = 24;

/// Options of `call`.
#[derive(Args)]
#[command(after_help = "Ends with 0 and the reply's bytes, or with 7: the message is too large or in a codec that it \
                        does not take, or it takes no messages or has no operations, 20: there is no such installation or it does not run, 21: its mailbox is full, \
                        22: no reply in time, 23: it answered with an error, 24: it crashed or was stopped. With \
                        `--output json` the reply is a document that says in which codec it is.")]
pub struct CallArgs {
    /// The installation
    name: String,
    /// The message; `-` reads it from standard input, and without it the message is empty
    #[arg(conflicts_with = "file", allow_hyphen_values = true)]
    payload: Option<String>,
    /// The message is what this file holds
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Call this operation of the component, with the message as its input
    #[arg(long, value_name = "OPERATION", value_parser = operation)]
    operation: Option<OperationName>,
    /// In which codec the message is written; without it, the first that the component's manifest declares, or raw
    #[arg(long, value_name = "CODEC", value_parser = codec)]
    codec: Option<Codec>,
    /// Longest wait for the reply
    #[arg(long, value_name = "TIME", default_value_t = Millis(DEFAULT_CALL_WAIT_MS))]
    timeout: Millis,
}

fn operation(text: &str) -> Result<OperationName, String> {
    text.parse().map_err(|error: ParseOperationNameError| error.to_string())
}

fn codec(text: &str) -> Result<Codec, String> {
    text.parse().map_err(|error: UnknownCodec| error.to_string())
}

/// Delivers the message and writes the reply as it is, nothing when there is none; or a document about it.
pub(crate) fn call(global: &Global, args: CallArgs) -> Result<ExitCode, Failure> {
    let name = installation(&args.name)?;
    if args.timeout.0 == 0 || args.timeout.0 > MAX_CALL_WAIT_MS {
        let message = format!("--timeout must be between 1ms and {}", Millis(MAX_CALL_WAIT_MS));
        return Err(Failure::message(Exit::CommandLine, message));
    }
    let payload = match (&args.payload, &args.file) {
        (Some(text), _) if text == "-" => bounded(std::io::stdin().lock())?,
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => bounded(std::fs::File::open(path).map_err(|error| {
            let shown = crate::escape::escape(&path.to_string_lossy());
            anyhow::Error::new(error).context(format!("{shown} can't be read"))
        })?)?,
        (None, None) => Vec::new(),
    };
    let operation = args.operation.as_ref();
    let asked = ask_raw(global, async |client| {
        client.call(name.as_str(), operation, args.codec, payload, args.timeout.0).await
    });
    match asked? {
        Ok(reply) if global.output != Format::Text => {
            output::print(global.output, &CallReplyDocument::of(reply.as_ref()), String::new)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(reply) => {
            let mut out = std::io::stdout().lock();
            let bytes = reply.map_or_else(Vec::new, |reply| reply.bytes);
            match out.write_all(&bytes).and_then(|()| out.flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
                _ => Ok(ExitCode::SUCCESS),
            }
        }
        Err(error) => refused(global, error),
    }
}

/// Reads a message; one byte too many is enough to know that it is too large.
fn bounded(source: impl std::io::Read) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    source.take(MAX_CALL_BYTES as u64 + 1).read_to_end(&mut payload)?;
    if payload.len() > MAX_CALL_BYTES {
        let message = format!("the message is larger than {MAX_CALL_BYTES} bytes, the most that any component takes");
        return Err(Failure::message(Exit::Validation, message));
    }
    Ok(payload)
}

fn refused(global: &Global, error: AskError) -> Result<ExitCode, Failure> {
    let code = match &error {
        AskError::Refused(why) => match why.code.as_str() {
            "no-such-installation" | "not-running" => NOT_THERE,
            "mailbox-full" | "dropped" => MAILBOX_FULL,
            "timed-out" => TIMED_OUT,
            "component-refused" | "unknown-operation" | "invalid-input" => REFUSED,
            "component-crashed" | "component-stopped" => ENDED,
            "message-too-large" | "body-too-large" | "codec-not-taken" | "takes-no-messages" | "has-no-operations" => {
                Exit::Validation as u8
            }
            _ => return Err(super::control::failure(error)),
        },
        AskError::NoHost | AskError::Broken(_) => return Err(super::control::failure(error)),
    };
    super::control::failure(error).print(global);
    Ok(ExitCode::from(code))
}
