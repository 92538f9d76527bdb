//! What somebody may try who holds no trusted key, or one too few. Each test is one attack.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, SigningKey as DalekKey, Verifier as _, VerifyingKey};
use sha2::{Digest as _, Sha512};

use super::fixture::*;
use super::*;
use crate::desired::spec::Require;
use crate::key::PublicKey;
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::name::{InstallationName, LinkName, PackageName};
use crate::permission::{self, ENFORCED_KINDS, Grant, Permissions};
use crate::test_scale::cases;

/// A small generator with a fixed seed, so that a failure is the same failure tomorrow.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn a_flipped_bit_anywhere_in_manifest_signature_or_wasm_is_refused() {
    let (good, policy) = (Release::of(1), trusting());
    good.admit(&policy).unwrap();
    let mut dice = Dice(1);
    for round in 0..cases(1_000) {
        let mut bad = good.clone();
        let file = [&mut bad.manifest, &mut bad.signature, &mut bad.wasm].into_iter().nth(round as usize % 3).unwrap();
        let at = dice.below(file.len());
        file[at] ^= 1 << dice.below(8);
        let refused = bad.admit(&policy);
        assert!(refused.is_err(), "round {round}: byte {at} of file {} was flipped unnoticed", round % 3);
    }
}

#[test]
fn bytes_cut_off_or_added_anywhere_are_refused() {
    let (good, policy) = (Release::of(1), trusting());
    for cut in 1..40 {
        for file in 0..3 {
            let mut bad = good.clone();
            let bytes = [&mut bad.manifest, &mut bad.signature, &mut bad.wasm].into_iter().nth(file).unwrap();
            bytes.truncate(bytes.len() - cut);
            assert!(bad.admit(&policy).is_err(), "file {file} without its last {cut} bytes");
            let mut bad = good.clone();
            let bytes = [&mut bad.manifest, &mut bad.signature, &mut bad.wasm].into_iter().nth(file).unwrap();
            bytes.extend(vec![b'\n'; cut]);
            assert!(bad.admit(&policy).is_err(), "file {file} with {cut} bytes more");
        }
    }
}

#[test]
fn rollback_to_an_older_signed_release_is_refused() {
    let package: PackageName = "acme:notifier".parse().unwrap();
    let (old, policy) = (Release::of(4), trusting());
    // The release itself is genuine: only the memory of the host tells that it is old.
    let sequence = old.admit(&policy).unwrap().identity().sequence;
    let refusal = check_sequence(&package, sequence, 5, 0, false).unwrap_err();
    check_form(&refusal);
    assert_eq!(refusal.code, "rollback");
    assert_eq!(check_sequence(&package, sequence, 5, 0, true), Ok(()), "an exact pin goes back on purpose");
    assert_eq!(check_sequence(&package, 5, 5, 0, false), Ok(()));
    assert_eq!(check_sequence(&package, 6, 5, 0, false), Ok(()));
    assert_eq!(check_sequence(&package, 1, 0, 0, false), Ok(()), "the first release on this host");
}

#[test]
fn going_below_a_revoked_sequence_is_refused_even_with_a_pin() {
    let package: PackageName = "acme:notifier".parse().unwrap();
    let refusal = check_sequence(&package, 4, 9, 5, true).unwrap_err();
    check_form(&refusal);
    assert_eq!(refusal.code, "below-floor");
    assert_eq!(check_sequence(&package, 5, 9, 5, true), Ok(()));
    let policy = with_revocation("package = \"acme:notifier\"\nsequence-below = 5");
    assert_eq!(policy.floor(&package), Some(5));
    assert_eq!(Release::of(4).refused(&policy), "revoked");
    Release::of(5).admit(&policy).unwrap();
}

#[test]
fn mixing_files_of_different_releases_is_refused_in_all_pairs() {
    let policy = trusting();
    let releases: Vec<Release> = (1..=5).map(Release::of).collect();
    for (i, manifest) in releases.iter().enumerate() {
        for (j, other) in releases.iter().enumerate() {
            let mixed_wasm = Release { wasm: other.wasm.clone(), ..manifest.clone() };
            let mixed_signature = Release { signature: other.signature.clone(), ..manifest.clone() };
            if i == j {
                let artifact = mixed_wasm.admit(&policy).unwrap();
                // What is admitted is what was signed and what was stored.
                let parsed = Manifest::parse("Component.toml", &manifest.manifest).unwrap();
                assert_eq!(artifact.identity().wasm, parsed.wasm.digest);
                assert_eq!(artifact.identity().wasm, crate::digest::Digest::of(&other.wasm));
            } else {
                assert_eq!(mixed_wasm.refused(&policy), "wrong-digest", "manifest {i}, wasm {j}");
                assert_eq!(mixed_signature.refused(&policy), "bad-signature", "manifest {i}, signature {j}");
            }
        }
    }
}

#[test]
fn a_permission_limit_world_or_validity_swapped_after_signing_is_refused() {
    let (good, policy) = (Release::of(1), trusting());
    let edits = [
        ("send = [\"alerter\"]", "send = [\"*\"]"),
        ("[permissions]", "[permissions]\nnet.connect = [\"evil.example:443\"]"),
        ("memory = \"32MiB\"", "memory = \"4GiB\""),
        ("actor@0.1.0", "actor@0.1.1"),
        ("2027-01-01", "2099-01-01"),
        ("# signed", "# Signed"),
        ("\n\n[wasm]", "\n[wasm]"),
    ];
    for (from, to) in edits {
        assert_eq!(good.edited(from, to).refused(&policy), "bad-signature", "{from} -> {to}");
    }
}

#[test]
fn a_version_relabelled_over_an_old_wasm_is_refused() {
    let (old, policy) = (Release::of(1), trusting());
    assert_eq!(old.edited("version = \"1.1.0\"", "version = \"1.9.0\"").refused(&policy), "bad-signature");
    assert_eq!(old.edited("sequence = 1", "sequence = 9").refused(&policy), "bad-signature");
}

#[test]
fn permissions_that_creep_in_with_an_update_are_withheld() {
    let grant = Grant { permissions: ["send alerter".parse().unwrap()].into_iter().collect(), ..Grant::default() };
    let policy = trusting();
    let cap = policy.publisher("acme").unwrap().permissions_max.clone();
    let before = Release::of(1).admit(&policy).unwrap();
    assert!(!permission::decide(&before.identity().ask, &grant, &cap, ENFORCED_KINDS).is_blocked());
    let asking = draft("acme:notifier", 2).replace("send = [\"alerter\"]", "send = [\"alerter\", \"billing\"]");
    let after = Release::signed(&asking, wasm(2), &[key(1)]).admit(&policy).unwrap();
    let decision = permission::decide(&after.identity().ask, &grant, &cap, ENFORCED_KINDS);
    assert_eq!(decision.withheld, ["send billing".parse().unwrap()]);
    assert!(decision.is_blocked());
}

#[test]
fn a_release_under_another_name_is_refused() {
    let policy = trusting();
    let refusal = Release::of(1).admit_as(&policy, "acme:login", &Require::default(), NOW).unwrap_err();
    assert_eq!(refusal.code, "wrong-package");
    // So is one that only looks alike.
    let refusal = Release::of(1).admit_as(&policy, "acme:n0tifier", &Require::default(), NOW).unwrap_err();
    assert_eq!(refusal.code, "wrong-package");
}

#[test]
fn a_publisher_that_signs_a_package_of_another_one_is_refused() {
    let text =
        format!("{}[publisher.bolt]\nkeys = [\"{}\"]\nnames = [\"bolt:*\"]\n", policy_text(&[1], 1), key(2).public());
    let policy = policy(&text);
    let stolen_name = Release::signed(&draft("acme:notifier", 1), wasm(1), &[key(2)]);
    assert_eq!(stolen_name.refused(&policy), "unknown-signer");
    // Nor does it help to be asked for by its own name.
    let refusal = stolen_name.admit_as(&policy, "bolt:notifier", &Require::default(), NOW).unwrap_err();
    assert_eq!(refusal.code, "wrong-package");
}

/// Names that look like others, lead out of directories or move the cursor.
fn hostile_names() -> Vec<String> {
    let pieces = [
        "",
        "-",
        "--",
        "-a",
        "a-",
        ".",
        "..",
        "...",
        "/",
        "\\",
        "a/b",
        "a\\b",
        "../a",
        "a/..",
        "~",
        "~root",
        "$HOME",
        "%2e%2e",
        "%00",
        "\0",
        "a\0b",
        "\n",
        "a\nb",
        "\r",
        "\t",
        " ",
        " a",
        "a ",
        "a b",
        "A",
        "Notifier",
        "NOTIFIER",
        "notifieR",
        "ä",
        "nоtifier",
        "ｎotifier",
        "noti\u{200b}fier",
        "noti\u{ad}fier",
        "\u{202e}reifiton",
        "\u{feff}notifier",
        "notıfier",
        "ﬁ",
        "ⅰ",
        "①",
        "n\u{303}",
        "\u{1b}[31m",
        "\u{7}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "a_b",
        "a.b",
        "a+b",
        "a@b",
        "a=b",
        "a,b",
        "a;b",
        "a|b",
        "a&b",
        "a'b",
        "a\"b",
        "`a`",
        "$(a)",
        "*",
        "a*",
        "?",
        "[a]",
        "{a}",
        "<a>",
        "#a",
        "!a",
        "^",
        "(a)",
        "a:b",
        ":",
        "::",
        "con.wasm.",
        "\u{0430}cme",
        "𝓪",
        "🦀",
        "ℓ",
        "０",
        "٣",
    ];
    let mut names: Vec<String> = Vec::new();
    for piece in pieces {
        names.push(piece.to_owned());
        names.push(format!("x{piece}\u{0}"));
        names.push(format!("../{piece}"));
        names.push(format!("{piece}/"));
        names.push(format!("{piece}-"));
        names.push(format!("{piece}\u{202e}"));
        names.push(format!("{}{piece}", "a".repeat(65)));
    }
    names.push("a".repeat(65));
    names.sort();
    names.dedup();
    names
}

#[test]
fn hostile_names_are_no_names_anywhere() {
    let names = hostile_names();
    assert!(names.len() >= 500, "the corpus shrank to {}", names.len());
    for name in &names {
        assert!(name.parse::<InstallationName>().is_err(), "{name:?}");
        assert!(name.parse::<LinkName>().is_err(), "{name:?}");
        for package in [format!("{name}:ok"), format!("ok:{name}"), format!("{name}:{name}")] {
            assert!(package.parse::<PackageName>().is_err(), "{package:?}");
            let is_wildcard = name == "*";
            assert!(is_wildcard || package.parse::<NamePattern>().is_err(), "{package:?}");
        }
        // As the wasm's file name, and as the package's, in a manifest that is signed by a trusted key.
        for (from, to) in [("it.wasm", format!("{name}.wasm")), ("acme:notifier", format!("acme:{name}"))] {
            let written = toml::Value::String(to.clone()).to_string();
            let text = draft("acme:notifier", 1).replace(&format!("\"{from}\""), &written);
            match sign_manifest(&text, &wasm(1), None, &key(1)) {
                Err(SignError::Manifest(_)) => {}
                Ok(_) if from == "it.wasm" => {
                    // Odd but harmless: one plain path segment.
                    let parts: Vec<_> = std::path::Path::new(&to).components().collect();
                    assert!(matches!(parts.as_slice(), [std::path::Component::Normal(_)]), "{to:?}");
                    assert!(to.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{to:?}");
                }
                other => panic!("{to:?} was taken: {other:?}"),
            }
        }
    }
}

#[test]
fn a_file_that_is_no_component_is_refused_although_it_is_signed() {
    let elf = |system: u8| [b"\x7fELF\x02\x01\x01".as_slice(), &[system], &[0; 56]].concat();
    let files: [(&[u8], WasmKind); 12] = [
        (b"", WasmKind::Other),
        (b"\0asm\x0d\0\x01", WasmKind::Other),
        (b"\0asm\x01\0\0\0", WasmKind::Module),
        (b"\0asm\x0e\0\x01\0", WasmKind::Other),
        (b"\0asm\x0d\0\x02\0", WasmKind::Other),
        (&elf(200), WasmKind::Precompiled),
        (&elf(0), WasmKind::Elf),
        (b"\x7fELF", WasmKind::Elf),
        (b"(component)", WasmKind::Text),
        (b"  \n;; comment\n(module)", WasmKind::Text),
        (b"#!/bin/sh\n", WasmKind::Other),
        (b"schema = 1\n", WasmKind::Other),
    ];
    let policy = trusting();
    for (bytes, kind) in files {
        assert_eq!(WasmKind::of(bytes), kind, "{bytes:?}");
        assert_eq!(
            sign_manifest(&draft("acme:notifier", 1), bytes, None, &key(1)),
            Err(SignError::NotAComponent(kind))
        );
        if bytes.is_empty() {
            continue; // A size of 0 is refused in the manifest already.
        }
        // A publisher with other tools signs it all the same.
        let honest = Release::of(1);
        let text = String::from_utf8(honest.manifest).unwrap();
        let text = text
            .replace(&crate::digest::Digest::of(&honest.wasm).hex(), &crate::digest::Digest::of(bytes).hex())
            .replace(&format!("size = {}", honest.wasm.len()), &format!("size = {}", bytes.len()));
        let line = key(1).sign(&signed_bytes(text.as_bytes()));
        let signature = SignatureFile { lines: vec![line] }.encode().into();
        let release = Release { manifest: text.into(), signature, wasm: bytes.to_vec() };
        assert_eq!(release.refused(&policy), "not-a-component", "{bytes:?}");
    }
    assert_eq!(WasmKind::of(&wasm(1)), WasmKind::Component);
}

#[test]
fn one_stolen_key_of_two_is_not_enough() {
    let policy = policy(&policy_text(&[1, 2], 2));
    let draft = draft("acme:notifier", 1);
    assert_eq!(Release::signed(&draft, wasm(1), &[key(1)]).refused(&policy), "below-threshold");
    // A further signature of a key that is not listed does not help.
    assert_eq!(Release::signed(&draft, wasm(1), &[key(1), key(3)]).refused(&policy), "below-threshold");
    let artifact = Release::signed(&draft, wasm(1), &[key(1), key(3), key(2)]).admit(&policy).unwrap();
    let signers = &artifact.identity().signers;
    assert_eq!(signers.len(), 2, "only the publisher's keys count: {signers:?}");
}

#[test]
fn the_same_key_twice_counts_once() {
    let policy = policy(&policy_text(&[1, 2], 2));
    let mut release = Release::of(1);
    let mut file = SignatureFile::parse(&release.signature).unwrap();
    // A second signature with another nonce is as genuine as the first, and of the same key.
    let message = signed_bytes(&release.manifest);
    let secret = DalekKey::from_bytes(&[1; 32]);
    let nonce = Scalar::from(7_u64);
    let again = Forged::honest_equation(&message, secret.to_scalar(), nonce);
    assert_ne!(again.signature, file.lines[0].signature);
    assert!(again.passes_plain_verification(&message));
    file.lines.push(SignatureLine { key: again.key, signature: again.signature });
    file.lines.push(file.lines[0].clone());
    release.signature = file.encode().into();
    assert_eq!(release.refused(&policy), "below-threshold");
    release.admit(&trusting()).unwrap();
    // Nor does the policy count a key twice.
    let twice = policy_text(&[1, 1], 2);
    let problems = TrustPolicy::parse("trust.toml", twice.as_bytes()).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("listed twice")), "{problems:?}");
}

#[test]
fn a_revoked_key_does_not_count_and_does_not_count_again_under_a_second_rule() {
    let policy = with_revocation(&format!("key = \"{}\"\nreason = \"stolen\"", key(1).public()));
    assert_eq!(Release::of(1).refused(&policy), "revoked-key");
}

/// A key and a signature that were made by solving equations instead of by signing.
struct Forged {
    key: PublicKey,
    signature: [u8; 64],
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash: [u8; 64] = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize().into();
    Scalar::from_bytes_mod_order_wide(&hash)
}

impl Forged {
    /// `S = nonce + k·secret` with chosen points; `key` and `r` as they are encoded.
    fn new(message: &[u8], key: [u8; 32], r: [u8; 32], secret: Scalar, nonce: Scalar) -> (Self, Scalar) {
        let k = challenge(&r, &key, message);
        let s = nonce + k * secret;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(s.as_bytes());
        (Self { key: PublicKey::from_bytes(key), signature }, k)
    }

    fn honest_equation(message: &[u8], secret: Scalar, nonce: Scalar) -> Self {
        let (key, r) = (ED25519_BASEPOINT_POINT * secret, ED25519_BASEPOINT_POINT * nonce);
        Self::new(message, key.compress().0, r.compress().0, secret, nonce).0
    }

    /// Key and nonce point with torsion parts; found for the first counter for which the parts cancel out,
    /// so that the check without cofactor passes.
    fn cancelling(base: &str, secret: Scalar, nonce: Scalar, in_key: EdwardsPoint) -> (Vec<u8>, Self) {
        for counter in 0..10_000 {
            let manifest = format!("{base}# {counter}\n").into_bytes();
            let message = signed_bytes(&manifest);
            let key = (ED25519_BASEPOINT_POINT * secret + in_key).compress().0;
            for in_r in EIGHT_TORSION {
                let r = (ED25519_BASEPOINT_POINT * nonce + in_r).compress().0;
                let (forged, k) = Self::new(&message, key, r, secret, nonce);
                if in_r == -(in_key * k) {
                    return (manifest, forged);
                }
            }
        }
        panic!("no counter makes the torsion parts cancel out");
    }

    fn passes_plain_verification(&self, message: &[u8]) -> bool {
        let key = VerifyingKey::from_bytes(self.key.as_bytes());
        key.is_ok_and(|key| key.verify(message, &Signature::from_bytes(&self.signature)).is_ok())
    }

    fn passes_strict_verification(&self, message: &[u8]) -> bool {
        let key = VerifyingKey::from_bytes(self.key.as_bytes());
        key.is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(&self.signature)).is_ok())
    }

    fn refused(&self, manifest: &[u8]) -> String {
        let line = SignatureLine { key: self.key, signature: self.signature };
        let signature = SignatureFile { lines: vec![line] }.encode().into();
        // The policy lists an honest key: if the forged one passed, it would be an unknown signer.
        Release { manifest: manifest.to_vec(), signature, wasm: wasm(1) }.refused(&trusting())
    }
}

/// A manifest to which a comment can be added.
fn base() -> String {
    String::from_utf8(Release::of(1).manifest).unwrap()
}

fn some_scalar(n: u64) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&Sha512::digest(n.to_le_bytes()).into())
}

#[test]
fn a_key_of_small_order_that_fits_every_text_is_refused() {
    for (i, torsion) in EIGHT_TORSION.into_iter().enumerate() {
        // S = 0 and a small R, then S and R of full size: with such a key both need no secret at all.
        for nonce in [Scalar::ZERO, some_scalar(1)] {
            let (manifest, forged) = Forged::cancelling(&base(), Scalar::ZERO, nonce, torsion);
            assert!(forged.passes_plain_verification(&signed_bytes(&manifest)), "point {i} is no attack");
            assert_eq!(forged.refused(&manifest), "weak-key", "point {i}");
        }
        assert_not_listable(torsion.compress().0, KeyProblem::Weak);
    }
}

#[test]
fn a_key_of_mixed_order_is_refused_even_where_the_strict_check_would_take_it() {
    let torsion = EIGHT_TORSION[1];
    let secret = some_scalar(2);
    for nonce in [Scalar::ZERO, some_scalar(3)] {
        let (manifest, forged) = Forged::cancelling(&base(), secret, nonce, torsion);
        let message = signed_bytes(&manifest);
        assert!(forged.passes_plain_verification(&message));
        assert_eq!(forged.passes_strict_verification(&message), nonce != Scalar::ZERO);
        assert_eq!(forged.refused(&manifest), "weak-key");
    }
    // Torsion parts that only the check with cofactor forgives.
    let manifest = base().into_bytes();
    let message = signed_bytes(&manifest);
    let key = ED25519_BASEPOINT_POINT * secret + torsion;
    let r = (ED25519_BASEPOINT_POINT * some_scalar(3)).compress().0;
    let (forged, _) = Forged::new(&message, key.compress().0, r, secret, some_scalar(3));
    assert_eq!(forged.refused(&manifest), "weak-key");
    assert_not_listable(key.compress().0, KeyProblem::Weak);
}

#[test]
fn a_nonce_point_with_a_torsion_part_is_refused() {
    let manifest = base().into_bytes();
    let message = signed_bytes(&manifest);
    let secret = DalekKey::from_bytes(&[1; 32]).to_scalar();
    let key = (ED25519_BASEPOINT_POINT * secret).compress().0;
    for torsion in &EIGHT_TORSION[1..] {
        for nonce in [Scalar::ZERO, some_scalar(4)] {
            let r = (ED25519_BASEPOINT_POINT * nonce + torsion).compress().0;
            let (forged, _) = Forged::new(&message, key, r, secret, nonce);
            assert_eq!(forged.refused(&manifest), "bad-signature");
        }
    }
    // Without the torsion part the very same equation makes a genuine signature.
    let honest = Forged::honest_equation(&message, secret, some_scalar(4));
    let line = SignatureLine { key: honest.key, signature: honest.signature };
    let signature = SignatureFile { lines: vec![line] }.encode().into();
    Release { manifest, signature, wasm: wasm(1) }.admit(&trusting()).unwrap();
}

#[test]
fn the_neutral_nonce_point_is_refused_in_each_of_its_spellings() {
    let manifest = base().into_bytes();
    let message = signed_bytes(&manifest);
    let secret = DalekKey::from_bytes(&[1; 32]).to_scalar();
    let key = (ED25519_BASEPOINT_POINT * secret).compress().0;
    for r in spellings_of_one() {
        let (forged, _) = Forged::new(&message, key, r, secret, Scalar::ZERO);
        assert_eq!(forged.refused(&manifest), "bad-signature", "{r:?}");
    }
}

/// `y = 1` as it should be, with the sign of a zero, and as `p + 1` with both signs.
fn spellings_of_one() -> [[u8; 32]; 4] {
    let mut canonical = [0; 32];
    canonical[0] = 1;
    let mut raised = [0xff; 32];
    (raised[0], raised[31]) = (0xee, 0x7f);
    let signed = |mut bytes: [u8; 32]| {
        bytes[31] |= 0x80;
        bytes
    };
    [canonical, signed(canonical), raised, signed(raised)]
}

#[test]
fn a_key_in_a_second_spelling_is_refused() {
    let manifest = base().into_bytes();
    let message = signed_bytes(&manifest);
    let r = (ED25519_BASEPOINT_POINT * some_scalar(5)).compress().0;
    for key in spellings_of_one() {
        let (forged, _) = Forged::new(&message, key, r, Scalar::ZERO, some_scalar(5));
        assert_eq!(forged.refused(&manifest), "weak-key");
    }
    // Every encoding from p on is a second one of a smaller number, whether on the curve or not.
    for low in 0xed..=0xff_u8 {
        for high in [0x7f, 0xff] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, high);
            assert!(check_key(&PublicKey::from_bytes(key)).is_err(), "{low:x} {high:x}");
            let is_point = CompressedEdwardsY(key).decompress().is_some();
            let problem = if is_point { KeyProblem::NotCanonical } else { KeyProblem::NotOnCurve };
            assert_not_listable(key, problem);
        }
    }
}

fn assert_not_listable(key: [u8; 32], problem: KeyProblem) {
    let key = PublicKey::from_bytes(key);
    assert_eq!(check_key(&key), Err(problem), "{key}");
    let text = policy_text(&[1], 1).replace(&key_text(1), &key.to_string());
    let problems = TrustPolicy::parse("trust.toml", text.as_bytes()).unwrap_err();
    assert!(problems[0].message.contains("can't be trusted"), "{problems:?}");
}

fn key_text(n: u8) -> String {
    key(n).public().to_string()
}

#[test]
fn a_signature_in_a_second_form_is_refused() {
    // The order of the base point, little-endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    assert_eq!(Scalar::from_bytes_mod_order(ORDER), Scalar::ZERO);
    let release = Release::of(1);
    let honest = SignatureFile::parse(&release.signature).unwrap().lines.remove(0);
    let mut signature = honest.signature;
    // S, S + L, S + 2L and so on mean the same number; only the first may pass.
    for multiple in 1..=15 {
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        if carry > 0 {
            break;
        }
        let forged = Forged { key: honest.key, signature };
        assert_eq!(forged.refused(&release.manifest), "bad-signature", "S + {multiple} L");
    }
    for high_bits in [0x20, 0x40, 0x80, 0xe0] {
        let mut signature = honest.signature;
        signature[63] |= high_bits;
        assert_eq!(Forged { key: honest.key, signature }.refused(&release.manifest), "bad-signature");
    }
}

#[test]
fn zeros_ones_and_noise_are_no_signature() {
    let release = Release::of(1);
    let honest = key(1).public();
    for signature in [[0; 64], [0xff; 64], [1; 64], [0x80; 64]] {
        assert_eq!(Forged { key: honest, signature }.refused(&release.manifest), "bad-signature");
        let zero = PublicKey::from_bytes([0; 32]);
        assert_eq!(Forged { key: zero, signature }.refused(&release.manifest), "weak-key");
    }
}

#[test]
fn keys_and_signatures_of_another_length_are_refused() {
    let policy = trusting();
    let good = Release::of(1);
    let text = String::from_utf8(good.signature.clone()).unwrap();
    let (key, signature) = (&text[22..86], &text[87..215]);
    assert_eq!(format!("airssys-sig 1\ned25519 {key} {signature}\n"), text);
    let lines = [
        format!("ed25519 {key} {}", &signature[2..]),
        format!("ed25519 {key} {signature}00"),
        format!("ed25519 {key} {}", &signature[1..]),
        format!("ed25519 {} {signature}", &key[2..]),
        format!("ed25519 {key}00 {signature}"),
        format!("ed25519 {} {signature}", key.to_uppercase()),
        format!("ed25519  {key} {signature}"),
        format!("ed25519 {key} {signature} "),
        format!(" ed25519 {key} {signature}"),
        format!("ed25519 {key} {signature} more"),
        format!("ED25519 {key} {signature}"),
        format!("rsa {key} {signature}"),
        format!("ed25519 {signature} {key}"),
        format!("ed25519 {key}"),
        "ed25519".to_owned(),
        String::new(),
        "# a comment".to_owned(),
    ];
    let mut files: Vec<String> = lines.iter().map(|line| format!("airssys-sig 1\n{line}\n")).collect();
    // A good line does not make up for a bad one.
    files.extend(lines.iter().map(|line| format!("{text}{line}\n")));
    files.extend(lines.iter().map(|line| format!("airssys-sig 1\n{line}\ned25519 {key} {signature}\n")));
    files.push(format!("airssys-sig 2\ned25519 {key} {signature}\n"));
    files.push(format!("airssys-sig 1 \ned25519 {key} {signature}\n"));
    files.push(format!("\u{feff}{text}"));
    files.push(text.trim_end().to_owned());
    files.push(text.replace('\n', "\r\n"));
    files.push(text.replace("sig 1\n", "sig 1\n\n"));
    files.push(format!("{text}\n"));
    files.push("airssys-sig 1\n".to_owned());
    files.push("airssys-sig 1".to_owned());
    files.push(String::new());
    for file in files {
        let bad = Release { signature: file.clone().into(), ..good.clone() };
        assert_eq!(bad.refused(&policy), "bad-signature-file", "{file:?}");
    }
}

#[test]
fn a_signature_made_for_another_kind_of_object_is_refused() {
    let good = Release::of(1);
    let manifest = &good.manifest;
    let with_domain = |domain: &str| [format!("{domain}\n{}\n", manifest.len()).as_bytes(), manifest].concat();
    // An ssh signature of the same bytes, in the name of another program: the blob that ssh-keygen signs.
    let mut sshsig = b"SSHSIG\0\0\0\x03git\0\0\0\0\0\0\0\x06sha512\0\0\0\x40".to_vec();
    sshsig.extend_from_slice(&Sha512::digest(manifest));
    let messages = [
        manifest.clone(),
        with_domain("airssys-trust-v1"),
        with_domain("airssys-revoke-v1"),
        with_domain("airssys-channel-v1"),
        with_domain("airssys-manifest-v2"),
        with_domain("airssys-manifest-v1 "),
        [b"airssys-manifest-v1\n".as_slice(), manifest].concat(),
        [format!("airssys-manifest-v1\n0{}\n", manifest.len()).as_bytes(), manifest].concat(),
        Sha512::digest(signed_bytes(manifest)).to_vec(),
        sshsig,
    ];
    let policy = trusting();
    for message in messages {
        let signature = SignatureFile { lines: vec![key(1).sign(&message)] }.encode().into();
        let bad = Release { signature, ..good.clone() };
        assert_eq!(bad.refused(&policy), "bad-signature");
    }
    let ssh = Release { signature: b"airssys-sig 1\nsshsig AAAA\n".to_vec(), ..good };
    assert_eq!(ssh.refused(&policy), "bad-signature-file");
}

#[test]
fn endless_files_are_refused_by_their_size_alone() {
    let (good, policy) = (Release::of(1), trusting());
    let mut long = good.clone();
    long.manifest.resize(MAX_MANIFEST_BYTES as usize + 1, b'#');
    assert_eq!(long.refused(&policy), "too-large");
    let line = String::from_utf8(good.signature.clone()).unwrap().lines().nth(1).unwrap().to_owned() + "\n";
    for (count, says) in [(17, "more than 16"), (100, "larger than"), (1_000_000, "larger than")] {
        let many = Release { signature: format!("airssys-sig 1\n{}", line.repeat(count)).into(), ..good.clone() };
        let refusal = many.admit(&policy).unwrap_err();
        assert_eq!(refusal.code, "bad-signature-file");
        assert!(refusal.message.contains(says), "{}", refusal.message);
    }
    let most = Release { signature: format!("airssys-sig 1\n{}", line.repeat(16)).into(), ..good.clone() };
    most.admit(&policy).unwrap();
    // The size is signed, so a reader knows when to stop before anything is hashed.
    let endless = StoredWasm::streamed(crate::digest::Digest::of(&good.wasm), u64::MAX, &good.wasm);
    let package = "acme:notifier".parse().unwrap();
    let expect = Expectation { package: &package, require: &Require::default() };
    let verified = verify_manifest(&policy, &expect, &good.manifest, &good.signature, NOW).unwrap();
    assert_eq!(verified.admit(&endless).unwrap_err().code, "wrong-size");
}

#[test]
fn changed_line_endings_are_told_apart_from_a_forgery() {
    let (good, policy) = (Release::of(1), trusting());
    let text = String::from_utf8(good.manifest.clone()).unwrap();
    let converted = Release { manifest: text.replace('\n', "\r\n").into(), ..good.clone() };
    assert_eq!(converted.refused(&policy), "line-endings");
    let converted_in_part = Release { manifest: text.replacen('\n', "\r\n", 1).into(), ..good.clone() };
    assert_eq!(converted_in_part.refused(&policy), "line-endings");
    let also_forged = text.replace('\n', "\r\n").replace("alerter", "billing");
    assert_eq!(Release { manifest: also_forged.into(), ..good.clone() }.refused(&policy), "bad-signature");
    // A manifest that was signed with such endings is fine as it is.
    let windows = draft("acme:notifier", 1).replace('\n', "\r\n");
    Release::signed(&windows, wasm(1), &[key(1)]).admit(&policy).unwrap();
}

#[test]
fn nothing_of_a_manifest_is_believed_before_its_signers_are_trusted() {
    // The manifest is no TOML at all; the refusal is about the signer all the same.
    let manifest = b"\xff\0[[[ not toml".to_vec();
    let line = key(9).sign(&signed_bytes(&manifest));
    let signature = SignatureFile { lines: vec![line] }.encode().into();
    let release = Release { manifest, signature, wasm: wasm(1) };
    assert_eq!(release.refused(&trusting()), "unknown-signer");
    assert_eq!(release.refused(&TrustPolicy::none()), "no-trust-policy");
}

#[test]
fn without_a_policy_nothing_is_trusted_not_even_the_first_time() {
    for n in 1..=3 {
        assert_eq!(Release::of(n).refused(&TrustPolicy::none()), "no-trust-policy");
    }
    let empty = policy("schema = 1\n");
    assert_eq!(Release::of(1).refused(&empty), "unknown-publisher");
    assert!(Permissions::none().is_empty());
}
