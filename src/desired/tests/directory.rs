//! What a directory adds up to: duplicates, bad files and moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use expect_test::expect;
use proptest::prelude::*;

use crate::desired::file::{ParsedFile, WantedFile, parse};
use crate::desired::spec::{Origin, Spec};
use crate::desired::{DesiredFile, DesiredState, Entry, assemble};
use crate::diagnostic::Diagnostic;
use crate::name::InstallationName;
use crate::test_scale::cases;

type Files = BTreeMap<String, DesiredFile>;
type LastGood = BTreeMap<String, InstallationName>;

fn name(text: &str) -> InstallationName {
    text.parse().unwrap()
}

fn parsed(file: &str, text: &str) -> DesiredFile {
    DesiredFile::Parsed(Arc::new(parse(file, text.as_bytes())))
}

fn good(file: &str, head: &str) -> (String, DesiredFile) {
    let text = format!("{head}\npackage = \"acme:x\"\n[source.file]\npath = \"x\"\n");
    let file = format!("{file}.toml");
    let desired = parsed(&file, &text);
    assert!(matches!(&desired, DesiredFile::Parsed(parsed) if parsed.outcome.is_ok()));
    (file, desired)
}

fn bad(file: &str, text: &str) -> (String, DesiredFile) {
    let file = format!("{file}.toml");
    let desired = parsed(&file, text);
    assert!(matches!(&desired, DesiredFile::Parsed(parsed) if parsed.outcome.is_err()));
    (file, desired)
}

fn unreadable(file: &str) -> (String, DesiredFile) {
    let file = format!("{file}.toml");
    let problem = Diagnostic::whole_file(&file, "permission denied");
    (file, DesiredFile::Unreadable(problem))
}

fn last_good(pairs: &[(&str, &str)]) -> LastGood {
    pairs.iter().map(|(file, installation)| (format!("{file}.toml"), name(installation))).collect()
}

/// `name: wanted` or `name: held` with the problems, a line each; then the unknown files.
fn show(state: &DesiredState) -> String {
    assert!(state.complete);
    let mut text = String::new();
    for (name, entry) in &state.entries {
        match entry {
            Entry::Wanted { origin, .. } => text += &format!("{name}: wanted by {}\n", origin.file),
            Entry::Held(held) => {
                text += &format!("{name}: held, {}\n", held.files.join(" "));
                for problem in &held.problems {
                    text += &format!("    {}\n", problem.one_line());
                    if let Some(hint) = &problem.hint {
                        text += &format!("        {hint}\n");
                    }
                }
            }
        }
    }
    for unknown in &state.unknown {
        text += &format!("unknown: {}\n", unknown.file);
    }
    text
}

fn check(files: impl IntoIterator<Item = (String, DesiredFile)>, last: &[(&str, &str)], expected: expect_test::Expect) {
    expected.assert_eq(&show(&assemble(&files.into_iter().collect(), &last_good(last))));
}

const BAD: &str = "package = 1\n[source.file]\npath = \"x\"\n";
const TORN: &str = "package = \"acme:";

#[test]
fn files_of_different_names_are_wanted() {
    check(
        [good("a", ""), good("x", "name = \"b\"")],
        &[],
        expect![[r#"
        a: wanted by a.toml
        b: wanted by x.toml
    "#]],
    );
    check([], &[("a", "a")], expect![""]);
}

#[test]
fn a_backup_copy_holds_both_and_replaces_neither() {
    let files = [good("a", ""), good("b", ""), good("copy", "name = \"a\""), good("old", "name = \"a\"")];
    check(
        files,
        &[("a", "a")],
        expect![[r#"
        a: held, a.toml copy.toml old.toml
            a.toml: "a" is defined by 3 files: a.toml, copy.toml, old.toml
                keep one of them, or give each a `name` of its own; until then it stays as it is
        b: wanted by b.toml
    "#]],
    );
}

#[test]
fn a_bad_copy_holds_the_good_one_as_well() {
    check(
        [good("a", ""), bad("copy", &format!("name = \"a\"\n{BAD}"))],
        &[],
        expect![[r#"
        a: held, a.toml copy.toml
            a.toml: "a" is defined by 2 files: a.toml, copy.toml
                keep one of them, or give each a `name` of its own; until then it stays as it is
            copy.toml:2:11: `package` must be a string, not an integer
                put it in quotes: "1"
        unknown: copy.toml
    "#]],
    );
}

#[test]
fn one_bad_file_among_many_holds_only_itself() {
    let files = || [good("b", ""), good("c", "")];
    for torn in [bad("a", TORN), bad("a", ""), bad("a", BAD), unreadable("a")] {
        let state = assemble(&files().into_iter().chain([torn]).collect(), &last_good(&[("a", "a"), ("b", "b")]));
        assert!(matches!(&state.entries[&name("a")], Entry::Held(held) if held.files == ["a.toml"]));
        assert!(matches!(&state.entries[&name("b")], Entry::Wanted { .. }));
        assert!(matches!(&state.entries[&name("c")], Entry::Wanted { .. }));
        assert_eq!((state.entries.len(), state.unknown.len()), (3, 0));
    }
}

#[test]
fn a_bad_file_holds_what_its_path_last_defined_and_what_it_names_now() {
    check(
        [bad("a", &format!("name = \"new\"\n{BAD}"))],
        &[("a", "old")],
        expect![[r#"
        new: held, a.toml
            a.toml:2:11: `package` must be a string, not an integer
                put it in quotes: "1"
        old: held, a.toml
            a.toml:2:11: `package` must be a string, not an integer
                put it in quotes: "1"
    "#]],
    );
}

#[test]
fn a_bad_file_at_a_new_path_suspends_deletes_whatever_it_names() {
    check(
        [bad("new", TORN), unreadable("secret"), bad("named", BAD)],
        &[("gone", "gone")],
        expect![[r#"
        named: held, named.toml
            named.toml:1:11: `package` must be a string, not an integer
                put it in quotes: "1"
        unknown: named.toml
        unknown: new.toml
        unknown: secret.toml
    "#]],
    );
}

#[test]
fn a_renamed_file_with_its_old_name_or_with_moved_from_is_no_second_installation() {
    check(
        [good("b", "name = \"a\"")],
        &[("a", "a")],
        expect![[r#"
        a: wanted by b.toml
    "#]],
    );
    check(
        [good("b", "moved-from = \"a\"")],
        &[("a", "a")],
        expect![[r#"
        b: wanted by b.toml
    "#]],
    );
    check(
        [good("a", "name = \"b\"\nmoved-from = \"a\"")],
        &[("a", "a")],
        expect![[r#"
        b: wanted by a.toml
    "#]],
    );
}

#[test]
fn a_move_away_from_a_name_that_is_still_defined_holds_both() {
    check(
        [good("a", ""), good("b", "moved-from = \"a\"")],
        &[],
        expect![[r#"
        a: held, a.toml
            b.toml: "b" can't take the place of "a", which a.toml defines
                remove a.toml to move "a"; otherwise remove `moved-from` here
        b: held, b.toml
            b.toml: "b" can't take the place of "a", which a.toml defines
                remove a.toml to move "a"; otherwise remove `moved-from` here
    "#]],
    );
    check(
        [unreadable("a"), good("b", "moved-from = \"a\"")],
        &[("a", "a")],
        expect![[r#"
        a: held, a.toml
            b.toml: "b" can't take the place of "a", which a.toml defines
                remove a.toml to move "a"; otherwise remove `moved-from` here
            a.toml: permission denied
        b: held, b.toml
            b.toml: "b" can't take the place of "a", which a.toml defines
                remove a.toml to move "a"; otherwise remove `moved-from` here
    "#]],
    );
}

#[test]
fn two_that_swap_their_names_are_held() {
    let files = [good("a", "moved-from = \"b\""), good("b", "moved-from = \"a\"")];
    let state = assemble(&files.into_iter().collect(), &LastGood::new());
    assert!(state.entries.values().all(|entry| matches!(entry, Entry::Held(_))), "{}", show(&state));
}

#[test]
fn one_name_moved_to_two_places_goes_to_neither_and_does_not_vanish() {
    check(
        [good("b", "moved-from = \"a\""), good("c", "moved-from = \"a\"")],
        &[("a", "a")],
        expect![[r#"
        a: held, b.toml c.toml
            b.toml: "a" stays as it is, because "b", which takes its place, is held
        b: held, b.toml
            b.toml: "a" can become only one installation, and b.toml, c.toml name it in `moved-from`
                keep `moved-from` in one of them
        c: held, c.toml
            c.toml: "a" can become only one installation, and b.toml, c.toml name it in `moved-from`
                keep `moved-from` in one of them
    "#]],
    );
}

#[test]
fn a_move_in_a_bad_file_does_not_let_the_old_name_vanish() {
    let moved = format!("name = \"b\"\nmoved-from = \"a\"\n{BAD}");
    for last in [&[("a", "a")][..], &[("a", "a"), ("b", "b")]] {
        let state = assemble(&BTreeMap::from([bad("b", &moved)]), &last_good(last));
        assert!(matches!(state.entries[&name("a")], Entry::Held(_)), "{}", show(&state));
        assert!(matches!(state.entries[&name("b")], Entry::Held(_)));
    }
}

#[test]
fn ten_thousand_copies_of_one_name_are_held_with_a_bounded_message() {
    let (_, file) = good("a", "");
    let files: Files = (0..10_000).map(|n| (format!("{n}.toml"), file.clone())).collect();
    let state = assemble(&files, &LastGood::new());
    let Entry::Held(held) = &state.entries[&name("a")] else { panic!("not held") };
    assert_eq!(held.files.len(), 10_000);
    assert_eq!(
        held.problems[0].message,
        "\"a\" is defined by 10000 files: 0.toml, 1.toml, 10.toml, 100.toml, 1000.toml and 9995 more"
    );
}

#[test]
fn specs_are_shared_and_not_copied() {
    let (path, file) = good("a", "");
    let DesiredFile::Parsed(parsed) = &file else { unreachable!() };
    let wanted = parsed.outcome.as_ref().unwrap().clone();
    let state = assemble(&BTreeMap::from([(path, file.clone())]), &LastGood::new());
    let Entry::Wanted { spec, origin } = &state.entries[&name("a")] else { panic!("not wanted") };
    assert!(Arc::ptr_eq(spec, &wanted.spec) && Arc::ptr_eq(origin, &wanted.origin));
}

/// One random file: what it defines, or how it is bad.
#[derive(Debug, Clone)]
enum Written {
    Good { name: char, moved_from: Option<char> },
    Bad { name: Option<char>, moved_from: Option<char> },
    Unreadable,
}

fn written() -> impl Strategy<Value = Written> {
    let letter = || proptest::char::range('a', 'g');
    let moved = || proptest::option::weighted(0.2, letter());
    prop_oneof![
        6 => (letter(), moved()).prop_map(|(name, moved_from)| Written::Good { name, moved_from: moved_from.filter(|old| *old != name) }),
        2 => (proptest::option::of(letter()), moved()).prop_map(|(name, moved_from)| Written::Bad { name, moved_from }),
        1 => Just(Written::Unreadable),
    ]
}

impl Written {
    fn file(&self, path: &str, template: &Spec) -> DesiredFile {
        let hint = |name: &Option<char>| name.map(|c| self::name(&c.to_string()));
        match self {
            Self::Good { name, moved_from } => {
                let file = format!("{path}.toml");
                let wanted = WantedFile {
                    spec: Arc::new(Spec {
                        name: self::name(&name.to_string()),
                        moved_from: hint(moved_from),
                        ..Spec::clone(template)
                    }),
                    origin: Arc::new(Origin { file, lines: BTreeMap::new() }),
                };
                let outcome = Ok(Arc::new(wanted));
                DesiredFile::Parsed(Arc::new(ParsedFile {
                    digest: crate::digest::Digest::of(&[]),
                    outcome,
                    name_hint: None,
                    moved_from_hint: None,
                }))
            }
            Self::Bad { name, moved_from } => {
                let problems = vec![Diagnostic::whole_file(path, "bad")];
                let (name_hint, moved_from_hint) = (hint(name), hint(moved_from));
                DesiredFile::Parsed(Arc::new(ParsedFile {
                    digest: crate::digest::Digest::of(&[]),
                    outcome: Err(problems),
                    name_hint,
                    moved_from_hint,
                }))
            }
            Self::Unreadable => unreadable(path).1,
        }
    }
}

/// The names that a directory speaks of in any way that must keep them.
fn spoken_of(written: &[Written], last: &[Option<char>]) -> BTreeSet<char> {
    let mut names = BTreeSet::new();
    for (written, last) in written.iter().zip(last) {
        match written {
            Written::Good { name, .. } => drop(names.insert(*name)),
            Written::Bad { name, .. } => names.extend(name.iter().chain(last)),
            Written::Unreadable => names.extend(last),
        }
    }
    names
}

fn assembled(written: &[Written], last: &[Option<char>], paths: &[usize]) -> DesiredState {
    static TEMPLATE: LazyLock<Arc<Spec>> = LazyLock::new(|| match good("a", "").1 {
        DesiredFile::Parsed(parsed) => parsed.outcome.as_ref().unwrap().spec.clone(),
        DesiredFile::Unreadable(_) => unreachable!(),
    });
    let path = |index: usize| format!("f{:02}", paths[index]);
    let files = written
        .iter()
        .enumerate()
        .map(|(index, file)| (format!("{}.toml", path(index)), file.file(&path(index), &TEMPLATE)));
    let last = last
        .iter()
        .enumerate()
        .filter_map(|(index, last)| last.map(|last| (format!("{}.toml", path(index)), name(&last.to_string()))));
    assemble(&files.collect(), &last.collect())
}

/// Names with how they are wanted, without the names of files.
fn outline(state: &DesiredState) -> BTreeMap<String, String> {
    let show = |entry: &Entry| match entry {
        Entry::Wanted { spec, .. } => format!("wanted {} from {:?}", spec.name, spec.moved_from),
        Entry::Held(held) => format!("held by {}", held.files.len()),
    };
    state.entries.iter().map(|(name, entry)| (name.to_string(), show(entry))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(10_000)))]

    #[test]
    fn the_order_of_the_files_changes_nothing(
        files in proptest::collection::vec((written(), proptest::option::of(proptest::char::range('a', 'g'))), 0..8),
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let (written, last): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let state = assembled(&written, &last, &(0..8).collect::<Vec<_>>());
        let other = assembled(&written, &last, &order);
        prop_assert_eq!(outline(&state), outline(&other));
        prop_assert_eq!(state.unknown.len(), other.unknown.len());
    }

    #[test]
    fn each_name_is_there_once_and_is_wanted_only_when_one_good_file_alone_speaks_of_it(
        files in proptest::collection::vec((written(), proptest::option::of(proptest::char::range('a', 'g'))), 0..8),
    ) {
        let (written, last): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let state = assembled(&written, &last, &(0..8).collect::<Vec<_>>());
        let must_be_there = spoken_of(&written, &last);
        for name in &must_be_there {
            prop_assert!(state.entries.contains_key(&self::name(&name.to_string())), "{name} is lost");
        }
        for (name, entry) in &state.entries {
            let letter = name.as_str().chars().next().unwrap();
            let speaks = |(written, last): &(&Written, &Option<char>)| match written {
                Written::Good { name, .. } => *name == letter,
                Written::Bad { name, .. } => *name == Some(letter) || **last == Some(letter),
                Written::Unreadable => **last == Some(letter),
            };
            let speakers: Vec<_> = written.iter().zip(&last).filter(speaks).collect();
            match entry {
                Entry::Wanted { spec, .. } => {
                    prop_assert_eq!(speakers.len(), 1);
                    let is_good = matches!(speakers[0].0, Written::Good { .. });
                    prop_assert!(is_good);
                    if let Some(old) = &spec.moved_from {
                        prop_assert!(!state.entries.contains_key(old), "{name} takes the place of {old}, which is there");
                    }
                }
                Entry::Held(held) => {
                    prop_assert!(!held.problems.is_empty() && !held.files.is_empty());
                    let is_moved = || written.iter().any(|written| matches!(written,
                        Written::Good { moved_from, .. } | Written::Bad { moved_from, .. } if *moved_from == Some(letter)));
                    let moves = speakers.iter().any(|(written, _)| matches!(written, Written::Good { moved_from: Some(_), .. }));
                    let has_bad = speakers.iter().any(|(written, _)| !matches!(written, Written::Good { .. }));
                    prop_assert!(speakers.len() > 1 || has_bad || is_moved() || moves, "{name} is held without a reason");
                }
            }
        }
        let bad_without_last = written.iter().zip(&last).filter(|(written, last)| !matches!(written, Written::Good { .. }) && last.is_none());
        prop_assert_eq!(state.unknown.len(), bad_without_last.count());
    }

    #[test]
    fn a_file_that_turns_bad_removes_nothing(
        files in proptest::collection::vec((proptest::char::range('a', 'g'), proptest::option::weighted(0.3, proptest::char::range('a', 'g'))), 1..8),
        victim in any::<prop::sample::Index>(),
        tells_its_name in any::<bool>(),
    ) {
        let good = |(name, moved_from): &(char, Option<char>)| Written::Good { name: *name, moved_from: moved_from.filter(|old| old != name) };
        let mut written: Vec<Written> = files.iter().map(good).collect();
        let last: Vec<Option<char>> = files.iter().map(|(name, _)| Some(*name)).collect();
        let paths: Vec<usize> = (0..8).collect();
        let before = assembled(&written, &last, &paths);
        let victim = victim.index(written.len());
        written[victim] = match (&written[victim], tells_its_name) {
            (Written::Good { name, moved_from }, true) => Written::Bad { name: Some(*name), moved_from: *moved_from },
            _ => Written::Unreadable,
        };
        let after = assembled(&written, &last, &paths);
        let names = |state: &DesiredState| state.entries.keys().cloned().collect::<BTreeSet<_>>();
        let kept: BTreeSet<InstallationName> = files.iter().map(|(name, _)| self::name(&name.to_string())).collect();
        prop_assert!(names(&after).is_superset(&kept));
        // What is gone all the same is the old name of something that is wanted and moves.
        let is_moved = |old: &InstallationName| after.entries.values().any(|entry| {
            matches!(entry, Entry::Wanted { spec, .. } if spec.moved_from.as_ref() == Some(old))
        });
        if tells_its_name {
            prop_assert!(names(&before).difference(&names(&after)).all(is_moved));
        }
    }
}
