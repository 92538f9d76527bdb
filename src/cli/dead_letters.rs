//! `dead-letters`: messages that a running host accepted and could not have handled.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Global;
use super::control::ask;
use super::exit::Failure;
use super::output;
use crate::control::dead_letters::{DEFAULT_LISTED, DeadLetterDocument, DeadLetterRow, DeadLettersDocument};

/// Options of `dead-letters`.
#[derive(Args)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The newest dead letters, oldest first
    List {
        /// How many
        #[arg(long, value_name = "N", default_value_t = DEFAULT_LISTED)]
        tail: usize,
    },
    /// All about one, with the beginning of its content
    Show {
        /// The message's number, as `list` shows it
        id: u64,
    },
    /// Send one again, to whom it was for and in the name of who sent it; it leaves the list when it is accepted
    Replay {
        /// The message's number, as `list` shows it
        id: u64,
    },
}

pub(crate) fn dead_letters(global: &Global, args: DeadLettersArgs) -> Result<ExitCode, Failure> {
    match args.what {
        What::List { tail } => {
            let document = ask(global, async |client| client.dead_letters(tail).await)?;
            output::print(global.output, &document, || listed(&document))?;
        }
        What::Show { id } => {
            let document = ask(global, async |client| client.dead_letter(id).await)?;
            output::print(global.output, &document, || shown(&document))?;
        }
        What::Replay { id } => {
            let document = ask(global, async |client| client.replay(id).await)?;
            output::print(global.output, &document, || format!("sent again as message {}\n", document.message))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(document: &DeadLettersDocument) -> String {
    let mut text = String::new();
    for letter in &document.letters {
        let _ = writeln!(text, "{}", line(letter));
    }
    let (kept, total) = (document.kept, document.total);
    let _ = match document.letters.len() as u64 {
        _ if kept > total => writeln!(text, "{kept} kept, also from before this host started; {total} since"),
        _ if total == 0 => writeln!(text, "no message has died since the host started"),
        _ if kept == 0 => writeln!(text, "none kept of {total} since the host started"),
        all if all == kept => writeln!(text, "{kept} kept of {total} since the host started"),
        some => writeln!(text, "the newest {some} of {kept} kept; {total} since the host started"),
    };
    text
}

fn line(letter: &DeadLetterRow) -> String {
    let DeadLetterRow { id, time, target, sender, reason, why, bytes, codec, topic } = letter;
    let topic = topic.as_deref().map_or_else(String::new, |topic| format!(" on {topic}"));
    let why = why.as_deref().map_or_else(String::new, |why| format!(": {why}"));
    format!("{id}  {time}  to {target} from {sender}{topic}, {bytes} bytes of {codec}, {reason}{why}")
}

fn shown(document: &DeadLetterDocument) -> String {
    let mut text = line(&document.letter) + "\n";
    let _ = writeln!(text, "sha256 {}", document.sha256);
    let cut = if document.letter.bytes as usize * 2 > document.payload_hex.len() { " [cut]" } else { "" };
    let _ = match &document.payload_text {
        Some(content) => writeln!(text, "{content}{cut}"),
        None => writeln!(text, "hex {}{cut}", document.payload_hex),
    };
    text
}
