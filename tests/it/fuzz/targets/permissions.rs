//! The grammar of permissions: single entries with all of their relations, and tables of them.

use std::collections::BTreeSet;

use airssys_wasm::document::{self, Report, Table};
use airssys_wasm::permission::{
    Declined, ENFORCED_KINDS, Entry, Grant, Kind, Mode, Permissions, decide, why_forbidden,
};

use super::super::seen::{Seen, shown};
use super::{Target, filled};

/// Longest input, in bytes; tables are in files that take less.
const MOST: usize = 64 << 10;
/// Entries of one input that are held against one another: each one more costs three times as much.
const MOST_RELATED: usize = 6;

pub const PERMISSIONS: Target = Target {
    name: "permissions",
    most: MOST,
    words: include_str!("../words/permissions"),
    run: permissions,
    mend: None,
    largest,
};

/// Lines of entries, and the whole as JSON or TOML, where it looks like that.
fn permissions(input: &[u8], seen: &mut Seen) {
    let Ok(text) = std::str::from_utf8(input) else { return seen.refused("not UTF-8") };
    match text.trim_start().starts_with('{') {
        true => json(text, seen),
        false if text.contains('=') => {
            table(text, seen);
            grant(text, seen);
        }
        false => {}
    }
    let mut entries = Vec::new();
    for line in text.lines().take(2 * MOST_RELATED) {
        match line.parse::<Entry>() {
            Err(error) => seen.refused(&error.to_string()),
            Ok(entry) => entries.push(alone(entry, seen)),
        }
        match line.parse::<Declined>() {
            Err(error) => shown(&error.to_string()),
            Ok(declined) => assert_eq!(declined.to_string().parse().as_ref(), Ok(&declined)),
        }
    }
    entries.truncate(MOST_RELATED);
    for (one, other) in entries.iter().flat_map(|one| entries.iter().map(move |other| (one, other))) {
        related(one, other, &entries, seen);
    }
    let set: Permissions = entries.iter().cloned().collect();
    survives(&set);
    decided(&set, &entries);
}

/// An entry reads back from its text and its JSON, includes itself, and shows nothing hostile.
fn alone(entry: Entry, seen: &mut Seen) -> Entry {
    seen.taken(&entry.kind().to_string());
    assert_eq!(entry.plain().parse().as_ref(), Ok(&entry));
    let json = serde_json::to_string(&entry).expect("JSON");
    assert_eq!(serde_json::from_str::<Entry>(&json).expect("its own JSON"), entry);
    assert!(entry.covers(&entry) && entry.meet(&entry).as_ref() == Some(&entry), "{entry}");
    shown(&entry.to_string());
    assert!(entry.to_string().is_ascii(), "{entry}");
    if let Some(why) = why_forbidden(&entry) {
        seen.taken(&why);
        shown(&why);
    }
    entry
}

/// What two entries have in common is exactly that: checked with every third one.
fn related(one: &Entry, other: &Entry, all: &[Entry], seen: &mut Seen) {
    let met = one.meet(other);
    assert_eq!(met, other.meet(one), "{one} and {other}");
    seen.taken(&format!("{} {} {}", one.covers(other), other.covers(one), met.is_some()));
    if one.covers(other) {
        assert_eq!(met.as_ref(), Some(other), "{one} includes {other}");
        assert!(!other.covers(one) || one == other, "{one} and {other} include one another");
        // What is in reach of the narrower one is in reach of the wider one.
        assert!(why_forbidden(other).is_none() || why_forbidden(one).is_some(), "{one} includes {other}");
    }
    for third in all {
        let both = one.covers(third) && other.covers(third);
        let met_covers = met.as_ref().is_some_and(|met| met.covers(third));
        assert_eq!(both, met_covers, "{one} and {other} meet in {met:?}, and {third}");
        assert!(!(one.covers(other) && other.covers(third)) || one.covers(third), "{one}, {other}, {third}");
    }
}

/// A set survives JSON and TOML and includes itself.
fn survives(set: &Permissions) {
    let json = serde_json::to_string(set).expect("JSON");
    assert_eq!(&serde_json::from_str::<Permissions>(&json).expect("its own JSON"), set, "{json}");
    let entries: Vec<Entry> = set.entries().cloned().collect();
    let lines = Grant::default().lines_with(&entries).join("\n");
    let mut report = Report::new("own.toml", &lines);
    let parsed = document::parse(&lines, &mut report);
    let read = Permissions::read(Table::document(&parsed), &mut report);
    assert!(report.is_clean(), "its own lines are refused: {lines}");
    assert_eq!(&read, set, "{lines}");
    assert!(set.is_subset_of(set) && set.reduced().is_subset_of(set) && set.is_subset_of(&set.reduced()));
    assert_eq!(set.intersect(set), set.reduced());
}

/// Whatever is asked, granted and capped: the outcome is within all three, and nothing forbidden is in it.
fn decided(set: &Permissions, entries: &[Entry]) {
    let half = |odd: usize| entries.iter().skip(odd).step_by(2).cloned().collect::<Permissions>();
    let (ask, cap) = (half(0), half(1));
    let without: BTreeSet<Declined> = entries.iter().take(1).cloned().map(Declined::Entry).collect();
    let mut enforced = ENFORCED_KINDS.to_vec();
    enforced.extend([Kind::FsRead, Kind::FsWrite, Kind::NetConnect]);
    for (ask, granted, cap) in [(&ask, set, &cap), (set, &ask, &cap), (set, &cap, set), (set, set, set)] {
        for (without, mode) in [(BTreeSet::new(), Mode::Enforce), (without.clone(), Mode::Observe)] {
            let grant = Grant { permissions: granted.clone(), without, mode };
            let decision = decide(ask, &grant, cap, &enforced);
            let given = &decision.effective;
            assert!(given.is_subset_of(ask) && given.is_subset_of(granted) && given.is_subset_of(cap), "{decision:?}");
            assert!(given.entries().all(|entry| why_forbidden(entry).is_none()), "{decision:?}");
            let declined = |entry: &Entry| grant.without.contains(&Declined::Entry(entry.clone()));
            assert!(!given.entries().any(declined), "{decision:?}");
        }
    }
}

fn json(text: &str, seen: &mut Seen) {
    match serde_json::from_str::<Permissions>(text) {
        Err(error) => seen.refused(&airssys_wasm::escape::escape(&error.to_string())),
        Ok(set) => {
            seen.taken("JSON");
            survives(&set);
        }
    }
    if let Ok(grant) = serde_json::from_str::<Grant>(text) {
        let json = serde_json::to_string(&grant).expect("JSON");
        assert_eq!(serde_json::from_str::<Grant>(&json).expect("its own JSON"), grant);
    }
}

fn table(text: &str, seen: &mut Seen) {
    let mut report = Report::new("fuzz.toml", text);
    let parsed = document::parse(text, &mut report);
    let set = Permissions::read(Table::document(&parsed), &mut report);
    match report.is_clean() {
        true => {
            seen.taken("table");
            survives(&set);
        }
        false => seen.problems(&report.into_problems()),
    }
}

fn grant(text: &str, seen: &mut Seen) {
    let mut report = Report::new("fuzz.toml", text);
    let parsed = document::parse(text, &mut report);
    let grant = Grant::read(Table::document(&parsed), &mut report);
    if !report.is_clean() {
        return seen.problems(&report.into_problems());
    }
    seen.taken("grant");
    let json = serde_json::to_string(&grant).expect("JSON");
    assert_eq!(serde_json::from_str::<Grant>(&json).expect("its own JSON"), grant);
    let given = decide(&grant.permissions, &grant, &grant.permissions, ENFORCED_KINDS).effective;
    assert!(given.is_subset_of(&grant.permissions));
}

fn largest() -> Vec<Vec<u8>> {
    vec![
        filled(MOST, "send = [", |n| format!("\"a{n}\","), "]"),
        filled(4 << 10, "custom.x = {", |n| format!("k{n} = '\u{202e}',"), "}"),
        filled(MOST, "custom.x = {", |n| format!("k{n} = {n},"), "}"),
        filled(MOST, "", |n| format!("custom.c{n} = {{}}\n"), ""),
        filled(MOST, "{\"custom\":{\"a\":", |_| "[".to_owned(), ""),
        filled(MOST, "{\"send\":[\"a\"", |_| ",\"a\"".to_owned(), "]}"),
        filled(MOST, "fs.read ", |_| "/a".to_owned(), "/**"),
        filled(MOST, "net.connect ", |_| "a.".to_owned(), "a:1"),
        filled(MOST, "without = [", |n| format!("\"send a{n}\","), "]\nsend = [\"*\"]"),
        filled(5_000, "net.connect = [", |n| format!("\"a{n}.example.com:1\","), "]"),
    ]
}
