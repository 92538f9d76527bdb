//! Answers about dead letters out of what the actors keep.

use std::time::UNIX_EPOCH;

use super::board::Shared;
use crate::actor::{DeadLetter, ReplayError, Sender};
use crate::control::dead_letters::{
    DEAD_LETTERS_TYPE, DeadLetterDocument, DeadLetterOffice, DeadLetterRow, DeadLettersDocument, REPLAYED_TYPE,
    ReplayedDocument, no_such_letter,
};
use crate::control::request::{Because, Refused};
use crate::resolution::Refusal;
use crate::timestamp::rfc3339;

impl DeadLetterOffice for Shared {
    fn list(&self, most: usize) -> DeadLettersDocument {
        let (letters, kept, total) = self.actors.dead_letters(most);
        let letters = letters.iter().map(|letter| row(letter)).collect();
        DeadLettersDocument { document: DEAD_LETTERS_TYPE.to_owned(), total, kept: kept as u64, letters }
    }

    fn show(&self, id: u64) -> Result<DeadLetterDocument, Refused> {
        let letter = self.actors.dead_letter(id).ok_or_else(|| no_such_letter(id))?;
        Ok(DeadLetterDocument::of(row(&letter), &letter.payload.bytes))
    }

    fn replay(&self, id: u64) -> Result<ReplayedDocument, Refused> {
        let target = self.actors.dead_letter(id).map(|letter| letter.target.clone());
        match (self.actors.replay(id), target) {
            (Ok(message), _) => Ok(ReplayedDocument { document: REPLAYED_TYPE.to_owned(), id, message }),
            (Err(ReplayError::NotTaken(error)), Some(target)) => Err(self.refused(&target, &error)),
            (Err(error @ (ReplayError::NotReceived(_) | ReplayError::OtherInstallation)), Some(target)) => {
                Err(Refused::new(Because::Conflict, Refusal::new("refused-by-target", format!("{target}: {error}"))))
            }
            (Err(_), _) => Err(no_such_letter(id)),
        }
    }
}

fn row(letter: &DeadLetter) -> DeadLetterRow {
    let seconds = letter.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DeadLetterRow {
        id: letter.id,
        time: rfc3339(i64::try_from(seconds).unwrap_or(i64::MAX)),
        target: letter.target.to_string(),
        sender: match &letter.sender {
            Sender::Installation(name) => format!("installation {name}"),
            Sender::Trigger(index) => format!("trigger {index}"),
            Sender::Host => "host".to_owned(),
        },
        reason: letter.reason.as_str().to_owned(),
        why: letter.why.clone(),
        topic: letter.topic.as_ref().map(ToString::to_string),
        bytes: letter.payload.len() as u64,
        codec: letter.payload.codec.to_string(),
    }
}
