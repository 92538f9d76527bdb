//! Answers what needs no pass: all about one installation, and one message with its reply.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::actor::CallError;
use crate::codec::{Codec, Payload};
use crate::control::request::{Because, Refused};
use crate::control::server::Called;
use crate::name::{InstallationName, OperationName};
use crate::reconcile::observe::Targeted;
use crate::resolution::Refusal;
use crate::status::info::{self, CommittedInfo, INFO_TYPE, InfoDocument, Use};

use super::board::Shared;

impl Shared {
    /// All about one installation.
    pub fn info(&self, name: &InstallationName) -> Result<InfoDocument, Refused> {
        let status = self.status();
        let shared = status.host.as_ref().map(info::shared).unwrap_or_default();
        let component = status.components.into_iter().find(|component| component.name == name.as_str());
        let component = component.ok_or_else(|| no_such(name))?;
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = board.records.get(name).map(|targeted| {
            let storage_id = board.storage_ids.get(name).copied().unwrap_or_default();
            let used = self.actors.status(name).map(|status| Use {
                memory_bytes: status.memory_bytes,
                mailbox: status.mailbox_messages,
                mailbox_bytes: status.mailbox_bytes,
                cpu_percent: status.cpu.map(|cpu| cpu.percent),
                open_requests: status.requests.open,
                storage: self.kept(storage_id, targeted),
            });
            CommittedInfo::of(&targeted.record, board.generation, storage_id, used, &crate::reconcile::HOST_SURFACE)
        });
        Ok(InfoDocument { document: INFO_TYPE.to_owned(), component, committed, shared })
    }

    /// Bytes and keys of what it keeps; none where it may keep nothing or that can't be read.
    fn kept(&self, storage_id: u64, targeted: &Targeted) -> Option<(u64, u64)> {
        targeted.record.effective.storage()?;
        let Some(store) = self.actors.storage().opened() else { return Some((0, 0)) };
        store.usage(storage_id).ok().map(|usage| (usage.bytes, usage.keys))
    }

    /// Delivers one message, or calls an operation, and gives the reply, at most `timeout` later. Without a codec, the content
    /// is in the one that its receiver likes best.
    pub fn call(
        self: &Arc<Self>,
        name: InstallationName,
        operation: Option<OperationName>,
        codec: Option<Codec>,
        bytes: Vec<u8>,
        timeout: Duration,
    ) -> Called {
        let codec = codec.or_else(|| self.actors.preferred_codec(&name)).unwrap_or(Codec::Raw);
        let payload = Payload::new(codec, bytes);
        let begun = match &operation {
            Some(operation) => self.actors.begin_execute(&name, operation, payload, timeout),
            None => self.actors.begin_request(&name, payload, timeout),
        };
        let shared = Arc::clone(self);
        Box::pin(async move {
            let reply = match begun {
                // The message expires while it waits; once it is in hand, only this timer ends the wait.
                Ok(pending) => match tokio::time::timeout(timeout, pending).await {
                    Ok(reply) => reply,
                    Err(_) => Err(CallError::TimedOut),
                },
                Err(error) => Err(error),
            };
            reply.map_err(|error| shared.refused(&name, &error))
        })
    }

    pub(super) fn refused(&self, name: &InstallationName, error: &CallError) -> Refused {
        let is_known = self.board.lock().unwrap_or_else(PoisonError::into_inner).records.contains_key(name);
        let (because, code) = match error {
            CallError::NoSuchTarget if !is_known => return no_such(name),
            CallError::NoSuchTarget => (Because::Conflict, "not-running"),
            CallError::MailboxFull => (Because::Busy, "mailbox-full"),
            CallError::TooLarge(_) => (Because::TooLarge, "message-too-large"),
            CallError::CodecNotTaken(_) => (Because::Malformed, "codec-not-taken"),
            CallError::NoHandler => (Because::Conflict, "takes-no-messages"),
            CallError::NoOperations => (Because::Conflict, "has-no-operations"),
            CallError::UnknownOperation => (Because::Component, "unknown-operation"),
            CallError::InvalidInput(_) => (Because::Component, "invalid-input"),
            CallError::Failed(_) => (Because::Component, "component-refused"),
            CallError::Crashed(_) => (Because::Component, "component-crashed"),
            CallError::NotKept(_) => (Because::Failed, "not-kept"),
            CallError::NotWritten(_) => (Because::Failed, "not-written"),
            CallError::Stopped => (Because::Conflict, "component-stopped"),
            CallError::Dropped => (Because::Busy, "dropped"),
            CallError::TimedOut => (Because::TimedOut, "timed-out"),
        };
        let refusal = Refusal::new(code, format!("{name}: {error}"));
        Refused::new(
            because,
            match error {
                CallError::NoHandler => {
                    refusal.hint("`airssys-wasm call NAME --operation OPERATION` calls an operation")
                }
                CallError::NoOperations => refusal.hint("without --operation it gets a message"),
                _ => refusal,
            },
        )
    }
}

fn no_such(name: &InstallationName) -> Refused {
    let why = Refusal::new("no-such-installation", format!("there is no installation named {name}"));
    Refused::new(Because::NotFound, why.hint("`airssys-wasm list` shows the names"))
}
