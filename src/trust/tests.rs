use std::collections::BTreeMap;

use expect_test::expect;
use proptest::prelude::*;

use super::fixture::*;
use super::*;
use crate::desired::spec::{OnUninstall, Origin, Require, Source, Spec, Supervision};
use crate::limits::Limits;
use crate::permission::{Grant, Permissions};
use crate::record::Record;
use crate::resolution::Refusal;
use crate::test_scale::cases;

fn told(refusal: &Refusal) -> String {
    format!("[{}] {}\n{}", refusal.code, refusal.message, refusal.hint.as_deref().unwrap_or(""))
}

#[test]
fn a_signed_release_of_a_trusted_publisher_is_admitted() {
    let release = Release::of(3);
    let artifact = release.admit(&trusting()).unwrap();
    let identity = artifact.identity();
    assert_eq!(identity.package.as_str(), "acme:notifier");
    assert_eq!((identity.version.to_string().as_str(), identity.sequence), ("1.3.0", 3));
    assert_eq!(identity.publisher, "acme");
    assert_eq!(identity.signers, [key(1).public()].into());
    assert_eq!(identity.manifest, crate::digest::Digest::of(&release.manifest));
    assert_eq!(identity.signature, crate::digest::Digest::of(&release.signature));
    assert_eq!(identity.wasm_size, release.wasm.len() as u64);
    assert_eq!(artifact.permissions_max(), &["send *".parse().unwrap()].into_iter().collect::<Permissions>());
    assert_eq!(artifact.limits().memory.map(|size| size.0), Some(32 << 20));
}

#[test]
fn without_a_policy_the_hint_is_the_file_to_compare_and_paste() {
    let refusal = Release::of(1).admit(&TrustPolicy::none()).unwrap_err();
    expect![[r#"
        [no-trust-policy] there is no trust policy, so acme:notifier signed by ed25519:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c is not trusted
        compare the key with what the publisher gives out; if it is the same, create trust.toml with:

        schema = 1

        [publisher.acme]
        keys = ["ed25519:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"]
        names = ["acme:*"]
        threshold = 1

        # what this release asks for; the publisher gets no more than this
        [publisher.acme.permissions-max]
        send = ["alerter"]
    "#]].assert_eq(&told(&refusal));
    // Pasting it is enough.
    let file = refusal.hint.unwrap().split_once("\n\n").unwrap().1.to_owned();
    Release::of(1).admit(&policy(&file)).unwrap();
}

#[test]
fn for_an_unknown_publisher_the_hint_is_the_block_to_add() {
    let two = Release::signed(&draft("bolt:timer", 1), wasm(1), &[key(2), key(3)]);
    let refusal = two.admit_as(&trusting(), "bolt:timer", &Require::default(), NOW).unwrap_err();
    expect![[r#"
        [unknown-publisher] no publisher in the trust policy is for bolt:timer, signed by ed25519:8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394, ed25519:ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1
        compare the keys with what the publisher gives out; if it is the same, add to trust.toml:

        [publisher.bolt]
        keys = [
            "ed25519:8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
            "ed25519:ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1",
        ]
        names = ["bolt:*"]
        threshold = 2

        # what this release asks for; the publisher gets no more than this
        [publisher.bolt.permissions-max]
        send = ["alerter"]
    "#]].assert_eq(&told(&refusal));
    let block = refusal.hint.unwrap().split_once("\n\n").unwrap().1.to_owned();
    let after = policy(&format!("{}\n{block}", policy_text(&[1], 1)));
    two.admit_as(&after, "bolt:timer", &Require::default(), NOW).unwrap();
}

#[test]
fn for_an_unknown_key_the_hint_is_the_changed_block() {
    let other = Release::signed(&draft("acme:notifier", 1), wasm(1), &[key(2)]);
    let refusal = other.admit(&trusting()).unwrap_err();
    expect![[r#"
        [unknown-signer] acme:notifier is signed by ed25519:8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394, not by publisher `acme`
        if the publisher has a new key, compare it with what the publisher gives out, and change [publisher.acme] in trust.toml to:

        [publisher.acme]
        keys = [
            "ed25519:8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
            "ed25519:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
        ]
        names = ["acme:*"]
        threshold = 1

        [publisher.acme.permissions-max]
        send = ["*"]
    "#]].assert_eq(&told(&refusal));
    let block = refusal.hint.unwrap().split_once("\n\n").unwrap().1.to_owned();
    other.admit(&policy(&format!("schema = 1\n{block}"))).unwrap();
}

#[test]
fn refusals_read_well() {
    let good = Release::of(1);
    let exact = Require { version: Some("=9.9.9".parse().unwrap()), signer: None };
    let pinned = Require { version: None, signer: Some(key(5).public()) };
    let bad_manifest = {
        let text = draft("acme:notifier", 1).replace("memory = ", "memroy = ").replace("1.1.0", "1.1");
        let line = key(1).sign(&signed_bytes(text.as_bytes()));
        Release { manifest: text.into(), signature: SignatureFile { lines: vec![line] }.encode().into(), wasm: wasm(1) }
    };
    let name = "acme:notifier";
    let any = Require::default();
    let refusals = [
        good.edited("alerter", "billing").admit(&trusting()),
        good.admit(&policy(&policy_text(&[1, 2], 2))),
        good.admit(&with_revocation(&format!("key = \"{}\"", key(1).public()))),
        good.admit(&with_revocation("package = \"acme:notifier\"\nversion = \"<1.2.0\"\nreason = \"leaks\\u001b[2J\"")),
        good.admit_as(&trusting(), "acme:login", &any, NOW),
        good.admit_as(&trusting(), name, &exact, NOW),
        good.admit_as(&trusting(), name, &pinned, NOW),
        good.admit_as(&trusting(), name, &any, 0),
        good.admit_as(&trusting(), name, &any, i64::MAX),
        Release { wasm: wasm(2), ..good.clone() }.admit(&trusting()),
        Release { wasm: b"x".to_vec(), ..good.clone() }.admit(&trusting()),
        Release { signature: b"airssys-sig 1\n".to_vec(), ..good.clone() }.admit(&trusting()),
        bad_manifest.admit(&trusting()),
    ];
    let told: Vec<String> = refusals.into_iter().map(|refused| told(&refused.unwrap_err())).collect();
    expect![[r#"
        [bad-signature] the signature of ed25519:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c does not fit Component.toml: one of the two was changed
        fetch both files again; if that does not help, the publisher must sign again with `airssys-wasm sign`
        [below-threshold] acme:notifier has signatures of 1 of the keys of publisher `acme`, and 2 are needed
        the publisher must add signatures of further keys with `airssys-wasm sign`
        [revoked-key] acme:notifier of publisher `acme` has too few signatures: the key ed25519:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c is revoked
        the publisher must sign again with a key that is trusted
        [revoked] acme:notifier 1.1.0 is not trusted any more: acme:notifier <1.2.0 is revoked (leaks\u{1b}[2J)
        take a release that is not revoked
        [wrong-package] the source holds acme:notifier, and acme:login is wanted
        correct `package` or the source in the desired file
        [wrong-version] the source holds acme:notifier 1.1.0, and [require] wants version =9.9.9
        change `require.version` in the desired file, or the source to one with a fitting release
        [wrong-signer] acme:notifier 1.1.0 is not signed by ed25519:6e7a1cdd29b0b78fd13af4c5598feff4ef2a97166e3ca6f2e4fbfccd80505bf1, which [require] names
        change `require.signer` in the desired file, or take a release that this key signed
        [not-yet-valid] acme:notifier 1.1.0 is not to be used before 2026-01-01T00:00:00Z
        wait, or check this machine's clock
        [expired] acme:notifier 1.1.0 expired at 2027-01-01T00:00:00Z
        take a newer release, or check this machine's clock
        [wrong-digest] it.wasm is sha256:ad046b77561bf07108dec326819c90f18eadee85d9a2db1e3b74f5c32403381a, and acme:notifier 1.1.0 signs sha256:e9ccbbb643dda169675bb02ed525dc6d1e5e0df0bf64891c305b1df526ae84fb
        the source may be half updated: fetch manifest, signature and wasm of one release again
        [wrong-size] it.wasm is 1 bytes long, and acme:notifier 1.1.0 signs 48
        the source may be half updated: fetch manifest, signature and wasm of one release again
        [bad-signature-file] Component.toml.sig can't be used: there is no signature in it
        fetch it again; if it stays like this, the publisher must sign again with `airssys-wasm sign`
        [bad-manifest] the manifest is signed and can't be used: Component.toml:7:11: `package.version` can't be "1.1": unexpected end of input while parsing minor version number, and 3 more
        the publisher must mend it and sign it again:

        error: `package.version` can't be "1.1": unexpected end of input while parsing minor version number
         --> Component.toml:7:11
          |
        7 | version = "1.1"
          |           ^^^^^

        error: `sha256` is missing from [wasm]
          --> Component.toml:10:2
           |
        10 | [wasm]
           |  ^^^^
           = help: `airssys-wasm sign` writes it

        error: `size` is missing from [wasm]
          --> Component.toml:10:2
           |
        10 | [wasm]
           |  ^^^^
           = help: `airssys-wasm sign` writes it

        error: unknown key `limits.memroy`
          --> Component.toml:18:1
           |
        18 | memroy = "32MiB"
           | ^^^^^^
           = help: did you mean `memory`?

    "#]].assert_eq(&told.join("\n"));
}

#[test]
fn a_release_is_valid_from_its_first_second_until_its_last() {
    let (good, policy, any) = (Release::of(1), trusting(), Require::default());
    let (from, to) = (1_767_225_600, 1_798_761_600);
    for (now, is_valid) in [(from - 1, false), (from, true), (to - 1, true), (to, false)] {
        assert_eq!(good.admit_as(&policy, "acme:notifier", &any, now).is_ok(), is_valid, "{now}");
    }
}

#[test]
fn the_most_specific_rule_is_the_only_one_that_counts() {
    let text = format!(
        "schema = 1\n[publisher.all]\nkeys = [\"{}\"]\nnames = [\"*:*\"]\n[publisher.acme]\nkeys = [\"{}\"]\n\
         names = [\"acme:*\"]\n[publisher.one]\nkeys = [\"{}\"]\nnames = [\"acme:notifier\"]\n",
        key(1).public(),
        key(2).public(),
        key(3).public()
    );
    let policy = policy(&text);
    for (package, name, signer) in [("bolt:x", "all", 1), ("acme:x", "acme", 2), ("acme:notifier", "one", 3)] {
        assert_eq!(policy.publisher_for(&package.parse().unwrap()).unwrap().name, name);
        for n in 1..=3 {
            let release = Release::signed(&draft(package, 1), wasm(1), &[key(n)]);
            let admitted = release.admit_as(&policy, package, &Require::default(), NOW);
            // A wider rule lends nothing to a package that has its own.
            assert_eq!(admitted.is_ok(), n == signer, "{package} signed by key {n}");
        }
    }
}

#[test]
fn patterns_match_whole_parts_only() {
    for (pattern, package, matches) in [
        ("acme:*", "acme:notifier", true),
        ("acme:*", "acme2:notifier", false),
        ("acme:*", "acm:notifier", false),
        ("*:notifier", "bolt:notifier", true),
        ("*:notifier", "bolt:notifier2", false),
        ("*:*", "a:b", true),
        ("acme:notifier", "acme:notifier-eu", false),
    ] {
        let pattern: NamePattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&package.parse().unwrap()), matches, "{pattern} {package}");
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
    for bad in ["", "*", "acme", "acme:", ":*", "acme:n*", "a*:*", "acme:**", "acme:*:*", "Acme:*", "acme:?", "acme: *"]
    {
        assert!(bad.parse::<NamePattern>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_revoked_range_has_no_holes() {
    let range: VersionRange = ">=1.2.0-0, <1.4.2".parse().unwrap();
    for (version, is_in) in [
        ("1.2.0-alpha", true),
        ("1.2.0", true),
        ("1.3.0-rc.1", true),
        ("1.4.1", true),
        ("1.4.2-rc.1", true),
        ("1.4.2", false),
        ("1.1.9", false),
        ("2.0.0", false),
    ] {
        assert_eq!(range.contains(&version.parse().unwrap()), is_in, "{version}");
    }
    for bad in ["", "*", "1.2.3", "^1.2.3", "~1.2.3", "<1.2", ">=1", "1.*", "=1.2.*", "x"] {
        assert!(bad.parse::<VersionRange>().is_err(), "{bad:?}");
    }
    assert!("=1.2.3, <9.0.0".parse::<VersionRange>().unwrap().contains(&"1.2.3".parse().unwrap()));
}

#[test]
fn each_kind_of_revocation_refuses_what_it_names_and_nothing_else() {
    let release = Release::of(2);
    let digests = [&release.manifest, &release.signature, &release.wasm].map(|bytes| crate::digest::Digest::of(bytes));
    for digest in digests {
        assert_eq!(release.refused(&with_revocation(&format!("digest = \"{digest}\""))), "revoked");
    }
    let others = [
        format!("digest = \"{}\"", crate::digest::Digest::of(b"other")),
        format!("key = \"{}\"", key(2).public()),
        "package = \"acme:notifier\"\nversion = \"<1.2.0\"".to_owned(),
        "package = \"acme:other\"\nversion = \"<9.0.0\"".to_owned(),
        "package = \"acme:notifier\"\nsequence-below = 2".to_owned(),
        "package = \"acme:other\"\nsequence-below = 99".to_owned(),
    ];
    for other in others {
        release.admit(&with_revocation(&other)).unwrap_or_else(|refusal| panic!("{other}: {refusal:?}"));
    }
}

#[test]
fn every_bad_policy_is_told_all_its_problems_at_once() {
    crate::golden::check_each("trust", |name, bytes| match TrustPolicy::parse(name, bytes) {
        Ok(_) => panic!("{name} was accepted"),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    });
}

#[test]
fn a_policy_is_known_by_its_digest() {
    let text = policy_text(&[1], 1);
    assert_eq!(policy(&text).digest(), crate::digest::Digest::of(text.as_bytes()));
    assert_ne!(policy(&text).digest(), TrustPolicy::none().digest());
    assert!(TrustPolicy::none().is_none() && !policy(&text).is_none());
}

fn record(release: &Release) -> Record {
    let artifact = release.admit(&trusting()).unwrap();
    let spec = Spec {
        name: "notifier".parse().unwrap(),
        package: artifact.identity().package.clone(),
        enabled: true,
        depends_on: [].into(),
        moved_from: None,
        require: Require::default(),
        source: Source::File { path: "x".to_owned() },
        grant: Grant::default(),
        links: BTreeMap::new(),
        config: serde_json::Map::new(),
        limits: Default::default(),
        supervision: Supervision::default(),
        on_uninstall: OnUninstall::default(),
        delivery: crate::desired::spec::Delivery::default(),
        breaker: None,
        triggers: Vec::new(),
        subscriptions: Default::default(),
    };
    Record {
        spec,
        origin: Origin { file: "notifier.toml".to_owned(), lines: BTreeMap::new() },
        effective: artifact.identity().ask.clone(),
        limits: Limits::resolve(&Default::default(), artifact.limits()),
        artifact: artifact.identity().clone(),
        secrets: BTreeMap::new(),
        revision: None,
        surface: None,
    }
}

#[test]
fn a_restart_admits_again_only_what_the_policy_of_today_allows() {
    let record = record(&Release::of(2));
    assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    let again = readmit(&trusting(), &record, NOW).unwrap();
    assert_eq!(again.identity(), &record.artifact);
    assert_eq!(Limits::resolve(&Default::default(), again.limits()), record.limits);

    let no_permissions = policy_text(&[1], 1).replace("permissions-max = { send = [\"*\"] }\n", "");
    let policies = [
        (TrustPolicy::none(), "no-trust-policy"),
        (policy("schema = 1"), "unknown-publisher"),
        (policy(&policy_text(&[2], 1)), "unknown-signer"),
        (policy(&policy_text(&[1, 2], 2)), "below-threshold"),
        (with_revocation(&format!("key = \"{}\"", key(1).public())), "revoked-key"),
        (with_revocation(&format!("digest = \"{}\"", record.artifact.wasm)), "revoked"),
        (with_revocation("package = \"acme:notifier\"\nversion = \"<=1.2.0\""), "revoked"),
        (with_revocation("package = \"acme:notifier\"\nsequence-below = 3"), "revoked"),
        (policy(&no_permissions), "over-cap"),
    ];
    for (policy, code) in policies {
        let refusal = readmit(&policy, &record, NOW).unwrap_err();
        check_form(&refusal);
        assert_eq!(refusal.code, code);
    }
    assert_eq!(readmit(&trusting(), &record, 1_798_761_600).unwrap_err().code, "expired");
}

#[test]
fn signing_changes_two_values_and_nothing_else() {
    let styles = [
        "[wasm]\nfile = \"it.wasm\" # ours\nworld = \"W\"\n",
        "[wasm]\r\n  file   = 'it.wasm'\r\n  world = \"W\"\r\n",
        "[wasm]\nworld = \"W\"\nfile = \"it.wasm\"",
        "wasm = { file = \"it.wasm\", world = \"W\" }\n",
        "wasm = { world = \"W\", file = \"it.wasm\" }\n",
        "wasm.file = \"it.wasm\"\nwasm.world = \"W\"\n",
        "[wasm]\nfile = \"it.wasm\"\nsha256 = \"old\"    # by hand\nsize = 1\nworld = \"W\"\n",
        "[wasm]\nsize = 0x10\nfile = \"it.wasm\"\nworld = \"W\"\n",
        "[wasm]\n\tfile = \"it.wasm\"\n\tworld = \"W\"\n",
    ];
    let mut told = String::new();
    for style in styles {
        let style = style.replace('W', crate::manifest::WORLD);
        let package = "package = { name = \"acme:notifier\", version = \"1.0.0\", sequence = 1 }";
        let text = format!("schema = 1\n{package}\n{style}");
        let signed = sign_manifest(&text, &wasm(1), None, &key(1)).unwrap_or_else(|error| panic!("{style}: {error:?}"));
        let after = signed.manifest.strip_prefix(&format!("schema = 1\n{package}\n")).unwrap();
        told.push_str(&after.replace('\r', "\\r").replace(&crate::digest::Digest::of(&wasm(1)).hex(), "HEX"));
        told.push_str("--\n");
        let again = sign_manifest(&signed.manifest, &wasm(1), Some(signed.signature.as_bytes()), &key(1)).unwrap();
        assert_eq!(again, signed, "signing twice is signing once");
    }
    expect![[r#"
        [wasm]
        file = "it.wasm" # ours
        sha256 = "HEX"
        size = 48
        world = "airssys:component/actor@0.1.0"
        --
        [wasm]\r
          file   = 'it.wasm'\r
          sha256 = "HEX"\r
          size = 48\r
          world = "airssys:component/actor@0.1.0"\r
        --
        [wasm]
        world = "airssys:component/actor@0.1.0"
        file = "it.wasm"
        sha256 = "HEX"
        size = 48
        --
        wasm = { file = "it.wasm", sha256 = "HEX", size = 48, world = "airssys:component/actor@0.1.0" }
        --
        wasm = { world = "airssys:component/actor@0.1.0", file = "it.wasm", sha256 = "HEX", size = 48 }
        --
        wasm.file = "it.wasm"
        wasm.sha256 = "HEX"
        wasm.size = 48
        wasm.world = "airssys:component/actor@0.1.0"
        --
        [wasm]
        file = "it.wasm"
        sha256 = "HEX"    # by hand
        size = 48
        world = "airssys:component/actor@0.1.0"
        --
        [wasm]
        size = 48
        file = "it.wasm"
        sha256 = "HEX"
        world = "airssys:component/actor@0.1.0"
        --
        [wasm]
        	file = "it.wasm"
        	sha256 = "HEX"
        	size = 48
        	world = "airssys:component/actor@0.1.0"
        --
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_further_signature_keeps_the_others_while_the_manifest_stays_the_same() {
    let text = draft("acme:notifier", 1);
    let first = sign_manifest(&text, &wasm(1), None, &key(1)).unwrap();
    let second = sign_manifest(&first.manifest, &wasm(1), Some(first.signature.as_bytes()), &key(2)).unwrap();
    assert_eq!((second.kept, second.dropped), (1, 0));
    assert!(second.signature.starts_with(&first.signature));
    // Another wasm changes the manifest, and what was signed before does not fit any more.
    let third = sign_manifest(&second.manifest, &wasm(2), Some(second.signature.as_bytes()), &key(3)).unwrap();
    assert_eq!((third.kept, third.dropped), (0, 2));
    let file = SignatureFile::parse(third.signature.as_bytes()).unwrap();
    assert_eq!(file.lines.iter().map(|line| line.key).collect::<Vec<_>>(), [key(3).public()]);
    let broken = sign_manifest(&text, &wasm(1), Some(b"junk"), &key(1)).unwrap_err();
    assert_eq!(broken, SignError::Signatures(SignatureFileError::Header));
}

#[test]
fn a_seventeenth_signature_is_refused() {
    let mut signed = sign_manifest(&draft("acme:notifier", 1), &wasm(1), None, &key(1)).unwrap();
    for n in 2..=16 {
        signed = sign_manifest(&signed.manifest, &wasm(1), Some(signed.signature.as_bytes()), &key(n)).unwrap();
    }
    let more = sign_manifest(&signed.manifest, &wasm(1), Some(signed.signature.as_bytes()), &key(17));
    assert_eq!(more, Err(SignError::TooMany));
    let again = sign_manifest(&signed.manifest, &wasm(1), Some(signed.signature.as_bytes()), &key(3)).unwrap();
    assert_eq!(again.kept, 15);
}

#[test]
fn nothing_is_signed_that_would_not_be_read() {
    let bad = draft("acme:notifier", 1).replace("[limits]", "[limit]");
    let Err(SignError::Manifest(problems)) = sign_manifest(&bad, &wasm(1), None, &key(1)) else { panic!() };
    assert!(problems[0].message.contains("unknown key `limit`"), "{problems:?}");
    assert!(matches!(sign_manifest("", &wasm(1), None, &key(1)), Err(SignError::Manifest(_))));
    assert!(matches!(sign_manifest("wasm = 1", &wasm(1), None, &key(1)), Err(SignError::Manifest(_))));
    assert!(matches!(sign_manifest("[[wasm]]\nfile = 1", &wasm(1), None, &key(1)), Err(SignError::Manifest(_))));
    assert!(matches!(sign_manifest("[wasm\nfile=", &wasm(1), None, &key(1)), Err(SignError::Manifest(_))));
}

/// Small damage of every sort at a place that the numbers choose.
fn damaged(text: &str, at: usize, what: usize) -> String {
    const PIECES: [&str; 14] =
        ["", "\"", "\n", "[", "]", "{", "}", "=", "wasm", "file", "\"\"\"", "'", "# ", "\nsha256 = \"x\"\n"];
    let mut chars: Vec<char> = text.chars().collect();
    let at = at % chars.len();
    match what % (PIECES.len() + 2) {
        0 => drop(chars.drain(at..(at + 7).min(chars.len()))),
        1 => chars.truncate(at),
        piece => drop(chars.splice(at..at, PIECES[piece - 2].chars())),
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(300)))]

    #[test]
    fn a_damaged_manifest_is_signed_as_it_reads_or_not_at_all(damages in prop::collection::vec((0..900usize, 0..64usize), 1..4)) {
        let mut text = sign_manifest(&draft("acme:notifier", 1), &wasm(1), None, &key(1)).unwrap().manifest;
        for (at, what) in damages {
            text = damaged(&format!("{text}\n"), at, what);
        }
        // Signing looks for the place itself, so it must agree with the reader about what stands there.
        if let Ok(signed) = sign_manifest(&text, &wasm(2), None, &key(1)) {
            let release = Release { manifest: signed.manifest.into(), signature: signed.signature.into(), wasm: wasm(2) };
            let parsed = crate::manifest::Manifest::parse("Component.toml", &release.manifest).unwrap();
            prop_assert_eq!(parsed.wasm.digest, crate::digest::Digest::of(&wasm(2)));
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,120}") {
        for bytes in [bytes.as_slice(), text.as_bytes(), format!("airssys-sig 1\n{text}\n").as_bytes()] {
            let _ = SignatureFile::parse(bytes);
            let _ = TrustPolicy::parse("trust.toml", bytes);
            let _ = crate::manifest::Manifest::parse("Component.toml", bytes);
            let _ = SigningKey::decode(bytes);
            let _ = WasmKind::of(bytes);
        }
        let _ = text.parse::<VersionRange>();
        let _ = text.parse::<NamePattern>();
    }

    #[test]
    fn a_signature_file_survives_a_round_trip(lines in prop::collection::vec((any::<[u8; 32]>(), any::<[u8; 32]>()), 1..=16)) {
        let line = |(key, half): ([u8; 32], [u8; 32])| {
            let signature = [half, key].concat().try_into().unwrap();
            SignatureLine { key: crate::key::PublicKey::from_bytes(key), signature }
        };
        let file = SignatureFile { lines: lines.into_iter().map(line).collect() };
        prop_assert_eq!(SignatureFile::parse(file.encode().as_bytes()), Ok(file));
    }
}

#[test]
fn a_key_file_survives_a_round_trip() {
    let text = key(1).encode();
    expect![[r#"
        {"type":"airssys-key-v1","public_key":"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c","secret_key":"0101010101010101010101010101010101010101010101010101010101010101"}
    "#]].assert_eq(&text);
    assert_eq!(SigningKey::decode(text.as_bytes()).unwrap().public(), key(1).public());
    // The test vector of RFC 8032, section 7.1, test 1: seed, public half and the signature of nothing.
    let seed = crate::hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let known = SigningKey::from_seed(&seed);
    assert_eq!(known.public().hex(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(
        crate::hex::encode(&known.sign(b"").signature),
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );
}

#[test]
fn a_key_file_whose_public_half_was_swapped_is_refused_without_showing_its_secret() {
    let good = key(1).encode().to_string();
    let secret = "01".repeat(32);
    assert!(good.contains(&secret));
    let cases = [
        (good.replace(&key(1).public().hex(), &key(2).public().hex()), KeyFileError::Halves),
        (good.replace("airssys-key-v1", "airssys-key-v2"), KeyFileError::Type),
        (good.replace(&secret, &secret[1..]), KeyFileError::Digits("secret_key")),
        (good.replace(&secret, &secret.replace('1', "A")), KeyFileError::Digits("secret_key")),
        (good.replace(&key(1).public().hex(), "00"), KeyFileError::Digits("public_key")),
        (good.replace("secret_key", "secret"), KeyFileError::Form),
        (good.replace("{\"type\"", "{\"more\":1,\"type\""), KeyFileError::Form),
        (good.replace(&secret, &format!("\\u0030{}", &secret[1..])), KeyFileError::Form),
        (good.replace('}', ""), KeyFileError::Form),
        (format!("{good}{good}"), KeyFileError::Form),
        (String::new(), KeyFileError::Form),
        (" ".repeat(5000), KeyFileError::TooLarge),
    ];
    for (text, wanted) in cases {
        let Err(error) = SigningKey::decode(text.as_bytes()) else { panic!("{text} was taken") };
        assert_eq!(error, wanted, "{text}");
        assert!(!format!("{error} {error:?}").contains("0101"), "{error:?}");
    }
}
