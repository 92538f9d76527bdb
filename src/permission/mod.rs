//! Owns the permission grammar: what a component asks for, an operator grants and a publisher is capped to.
//!
//! Decides which acts a set allows and how sets combine. It enforces nothing: that is done where a guest acts.
//!
//! ```toml
//! fs.read = ["/data/**"]              # a directory tree each; writing includes reading, creating, deleting, listing
//! fs.write = ["/data/out/**"]
//! net.connect = ["api.example.com:443", "*.example.com:*", "[2001:db8::1]:443"]
//! net.listen = ["127.0.0.1:8080"]
//! env = ["TZ"]
//! storage = "read-write"              # none, read-only, read-write, admin
//! send = ["alerter"]                  # words of links, or "*"
//! receive = ["*"]                     # names of installations, or "*"
//! publish = ["orders.created"]        # `*` as the last word stands for exactly one word
//! subscribe = ["orders.*"]
//! custom.metrics = { prefix = "shop" } # equal or not; there is no narrower and wider
//! ```

mod custom;
mod decide;
mod entry;
mod forbidden;
mod grant;
mod net;
mod pattern;
mod reach;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;

pub use custom::{CustomName, CustomValue, MAX_CUSTOM_BYTES};
pub use decide::{Decision, ENFORCED_KINDS, decide};
pub use entry::{Entry, Kind};
pub use forbidden::why_forbidden;
pub use grant::{Declined, Grant, Mode};
pub use net::{Connect, Listen, MAX_HOST_BYTES, MAX_LABEL_BYTES};
pub use pattern::{
    EnvName, MAX_ENV_NAME_BYTES, MAX_PATH_BYTES, MAX_PATH_SEGMENT_BYTES, MAX_TOPIC_SEGMENTS, PatternError, Peer,
    StorageLevel, Topic, Tree,
};
pub use reach::{MAX_REMEMBERED_ADDRESSES, Reach};
pub use text::MAX_ENTRIES_PER_KIND;

use crate::name::{InstallationName, LinkName};

/// A set of permissions. What is not in it is not allowed.
///
/// Entries stay as they were written, also where one includes another: whether a permission was named or
/// is only covered by a pattern makes a difference to approvals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Permissions {
    entries: BTreeSet<Entry>,
}

impl Permissions {
    /// The set that allows nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, ordered by kind and pattern.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether exactly this entry is written here.
    pub fn names(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }

    /// Whether every act that `entry` allows is allowed.
    ///
    /// One entry must include it as a whole. Nothing is lost by that: no pattern is the union of fewer than
    /// 65,535 others, and a kind holds at most [`MAX_ENTRIES_PER_KIND`].
    pub fn includes(&self, entry: &Entry) -> bool {
        self.entries.iter().any(|own| own.covers(entry))
    }

    /// Whether every act that this set allows is allowed by `other`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.entries.iter().all(|entry| other.includes(entry))
    }

    /// Exactly the acts that both sets allow, without entries that others include.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let pairs = self.entries.iter().flat_map(|own| other.entries.iter().filter_map(|other| own.meet(other)));
        pairs.collect::<Self>().reduced()
    }

    /// The same acts, without entries that others include.
    #[must_use]
    pub fn reduced(&self) -> Self {
        let is_needed = |entry: &&Entry| !self.entries.iter().any(|other| other != *entry && other.covers(entry));
        self.entries.iter().filter(is_needed).cloned().collect()
    }

    /// The environment variables that it sees, each under the name that it has on the host.
    pub fn environment(&self) -> impl Iterator<Item = &EnvName> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Env(name) => Some(name),
            _ => None,
        })
    }

    /// The directory trees that it sees, each with whether it may write there; none that another one includes.
    pub fn trees(&self) -> Vec<(Tree, bool)> {
        let reduced = self.reduced();
        let tree = |entry: &Entry| match entry {
            Entry::FsRead(tree) => Some((tree.clone(), false)),
            Entry::FsWrite(tree) => Some((tree.clone(), true)),
            _ => None,
        };
        reduced.entries().filter_map(tree).collect()
    }

    /// Whether it may do something for which it may have to wait: reach files or hosts.
    pub fn waits(&self) -> bool {
        let waits = |entry: &Entry| {
            matches!(entry, Entry::FsRead(_) | Entry::FsWrite(_) | Entry::NetConnect(_) | Entry::NetListen(_))
        };
        self.entries.iter().any(waits)
    }

    /// How far the component may use its storage; `None` is not at all.
    pub fn storage(&self) -> Option<StorageLevel> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Storage(level) => Some(*level),
            _ => None,
        })
    }

    /// Whether a message may go to what `link` means.
    pub fn may_send(&self, link: &LinkName) -> bool {
        self.includes(&Entry::Send(Peer::Named(link.clone())))
    }

    /// The links over which it may send, by name.
    pub fn links(&self) -> impl Iterator<Item = &LinkName> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Send(Peer::Named(link)) => Some(link),
            _ => None,
        })
    }

    /// Whether it may send over every link that there is.
    pub fn may_send_to_all(&self) -> bool {
        self.includes(&Entry::Send(Peer::Any))
    }

    /// Whether it may publish to the topic.
    pub fn may_publish(&self, topic: &Topic) -> bool {
        self.includes(&Entry::Publish(topic.clone()))
    }

    /// Whether it may take everything that the pattern means.
    pub fn may_subscribe(&self, pattern: &Topic) -> bool {
        self.includes(&Entry::Subscribe(pattern.clone()))
    }

    /// Whether a message from `sender` may come in.
    pub fn may_receive_from(&self, sender: &InstallationName) -> bool {
        self.includes(&Entry::Receive(Peer::Named(sender.clone())))
    }
}

impl FromIterator<Entry> for Permissions {
    /// A set has one storage level, the highest that is given, and one table a custom name, the first.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut entries: BTreeSet<Entry> = entries.into_iter().collect();
        let highest = entries.iter().rfind(|entry| matches!(entry, Entry::Storage(_))).cloned();
        let mut custom_names = BTreeSet::new();
        entries.retain(|entry| match entry {
            Entry::Storage(_) => Some(entry) == highest.as_ref(),
            Entry::Custom(name, _) => custom_names.insert(name.clone()),
            _ => true,
        });
        Self { entries }
    }
}

/// How a set differs from an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Entries that only the later set has.
    pub added: Vec<Entry>,
    /// Entries that only the earlier set has.
    pub removed: Vec<Entry>,
    /// Whether the later set allows an act that the earlier one did not. An added entry need not widen:
    /// it may be the narrower form of a removed one.
    pub widened: bool,
}

impl Delta {
    /// What changes from `before` to `after`.
    pub fn between(before: &Permissions, after: &Permissions) -> Self {
        Self {
            added: after.entries.difference(&before.entries).cloned().collect(),
            removed: before.entries.difference(&after.entries).cloned().collect(),
            widened: !after.is_subset_of(before),
        }
    }

    /// Whether both sets are written alike.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}
