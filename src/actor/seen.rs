//! Owns what an installation that observes was seen to need: the permissions that cover what it did and what it asked for in
//! vain.
//!
//! Bounded: a component that asks for ever new things is told to do so, and its later wishes are left out.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::core::locked;
use crate::permission::{Entry, Grant, Mode, Permissions};

/// Different things that are kept of one installation; what comes after that is left out, and status says so.
pub const MAX_SEEN: usize = 256;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Needs>);

#[derive(Debug, Default)]
struct Needs {
    entries: BTreeSet<Entry>,
    left_out: bool,
}

/// The smallest grant that covers what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenGrant {
    /// The lines for `[grant]`; none when nothing was needed.
    pub lines: Vec<String>,
    /// Whether more was seen than is kept.
    pub left_out: bool,
}

impl Seen {
    /// For an installation that observes; none for any other.
    pub(super) fn of(grant: &Grant) -> Option<Self> {
        (grant.mode == Mode::Observe).then(Self::default)
    }

    /// Keeps what covers an act.
    pub(super) fn add(&self, entry: Entry) {
        let mut needs = locked(&self.0);
        if needs.entries.len() < MAX_SEEN || needs.entries.contains(&entry) {
            needs.entries.insert(entry);
        } else {
            needs.left_out = true;
        }
    }

    /// What covers all of it, and nothing that something else of it covers.
    pub(super) fn grant(&self) -> SeenGrant {
        let needs = locked(&self.0);
        let all: Permissions = needs.entries.iter().cloned().collect();
        let entries: Vec<Entry> = all.reduced().entries().cloned().collect();
        SeenGrant { lines: Grant::default().lines_with(&entries), left_out: needs.left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(entries: &[&str]) -> SeenGrant {
        let seen = Seen::default();
        entries.iter().for_each(|entry| seen.add(entry.parse().unwrap()));
        seen.grant()
    }

    #[test]
    fn the_smallest_grant_has_a_line_a_kind_and_nothing_twice() {
        assert_eq!(seen(&[]).lines, [""; 0]);
        let all = [
            "send bank",
            "send alerter",
            "send bank",
            "storage read-only",
            "storage read-write",
            "fs.read /data/in/**",
            "fs.write /data/in/**",
            "fs.read /data/in/deep/**",
            "net.connect api.example.com:443",
            "publish a.b",
        ];
        assert_eq!(
            seen(&all).lines,
            [
                "fs.write = [\"/data/in/**\"]",
                "net.connect = [\"api.example.com:443\"]",
                "storage = \"read-write\"",
                "send = [\"alerter\", \"bank\"]",
                "publish = [\"a.b\"]",
            ]
        );
    }

    #[test]
    fn what_is_too_much_to_keep_is_left_out_and_told() {
        let many: Vec<String> = (0..MAX_SEEN + 1).map(|number| format!("send s{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(seen(&many).left_out && !seen(&many[1..]).left_out);
    }
}
