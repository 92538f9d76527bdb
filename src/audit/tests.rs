use super::chain::{End, Walk, Walked};
use super::query::{Newest, Query};
use super::*;
use crate::generation::{Generation, HeldTarget, Note, Parent, Slot};
use crate::name::InstallationName;

fn name(text: &str) -> InstallationName {
    text.parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn entries(count: u64) -> Vec<Entry> {
    (0..count).map(|at| Entry::new(1_000 + at, Kind::Pause, format!("{at}")).about("a").by("me (uid 7)")).collect()
}

fn lines(count: u64) -> (Vec<String>, End) {
    End::EMPTY.extend(3, &entries(count))
}

fn walk(head: Option<End>, lines: &[String]) -> Walked {
    let mut walk = Walk::new(head);
    for (at, line) in lines.iter().enumerate() {
        walk.line(|| format!("line {}", at + 1), line.trim_end_matches('\n').as_bytes());
    }
    walk.end()
}

#[test]
fn a_line_says_everything_and_names_the_one_before() {
    let (lines, end) = lines(2);
    assert_eq!(
        lines[0],
        "{\"n\":1,\"time\":\"1970-01-01T00:16:40Z\",\"kind\":\"pause\",\"generation\":3,\"installation\":\"a\",\
         \"by\":\"me (uid 7)\",\"what\":\"0\",\"previous\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"}\n"
    );
    let second: Record = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((second.n, second.previous), (2, Digest::of(lines[0].trim_end().as_bytes())));
    assert_eq!(end, End { n: 2, digest: Digest::of(lines[1].trim_end().as_bytes()) });
    assert_eq!(End::decode(end.encode().as_bytes()), Ok(end));
}

#[test]
fn every_line_that_is_changed_moved_or_removed_shows() {
    let (whole, end) = lines(6);
    assert_eq!(walk(Some(end), &whole).broken, 0);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] = changed[at].replace("me (uid 7)", "him (uid 8)");
        assert_eq!(walk(Some(end), &changed).broken, 1, "line {at} changed");
        let mut removed = whole.clone();
        removed.remove(at);
        assert!(walk(Some(end), &removed).broken > 0, "line {at} removed");
        let mut twice = whole.clone();
        twice.insert(at, whole[at].clone());
        assert!(walk(Some(end), &twice).broken > 0, "line {at} twice");
        let mut damaged = whole.clone();
        damaged[at] = "{\n".to_owned();
        assert!(walk(Some(end), &damaged).broken > 0, "line {at} damaged");
        if at > 0 {
            let mut moved = whole.clone();
            moved.swap(at - 1, at);
            assert!(walk(Some(end), &moved).broken > 0, "line {at} moved");
        }
        assert!(walk(Some(end), &whole[..at]).broken > 0, "cut after {at}");
    }
    // Made anew from some place on: the head tells.
    let (mut forged, middle) = End::EMPTY.extend(3, &entries(3));
    forged.extend(middle.extend(4, &entries(3)).0);
    assert_eq!(walk(Some(end), &forged).breaks, ["record 6 is not the one that the head names"]);
    assert_eq!(walk(None, &whole).breaks, ["the head is missing or damaged"]);
}

#[test]
fn what_a_host_wrote_after_the_head_was_read_is_no_break() {
    let (whole, _) = lines(6);
    let (_, earlier) = lines(4);
    assert_eq!(walk(Some(earlier), &whole).broken, 0);
}

#[test]
fn records_that_were_removed_to_make_room_are_no_break_and_others_are() {
    let rotated = Entry { count: Some(2), ..Entry::new(2_000, Kind::Rotate, "records up to 2") };
    let (whole, end) = End::EMPTY.extend(3, entries(5).iter().chain([&rotated]));
    assert_eq!(walk(Some(end), &whole[2..]).broken, 0);
    assert_eq!(walk(Some(end), &whole[3..]).breaks, ["records 3 to 3 are gone, and no record says why"]);
}

#[test]
fn a_number_at_the_end_of_all_numbers_is_a_break_like_any_other() {
    let last = End { n: u64::MAX - 1, digest: digest("before") };
    let (whole, end) = last.extend(3, &entries(2));
    assert_eq!(end.n, u64::MAX);
    assert_eq!(walk(Some(end), &whole[..1]).end.n, u64::MAX);
    assert_eq!(walk(None, &whole).breaks[0], "line 2: record 18446744073709551615 follows record 18446744073709551615");
}

#[test]
fn a_head_has_one_spelling() {
    let (_, end) = lines(7);
    let body = |text: String| crate::sealed::seal("airssys-audit-head 1", &text).text;
    let digest = end.digest;
    assert_eq!(End::decode(body(format!("7 {digest}\n")).as_bytes()), Ok(end));
    for other in
        [format!("+7 {digest}\n"), format!("07 {digest}\n"), format!("7 {digest}\n\n"), format!("7 {digest} \n")]
    {
        assert!(End::decode(body(other.clone()).as_bytes()).is_err(), "{other:?}");
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_and_stays_text() {
    let (lines, _) = End::EMPTY.extend(1, &[Entry::new(0, Kind::Failed, "ä".repeat(MAX_WHAT_BYTES))]);
    let record: Record = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(record.what.len(), MAX_WHAT_BYTES);
    assert!(lines[0].len() < chain::MAX_LINE_BYTES);
}

#[test]
fn kinds_have_one_word_each_in_records_and_commands() {
    for kind in Kind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert_eq!(Kind::of_word(kind.as_str()), Some(kind));
    }
    assert_eq!(Kind::of_word("denial"), None);
}

fn generation(number: u64) -> Generation {
    let parent = (number > 0).then(|| Parent { number: number - 1, digest: digest("parent") });
    Generation { number, parent, ..Generation::birth(5_000 + number, digest("floors")) }
}

fn slot(record: &str, storage_id: u64) -> Slot {
    Slot { record: digest(record), storage_id }
}

fn note(kind: &str, text: &str) -> Note {
    Note { kind: kind.to_owned(), text: text.to_owned() }
}

fn told(before: &Generation, after: &Generation) -> Vec<String> {
    let mut accepted = |_: &Digest| None;
    let entries = commit::entries(before, after, &mut accepted);
    assert_eq!(commit::entries(before, after, &mut accepted), entries, "the same each time");
    assert!(entries.iter().all(|entry| entry.kind.is_of_commit() && entry.unix_s == after.written_unix_s));
    let line = |entry: &Entry| {
        let (name, by) = (entry.installation.as_deref().unwrap_or("-"), entry.by.as_deref().unwrap_or("-"));
        format!("{} {name} {by}: {}", entry.kind.as_str(), entry.what)
    };
    entries.iter().map(line).collect()
}

#[test]
fn a_commit_says_who_ordered_what_was_done_and_what_is_held() {
    let mut before = generation(1);
    before.entries = [(name("a"), slot("a1", 1)), (name("b"), slot("b1", 2)), (name("c"), slot("c1", 3))].into();
    before.holds.insert(name("h"), HeldTarget { target: digest("h"), reason: "x".to_owned() });
    let mut after = generation(2);
    after.entries = [(name("a"), slot("a2", 1)), (name("d"), slot("b1", 2)), (name("n"), slot("n1", 4))].into();
    after.holds.insert(name("a"), HeldTarget { target: digest("t"), reason: "it crashed".to_owned() });
    after.notes = vec![
        note("order", "apply by me (uid 7) at 2026-01-01T00:00:00Z"),
        note("approval", "delete for c action sha256:77 by me (uid 7) at 2026-01-01T00:00:00Z"),
        note("action", "a update version-changed a.toml:3"),
        note("action", "d move moved d.toml:1"),
        note("action", "n install new n.toml:1"),
        note("action", "c uninstall no-file c.toml"),
    ];
    assert_eq!(
        told(&before, &after),
        [
            "order - me (uid 7): apply",
            "approval c me (uid 7): delete for action sha256:77",
            "update a -: a.toml:3 (version-changed)",
            "move d -: d.toml:1 (moved)",
            "install n -: n.toml:1 (new)",
            "uninstall c -: c.toml (no-file)",
            &format!("hold a -: target {} is held: it crashed", digest("t").short()),
            &format!("release h -: target {} is no longer held", digest("h").short()),
        ]
    );
}

#[test]
fn what_has_no_note_is_told_all_the_same() {
    let mut before = generation(1);
    before.entries = [(name("a"), slot("a1", 1)), (name("b"), slot("b1", 2)), (name("k"), slot("k", 3))].into();
    let mut after = generation(2);
    after.entries = [(name("a"), slot("a2", 1)), (name("k"), slot("k", 3)), (name("n"), slot("n1", 4))].into();
    after.notes = vec![note("order", "rollback to generation 0 by me (uid 7) at 2026-01-01T00:00:00Z")];
    let told = told(&before, &after);
    assert_eq!(
        told,
        [
            "rollback - me (uid 7): rollback to generation 0",
            "update a -: its record is another one",
            "install n -: it is new",
            "uninstall b -: it is gone",
        ]
    );
}

#[test]
fn a_query_takes_by_installation_kind_and_time_and_keeps_the_newest() {
    let (lines, _) = lines(9);
    let records: Vec<Record> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ask = |query: Query| {
        let mut newest = Newest::new(&query);
        records.iter().for_each(|record| newest.see(record.clone()));
        let found = newest.found(walk(None, &lines));
        (found.matching, found.records.iter().map(|record| record.n).collect::<Vec<_>>())
    };
    let all = Query { most: 100, ..Query::default() };
    assert_eq!(ask(all.clone()).0, 9);
    assert_eq!(ask(Query { most: 2, ..all.clone() }), (9, vec![8, 9]));
    assert_eq!(ask(Query { since: Some(1_003), until: Some(1_005), ..all.clone() }), (2, vec![4, 5]));
    assert_eq!(ask(Query { installation: Some(name("b")), ..all.clone() }).0, 0);
    assert_eq!(ask(Query { kinds: [Kind::Start].into(), ..all.clone() }).0, 0);
    assert_eq!(ask(Query { kinds: [Kind::Start, Kind::Pause].into(), ..all }).0, 9);
}

#[test]
fn a_time_or_a_name_that_was_written_into_the_log_reaches_no_terminal_as_it_is() {
    let query = Query { most: 10, ..Query::default() };
    let mut newest = Newest::new(&query);
    let (lines, end) = lines(1);
    let record = Record { time: "\u{1b}[2J".into(), ..serde_json::from_str(&lines[0]).unwrap() };
    newest.see(Record { installation: Some("\u{202e}".into()), ..record });
    let text = text::audit(&newest.found(walk(Some(end), &lines)));
    assert!(text.starts_with("\\u{1b}[2J  pause  \\u{202e}  0; by me"), "{text:?}");
    let mut newest = Newest::new(&query);
    newest.see(Record { installation: Some("x".repeat(70_000)), ..serde_json::from_str(&lines[0]).unwrap() });
    assert!(text::audit(&newest.found(walk(Some(end), &lines))).contains("  0; by me"));
}

#[test]
fn text_from_elsewhere_reaches_no_terminal_as_it_is() {
    let entry = Entry::new(0, Kind::Refused, "\u{1b}[2J").about("a");
    let (lines, end) = End::EMPTY.extend(1, &[entry]);
    let query = Query { most: 1, ..Query::default() };
    let mut newest = Newest::new(&query);
    newest.see(serde_json::from_str(&lines[0]).unwrap());
    let text = text::audit(&newest.found(walk(Some(end), &lines)));
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[2J"), "{text}");
}
