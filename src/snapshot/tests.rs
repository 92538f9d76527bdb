use super::*;
use crate::trust::sshsig::SshKey;

const FIRST: (&str, &[u8]) =
    ("48be25d80bc4b323990ed63e2651a7972ac86941", include_bytes!("../trust/sshsig/vectors/first.commit"));
const SECOND: (&str, &[u8]) =
    ("32a0a667c854a42fdb0757f2088a09e50a89af28", include_bytes!("../trust/sshsig/vectors/second.commit"));
const RSA: (&str, &[u8]) =
    ("7876f93dca569a571bfc3d9ef6ebffa1f61c8e00", include_bytes!("../trust/sshsig/vectors/rsa.commit"));
const EC: (&str, &[u8]) =
    ("ef6a7091c983772d3e770d89d4cef9c1f986082f", include_bytes!("../trust/sshsig/vectors/ec.commit"));
const MALLORY: (&str, &[u8]) =
    ("60f1ab7c6ead501e0f4a6d37c3a6774f7667e6e9", include_bytes!("../trust/sshsig/vectors/mallory.commit"));
const UNSIGNED: (&str, &[u8]) =
    ("73135c1e4630bc70c6a3b3b79bad28235d417ea9", include_bytes!("../trust/sshsig/vectors/unsigned.commit"));
const MERGE: (&str, &[u8]) =
    ("8b33dadb22e4c55b3cd27db887e9a76e1eec1d0d", include_bytes!("../trust/sshsig/vectors/merge.commit"));

fn repository() -> Repository {
    Repository {
        url: "https://example.com/fleet.git".parse().expect("valid"),
        at: GitReference::Branch("main".into()),
        path: "clusters/eu".into(),
    }
}

fn applied(id: &str) -> AppliedCommit {
    AppliedCommit { commit: id.parse().expect("an id"), repository: repository() }
}

fn signed() -> Rules {
    let key: SshKey = include_str!("../trust/sshsig/vectors/alice.pub").parse().expect("a key");
    Rules { signers: vec![key], allow_non_fast_forward: false }
}

/// Judges the first of `commits`; `claim` is what the fetch says of its descent.
fn verdict(
    commits: &[(&'static str, &'static [u8])],
    after: Option<&str>,
    claim: (bool, bool),
    rules: &Rules,
) -> Result<DesiredCommit, String> {
    let repository = repository();
    let offer = Offer {
        repository: &repository,
        commit: commits[0].0,
        is_fast_forward: claim.0,
        commits: commits.to_vec(),
        is_cut: claim.1,
    };
    judge(&offer, after.map(applied).as_ref(), rules).map_err(|refusal| refusal.code)
}

const WHOLE: (bool, bool) = (true, false);
const CUT: (bool, bool) = (true, true);

#[test]
fn ids_of_real_commits_are_what_git_says() {
    for (id, raw) in [FIRST, SECOND, RSA, EC, MALLORY, UNSIGNED, MERGE] {
        assert_eq!(CommitId::of(raw).expect("no collision").to_string(), id);
        Commit::read(id.parse().expect("an id"), raw).expect("a commit");
    }
    let merge = Commit::read(MERGE.0.parse().expect("an id"), MERGE.1).expect("a commit");
    assert_eq!(merge.parents.len(), 2);
}

#[test]
fn the_first_commit_is_taken_and_its_own_signature_is_what_counts() {
    let plain = Rules::default();
    assert_eq!(verdict(&[UNSIGNED], None, WHOLE, &plain).expect("taken").descent, Descent::First);
    let taken = verdict(&[SECOND], None, CUT, &signed()).expect("taken");
    assert_eq!((taken.descent, taken.signers), (Descent::First, vec!["alice@example.com".to_owned()]));
    assert_eq!(verdict(&[UNSIGNED], None, WHOLE, &signed()), Err("commit-unsigned".into()));
}

#[test]
fn only_a_descendant_follows_whatever_the_fetch_claims() {
    let plain = Rules::default();
    let taken = verdict(&[SECOND], Some(FIRST.0), WHOLE, &plain).expect("taken");
    assert_eq!(taken.descent, Descent::FastForward);
    assert_eq!(
        taken.to_string(),
        "git https://example.com/fleet.git branch main@32a0a66, path clusters/eu (fast-forward from 48be25d)"
    );
    // The older one again: a replay.
    for claim in [(false, false), (true, false), (false, true)] {
        assert_eq!(verdict(&[FIRST], Some(SECOND.0), claim, &plain), Err("not-fast-forward".into()));
        assert_eq!(verdict(&[FIRST], Some(SECOND.0), claim, &signed()), Err("not-fast-forward".into()));
    }
    let allowed = Rules { allow_non_fast_forward: true, ..signed() };
    let taken = verdict(&[FIRST], Some(SECOND.0), (false, false), &allowed).expect("allowed");
    assert_eq!((taken.descent, taken.from.map(|id| id.to_string())), (Descent::NotFastForward, Some(SECOND.0.into())));
    // What is allowed is the descent, never the signature.
    assert_eq!(verdict(&[UNSIGNED], Some(SECOND.0), (false, false), &allowed), Err("commit-unsigned".into()));
}

#[test]
fn every_commit_of_the_range_must_be_signed() {
    let taken = verdict(&[SECOND], Some(FIRST.0), WHOLE, &signed()).expect("taken");
    assert!(taken.to_string().ends_with("(fast-forward from 48be25d, signed by alice@example.com)"), "{taken}");
    // Signed at the head, and not in the middle.
    let range = [MERGE, UNSIGNED, MALLORY, EC];
    assert_eq!(verdict(&range, Some(RSA.0), WHOLE, &signed()), Err("commit-unsigned".into()));
    assert_eq!(
        verdict(&[MERGE, MALLORY, UNSIGNED, EC], Some(RSA.0), WHOLE, &signed()),
        Err("commit-unknown-signer".into())
    );
    // What is left out breaks the chain to the one applied last.
    assert_eq!(verdict(&[MERGE], Some(RSA.0), WHOLE, &signed()), Err("not-fast-forward".into()));
    assert_eq!(verdict(&[MERGE, MALLORY, EC], Some(RSA.0), WHOLE, &signed()), Err("not-fast-forward".into()));
}

#[test]
fn a_cut_range_counts_only_where_no_signature_is_asked_for() {
    assert_eq!(verdict(&[MERGE], Some(RSA.0), CUT, &Rules::default()).expect("taken").descent, Descent::FastForward);
    assert_eq!(verdict(&[MERGE], Some(RSA.0), CUT, &signed()), Err("range-too-long".into()));
    let allowed = Rules { allow_non_fast_forward: true, ..signed() };
    assert_eq!(verdict(&[MERGE], Some(RSA.0), (false, true), &allowed), Err("range-too-long".into()));
}

#[test]
fn bytes_under_another_id_are_refused() {
    for rules in [Rules::default(), signed()] {
        assert_eq!(verdict(&[(SECOND.0, FIRST.1)], Some(FIRST.0), WHOLE, &rules), Err("wrong-commit".into()));
        assert_eq!(verdict(&[("main", SECOND.1)], Some(FIRST.0), WHOLE, &rules), Err("wrong-commit".into()));
    }
    assert_eq!(verdict(&[SECOND, (EC.0, MERGE.1)], Some(FIRST.0), WHOLE, &signed()), Err("wrong-commit".into()));
    // The head's bytes are missing: nothing says who signed it.
    let repository = repository();
    let offer =
        Offer { repository: &repository, commit: SECOND.0, is_fast_forward: true, commits: vec![FIRST], is_cut: false };
    assert_eq!(judge(&offer, None, &signed()).expect_err("refused").code, "wrong-commit");
}

#[test]
fn the_applied_commit_is_as_it_was_and_a_changed_place_is_told() {
    let mut elsewhere = repository();
    elsewhere.path = "clusters/us".into();
    elsewhere.at = GitReference::Tag("v2".into());
    let offer =
        Offer { repository: &elsewhere, commit: FIRST.0, is_fast_forward: true, commits: vec![], is_cut: false };
    let taken = judge(&offer, Some(&applied(FIRST.0)), &signed()).expect("taken");
    assert_eq!(
        taken.to_string(),
        "git https://example.com/fleet.git tag v2@48be25d, path clusters/us (as applied); the reference was branch \
         main, is tag v2; the path was clusters/eu, is clusters/us"
    );
}

#[test]
fn the_line_of_a_generation_reads_back_and_nothing_else_does() {
    let line = applied(FIRST.0).line();
    assert_eq!(line, format!(r#"{} "https://example.com/fleet.git" "branch:main" "clusters/eu""#, FIRST.0));
    assert_eq!(AppliedCommit::from_line(&line), Some(applied(FIRST.0)));
    for bad in [
        &line[1..],
        &format!("{line} "),
        &format!("{line} \"x\""),
        &line.replace("branch:main", "main"),
        &line.replace("clusters/eu", "../eu"),
        &line.replace("https", "ext"),
        "",
    ] {
        assert_eq!(AppliedCommit::from_line(bad), None, "{bad}");
    }
}

#[test]
fn sources_in_a_repository_stay_inside() {
    let repository = repository();
    assert_eq!(repository.source_directory("../../components/a/"), Ok("components/a".into()));
    assert_eq!(repository.source_directory("./a"), Ok("clusters/eu/a".into()));
    assert_eq!(repository.source_directory("../.."), Ok(".".into()));
    for bad in ["../../../a", "/etc", "../../.git/objects", "..\\a", "../../.GIT"] {
        assert!(repository.source_directory(bad).is_err(), "{bad}");
    }
    let top = Repository { path: ".".into(), ..repository };
    assert_eq!(top.source_directory("components/a"), Ok("components/a".into()));
    assert!(top.source_directory("a/../../b").is_err());
    assert_eq!(top.file("a.toml"), "a.toml");
}
