use proptest::prelude::*;

use super::*;
use crate::sealed;

fn name(text: &str) -> InstallationName {
    text.parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn birth() -> Decoded {
    Generation::birth(1_763_820_000, digest("floors")).encode(None).1
}

fn next(parent: &Decoded) -> Generation {
    let number = parent.generation.number + 1;
    parent.generation.successor(parent.digest, number, parent.generation.written_unix_s + 1)
}

fn install(generation: &mut Generation, text: &str) {
    let slot = Slot { record: digest(text), storage_id: generation.next_storage_id };
    generation.next_storage_id += 1;
    generation.entries.insert(name(text), slot);
}

#[test]
fn a_base_and_a_delta_read_as_people_expect() {
    let mut first = next(&birth());
    for text in ["alpha", "beta", "gamma"] {
        install(&mut first, text);
    }
    let (base, first) = first.encode(Some(&birth()));
    expect_test::expect![[r#"
        airssys-generation 1
        number 1
        parent 0 sha256:77adad14b449804708afea92fa99d67eb8e10e514c442e8790cc029c5b7e8719
        written 1763820001
        floors sha256:1d01b3469fa3f3526dc8be45039d41b22fb9bc8d767268c9b38c5b1df2654a0b
        next-storage-id 4
        entries 3
        base
        set alpha sha256:8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8 1
        set beta sha256:f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753 2
        set gamma sha256:be9d587defa1f0c09ef49eb17e206983a5f8f8289e4281860bd0ee5a19592c67 3
        end sha256:ef70f36dd97021e1055ade1f3043f87b92585b35efeb46f2dee574d1a6dc75de
    "#]]
    .assert_eq(&base.text);
    let mut second = next(&first);
    second.entries.remove("beta");
    install(&mut second, "delta");
    second.holds.insert(name("alpha"), HeldTarget { target: digest("t"), reason: "3 exits\nwithin 2 minutes".into() });
    second.notes.push(Note { kind: "approval".into(), text: "delete by uid 0".into() });
    expect_test::expect![[r#"
        airssys-generation 1
        number 2
        parent 1 sha256:ef70f36dd97021e1055ade1f3043f87b92585b35efeb46f2dee574d1a6dc75de
        written 1763820002
        floors sha256:1d01b3469fa3f3526dc8be45039d41b22fb9bc8d767268c9b38c5b1df2654a0b
        next-storage-id 5
        entries 3
        delta
        set delta sha256:4f4a9410ffcdf895c4adb880659e9b5c0dd1f23a30790684340b3eaacb045398 4
        unset beta
        hold alpha sha256:e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8 "3 exits\nwithin 2 minutes"
        note approval "delete by uid 0"
        end sha256:21ec5e64fefa0a74a15f1508613ca7db9f2493dc0e1f9c9c2f3c34f1526150eb
    "#]]
    .assert_eq(&second.encode(Some(&first)).0.text);
}

#[test]
fn the_applied_commit_is_in_every_generation_from_then_on() {
    let line = r#"48be25d80bc4b323990ed63e2651a7972ac86941 "https://example.com/fleet.git" "branch:main" "eu""#;
    let applied = crate::snapshot::AppliedCommit::from_line(line).unwrap();
    let mut first = next(&birth());
    install(&mut first, "alpha");
    first.applied_commit = Some(applied.clone());
    let (base, first) = first.encode(Some(&birth()));
    assert!(base.text.contains(&format!("\nbase\napplied-commit {line}\nset alpha ")), "{}", base.text);
    let mut second = next(&first);
    second.notes.push(Note { kind: "approval".into(), text: "a".into() });
    let (delta, second) = second.encode(Some(&first));
    assert!(delta.text.contains(&format!("\ndelta\napplied-commit {line}\nnote ")), "{}", delta.text);
    assert_eq!(second.generation.applied_commit, Some(applied));
    assert_eq!(decode_from_base(&[base.text.clone(), delta.text]).unwrap(), second);
    // A line that reads as none must not make the mark forgotten.
    for other in [line.replace("48be", "48b"), line.replace("main", "../x"), format!("{line} "), String::new()] {
        let (_, body) = base.text.split_once('\n').unwrap();
        let body = body.rsplit_once("end ").unwrap().0.replace(line, &other);
        let text = sealed::seal("airssys-generation 1", &body).text;
        assert_eq!(GenerationFile::decode(text.as_bytes()), Err(GenerationError::Spelling), "{other}");
    }
}

/// Changes that a chain of commits makes: install, change, remove, hold, release, note.
#[derive(Debug, Clone)]
enum Change {
    Set(u8, u8),
    Unset(u8),
    Hold(u8, String),
    Release(u8),
    Note(String),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..20u8, any::<u8>()).prop_map(|(n, r)| Change::Set(n, r)),
        2 => (0..20u8).prop_map(Change::Unset),
        1 => (0..20u8, any::<String>()).prop_map(|(n, r)| Change::Hold(n, r)),
        1 => (0..20u8).prop_map(Change::Release),
        1 => any::<String>().prop_map(Change::Note),
    ]
}

fn apply(generation: &mut Generation, change: &Change) {
    let name = |n: &u8| name(&format!("n{n}"));
    match change {
        Change::Set(n, record) => {
            let new = generation.next_storage_id;
            let slot = generation.entries.entry(name(n)).or_insert(Slot { record: digest(""), storage_id: new });
            generation.next_storage_id = new.max(slot.storage_id + 1);
            slot.record = digest(&record.to_string());
        }
        Change::Unset(n) => drop(generation.entries.remove(&name(n))),
        Change::Hold(n, reason) => {
            generation.holds.insert(name(n), HeldTarget { target: digest("held"), reason: reason.clone() });
        }
        Change::Release(n) => drop(generation.holds.remove(&name(n))),
        Change::Note(text) => generation.notes.push(Note { kind: "approval".into(), text: text.clone() }),
    }
}

fn any_chain() -> impl Strategy<Value = Vec<Vec<Change>>> {
    proptest::collection::vec(proptest::collection::vec(any_change(), 0..8), 1..12)
}

/// Commits every step; returns the texts from the birth on, and the last generation.
fn commit_all(steps: &[Vec<Change>]) -> (Vec<String>, Decoded) {
    let mut texts = vec![birth().generation.encode(None).0.text];
    let mut current = birth();
    for step in steps {
        let mut generation = next(&current);
        step.iter().for_each(|change| apply(&mut generation, change));
        generation.clip();
        generation.check_follows(&current, current.generation.number).unwrap();
        let (sealed, decoded) = generation.encode(Some(&current));
        texts.push(sealed.text);
        current = decoded;
    }
    (texts, current)
}

fn decode_from_base(texts: &[impl AsRef<[u8]>]) -> Result<Decoded, GenerationError> {
    let files: Result<Vec<_>, _> = texts.iter().map(|text| GenerationFile::decode(text.as_ref())).collect();
    let files = files?;
    let base = files.iter().rposition(GenerationFile::is_base).ok_or(GenerationError::Parent)?;
    decode_chain(files.into_iter().skip(base))
}

proptest! {
    #[test]
    fn a_chain_of_commits_survives_a_round_trip(steps in any_chain()) {
        let (texts, current) = commit_all(&steps);
        prop_assert_eq!(decode_from_base(&texts).unwrap(), current);
    }

    #[test]
    fn dropped_records_are_those_of_the_parent_that_are_gone(steps in any_chain()) {
        let (texts, _) = commit_all(&steps);
        let mut parent: Option<Decoded> = None;
        for text in texts {
            let file = GenerationFile::decode(text.as_bytes()).unwrap();
            let dropped = parent.as_ref().map(|parent| file.dropped_records(&parent.generation));
            let after = file.apply(parent.clone()).unwrap();
            if let Some(parent) = parent {
                let gone = parent.generation.entries.iter().filter(|(name, slot)| {
                    after.generation.entries.get(*name).is_none_or(|now| now.record != slot.record)
                });
                let mut gone: Vec<_> = gone.map(|(_, slot)| slot.record).collect();
                let mut dropped = dropped.unwrap();
                gone.sort();
                dropped.sort();
                prop_assert_eq!(dropped, gone);
            }
            parent = Some(after);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_chain_is_always_detected(
        steps in any_chain(), file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        let (texts, _) = commit_all(&steps);
        let mut files: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
        let file = file.index(files.len());
        let at = at.index(files[file].len());
        files[file][at] ^= 1 << bit;
        prop_assert!(GenerationFile::decode(&files[file]).is_err());
    }

    #[test]
    fn a_missing_or_swapped_file_of_a_chain_is_always_detected(steps in any_chain(), seed in any::<prop::sample::Index>()) {
        let (texts, current) = commit_all(&steps);
        let files: Vec<_> = texts.iter().map(|text| GenerationFile::decode(text.as_bytes()).unwrap()).collect();
        let base = files.iter().rposition(GenerationFile::is_base).unwrap();
        let chain = &files[base..];
        prop_assume!(chain.len() > 1);
        let gone = seed.index(chain.len() - 1);
        let mut missing = chain.to_vec();
        missing.remove(gone);
        prop_assert!(decode_chain(missing).is_err());
        let mut swapped = chain.to_vec();
        swapped.swap(gone, gone + 1);
        prop_assert!(decode_chain(swapped).is_err());
        prop_assert_eq!(decode_chain(chain.to_vec()).unwrap(), current);
    }

    #[test]
    fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(GenerationFile::decode(&bytes).is_err());
    }

    #[test]
    fn hostile_lines_with_a_right_checksum_are_refused_or_are_the_one_spelling(
        lines in proptest::collection::vec(any_line(), 0..6),
    ) {
        let head = "number 7\nparent none\nwritten 1\nfloors ".to_owned()
            + &digest("f").to_string() + "\nnext-storage-id 9\nentries 1\nbase\n";
        let text = sealed::seal("airssys-generation 1", &(head + &lines.concat())).text;
        if let Ok(decoded) = GenerationFile::decode(text.as_bytes()).and_then(|file| file.apply(None)) {
            prop_assert_eq!(decoded.generation.clone().encode(None).0.text, text);
        }
    }
}

fn any_line() -> impl Strategy<Value = String> {
    let valid = digest("r").to_string();
    prop_oneof![
        Just(format!("set a {valid} 3\n")),
        Just(format!("set b {valid} 03\n")),
        Just(format!("set a  {valid} 3\n")),
        Just("unset a\n".to_owned()),
        Just(format!("hold a {valid} \"\\u0041\"\n")),
        Just(format!("hold a {valid} \"A\"\n")),
        Just("release a\n".to_owned()),
        Just("note approval \"x\"\n".to_owned()),
        Just("note Approval \"x\"\n".to_owned()),
        Just("\n".to_owned()),
        "[ -~]{0,30}\n",
    ]
}

#[test]
fn a_delta_that_changes_nothing_or_stands_on_another_parent_is_refused() {
    let mut first = next(&birth());
    install(&mut first, "alpha");
    install(&mut first, "beta");
    let first = first.encode(Some(&birth())).1;
    let head = |parent: &Decoded| {
        format!(
            "number 2\nparent 1 {}\nwritten 1\nfloors {}\nnext-storage-id 3\nentries 2\ndelta\n",
            parent.digest,
            digest("f")
        )
    };
    let file = |body: String| GenerationFile::decode(sealed::seal("airssys-generation 1", &body).text.as_bytes());
    let useless = ["set alpha", "unset gamma", "release alpha"];
    for verb in useless {
        let rest = if verb == "set alpha" { format!(" {} 1", digest("alpha")) } else { String::new() };
        let file = file(format!("{}{verb}{rest}\n", head(&first))).unwrap();
        assert!(matches!(file.apply(Some(first.clone())), Err(GenerationError::Misfit(_))), "{verb}");
    }
    let delta = file(format!("{}set alpha {} 1\n", head(&first), digest("new"))).unwrap();
    assert_eq!(delta.clone().apply(Some(birth())), Err(GenerationError::Parent));
    assert_eq!(delta.clone().apply(None), Err(GenerationError::Parent));
    assert!(delta.apply(Some(first)).is_ok());
}

#[test]
fn a_chain_is_rebased_after_its_limit_of_deltas() {
    let mut generation = next(&birth());
    (0..200).for_each(|n| install(&mut generation, &format!("n{n}")));
    let mut current = generation.encode(Some(&birth())).1;
    let mut deltas = Vec::new();
    for n in 0..u64::from(REBASE_EVERY) * 2 {
        let mut generation = next(&current);
        generation.entries.get_mut("n0").unwrap().record = digest(&n.to_string());
        current = generation.encode(Some(&current)).1;
        deltas.push(current.deltas);
    }
    assert_eq!(deltas.iter().max(), Some(&(REBASE_EVERY - 1)));
    assert_eq!(deltas.iter().filter(|d| **d == 0).count(), 2);
}

#[test]
fn a_generation_that_would_reuse_a_storage_id_or_a_number_is_refused() {
    let mut first = next(&birth());
    install(&mut first, "alpha");
    install(&mut first, "beta");
    let first = first.encode(Some(&birth())).1;
    let check = |change: &dyn Fn(&mut Generation)| {
        let mut generation = next(&first);
        change(&mut generation);
        generation.check_follows(&first, 1)
    };
    assert_eq!(check(&|_| ()), Ok(()));
    assert_eq!(check(&|g| install(g, "gamma")), Ok(()));
    assert_eq!(check(&|g| g.entries.retain(|name, _| name.as_str() != "alpha")), Ok(()));
    let id = |g: &mut Generation, id| g.entries.get_mut("alpha").unwrap().storage_id = id;
    assert!(matches!(check(&|g| id(g, 2)), Err(SuccessionError::StorageId { .. })), "shared with beta");
    assert!(matches!(check(&|g| id(g, 0)), Err(SuccessionError::StorageId { .. })), "never given out");
    assert!(matches!(check(&|g| id(g, 3)), Err(SuccessionError::StorageId { .. })), "not yet given out");
    assert!(matches!(check(&|g| g.next_storage_id = 2), Err(SuccessionError::NextStorageId { .. })));
    assert!(matches!(check(&|g| g.number = 1), Err(SuccessionError::Number { .. })));
    assert!(matches!(check(&|g| g.parent = None), Err(SuccessionError::Parent { .. })));
    assert_eq!(
        check(&|g| g.notes.push(Note { kind: "A b".into(), text: String::new() })),
        Err(SuccessionError::NoteKind)
    );
    // An id given out to a removed installation stays used up.
    let mut second = next(&first);
    second.entries.remove("alpha");
    let second = second.encode(Some(&first)).1;
    let mut third = next(&second);
    third.entries.insert(name("alpha"), Slot { record: digest("x"), storage_id: 1 });
    assert!(matches!(third.check_follows(&second, 2), Err(SuccessionError::StorageId { .. })));
}

#[test]
fn long_reasons_and_notes_are_cut_at_a_character() {
    let mut generation = birth().generation;
    generation.holds.insert(name("a"), HeldTarget { target: digest("t"), reason: "ä".repeat(MAX_REASON_BYTES) });
    let note = Note { kind: "approval".into(), text: "x".repeat(MAX_NOTE_BYTES + 1) };
    generation.notes = vec![note; MAX_NOTES + 1];
    generation.clip();
    assert_eq!(generation.holds["a"].reason.len(), MAX_REASON_BYTES);
    assert_eq!(
        (generation.notes.len(), generation.notes[0].text.len()),
        (MAX_NOTES_BYTES / MAX_NOTE_BYTES, MAX_NOTE_BYTES)
    );
    generation.notes = vec![Note { kind: "approval".into(), text: "x".into() }; MAX_NOTES + 1];
    generation.clip();
    assert_eq!(generation.notes.len(), MAX_NOTES);
    let (sealed, decoded) = generation.encode(None);
    assert_eq!(GenerationFile::decode(sealed.text.as_bytes()).unwrap().apply(None).unwrap(), decoded);
}
