//! Owns what a call publishes and to what it subscribes: whether it may, who takes it, and whom it passes by.
//!
//! Who takes it has a claim from the call on, as with a message that is sent. Who can't take it finds a dead letter, written
//! when the call ends well.

use std::sync::Arc;

use super::super::cell::ActorCell;
use super::super::mailbox::{Ask, NoRoom, Origin};
use super::super::topics::{MAX_RUN_TIME_SUBSCRIPTIONS, MAX_SUBSCRIBERS};
use super::{ActorOutbox, Content, Outgoing, kept, millis};
use crate::codec::Payload;
use crate::host::contract::Sender;
use crate::host::{Outbox as _, PublishError, SubscribeError, Transaction};
use crate::limits::DEFAULT_MESSAGE_BYTES;
use crate::permission::{Entry, PatternError, Topic};

/// Bytes that one call publishes, at most: each subscriber has a copy of its own, and each copy counts.
const MAX_PUBLISHED_BYTES: u64 = 64 << 20;

/// What a call has published, but for what is on its way to those who take it.
#[derive(Default)]
pub(super) struct Published {
    messages: u64,
    bytes: u64,
    dropped: Vec<Dropped>,
}

/// One message that a subscriber can't take.
struct Dropped {
    cell: Arc<ActorCell>,
    topic: Arc<Topic>,
    payload: Arc<Payload>,
    why: String,
}

impl ActorOutbox {
    pub(super) fn publish_to(&mut self, topic: &str, content: Content<'_>) -> Result<u32, PublishError> {
        let topic: Topic =
            topic.parse().map_err(|error: PatternError| PublishError::InvalidTopic(error.to_string()))?;
        if topic.is_pattern() {
            return Err(PublishError::InvalidTopic("a topic that is published to has no `*`".to_owned()));
        }
        self.may_publish(&topic, content.bytes.len())?;
        let subscribers = self.core.topics.subscribers(&topic);
        if subscribers.len() > MAX_SUBSCRIBERS {
            return Err(PublishError::TooManySubscribers(MAX_SUBSCRIBERS as u64));
        }
        let bytes = (content.bytes.len() as u64).saturating_mul(subscribers.len() as u64);
        if self.published.bytes.saturating_add(bytes) > MAX_PUBLISHED_BYTES {
            return Err(PublishError::TooMuch(MAX_PUBLISHED_BYTES));
        }
        self.take_rate().map_err(|wait| PublishError::RateExceeded(millis(wait)))?;
        self.sent += 1;
        self.published.messages += 1;
        self.published.bytes += bytes;
        let topic = Arc::new(topic);
        let mut copy: Option<Arc<Payload>> = None;
        let mut taken = 0;
        for cell in subscribers {
            let share = self.version.share(&cell.name(), &cell);
            // Nobody waits for one subscriber: the others want it, too.
            match cell.mailbox.claim_in(content.codec, content.bytes.len(), Some(&share), Ask::WithoutWaiting) {
                Ok(claim) => {
                    taken += 1;
                    let (payload, topic) = (kept(content), Some(Arc::clone(&topic)));
                    self.pending.push(Outgoing { cell, share, claim, outcome: None, payload, request: None, topic });
                }
                // It takes no messages now, so it subscribes to nothing.
                Err(NoRoom::Closed | NoRoom::NoHandler) => {}
                Err(no) => {
                    cell.counters.not_taken(&no);
                    let payload = Arc::clone(copy.get_or_insert_with(|| Arc::new(kept(content))));
                    let topic = Arc::clone(&topic);
                    self.published.dropped.push(Dropped { cell, topic, payload, why: why_dropped(&no) });
                }
            }
        }
        Ok(taken)
    }

    /// Whether this call may publish so many bytes more to the topic.
    fn may_publish(&self, topic: &Topic, bytes: usize) -> Result<(), PublishError> {
        let Transaction { hops, sends, .. } = self.transaction;
        let bytes = bytes as u64;
        self.needs(&|| Some(Entry::Publish(topic.clone())));
        if !self.version.record.effective.may_publish(topic) {
            self.denied("publish", topic.as_str());
            return Err(PublishError::NotPermitted);
        }
        if bytes > DEFAULT_MESSAGE_BYTES {
            return Err(PublishError::TooLarge(DEFAULT_MESSAGE_BYTES));
        }
        if self.sent >= sends {
            return Err(PublishError::TooManySends(sends));
        }
        if hops >= self.core.max_hops {
            return Err(PublishError::TooManyHops(self.core.max_hops));
        }
        Ok(())
    }

    pub(super) fn subscribe_to(&mut self, pattern: &str) -> Result<(), SubscribeError> {
        let invalid = |error: PatternError| SubscribeError::InvalidPattern(error.to_string());
        let pattern: Topic = pattern.parse().map_err(invalid)?;
        self.needs(&|| Some(Entry::Subscribe(pattern.clone())));
        if !self.version.record.effective.may_subscribe(&pattern) {
            self.denied("subscribe", pattern.as_str());
            return Err(SubscribeError::NotPermitted);
        }
        if !self.version.linked.takes_messages() {
            return Err(SubscribeError::NoHandler);
        }
        let patterns = self.subscribes.get_or_insert_with(|| self.topics.patterns());
        if patterns.len() >= MAX_RUN_TIME_SUBSCRIPTIONS && !patterns.contains(&pattern) {
            return Err(SubscribeError::TooManySubscriptions(MAX_RUN_TIME_SUBSCRIPTIONS as u64));
        }
        patterns.insert(pattern);
        Ok(())
    }

    /// The call ended well: it subscribes to what it said, and who was passed by finds a letter.
    pub(super) fn commit_topics(&mut self) {
        if let Some(patterns) = self.subscribes.take() {
            self.topics.set(patterns);
        }
        for Dropped { cell, topic, payload, why } in std::mem::take(&mut self.published).dropped {
            let sender = Sender::Installation(Arc::clone(&self.version.sender));
            let (id, origin) = (self.ids.next(&self.core), Origin { sender, topic: Some(topic), operation: None });
            cell.drop_published((id, origin, Payload::clone(&payload)), why);
        }
    }

    /// The call did not.
    pub(super) fn abort_topics(&mut self) {
        self.subscribes = None;
        for _ in 0..std::mem::take(&mut self.published).messages {
            self.give_rate_back();
        }
    }
}

fn why_dropped(no: &NoRoom) -> String {
    match no {
        NoRoom::Closed | NoRoom::NoHandler | NoRoom::NoOperations => "it takes no messages now".to_owned(),
        NoRoom::Full => "its mailbox, or the sender's share of it, was full".to_owned(),
        NoRoom::TooLarge(limit) => format!("it is larger than the {limit} bytes that it takes"),
        NoRoom::Codec(not_taken) => not_taken.to_string(),
    }
}
