//! What decides who is believed: the trust policy, signature files, and the SSH signatures of commits.

use airssys_wasm::digest::Digest;
use airssys_wasm::key::PublicKey;
use airssys_wasm::name::PackageName;
use airssys_wasm::permission::Permissions;
use airssys_wasm::trust::policy::MAX_POLICY_BYTES;
use airssys_wasm::trust::sshsig::{SshKey, verify_commit};
use airssys_wasm::trust::{
    MAX_SIGNATURE_FILE_BYTES, MAX_SIGNATURES, Publisher, SignatureFile, SignatureFileError, SigningKey, TrustPolicy,
    check_key,
};

use super::super::seen::{Seen, shown};
use super::{Target, filled};

pub const POLICY: Target = Target {
    name: "policy",
    most: MAX_POLICY_BYTES as usize,
    words: include_str!("../words/policy"),
    run: policy,
    mend: None,
    largest: largest_policies,
};

fn policy(input: &[u8], seen: &mut Seen) {
    let policy = match TrustPolicy::parse("trust.toml", input) {
        Ok(policy) => policy,
        Err(problems) => return seen.problems(&problems),
    };
    seen.taken("policy");
    assert_eq!(policy.digest(), Digest::of(input));
    assert!(!policy.is_none());
    // Of the largest ones, reading them is enough.
    if input.len() > 64 << 10 {
        return;
    }
    for publisher in policy.publishers() {
        confers_what_it_says(&policy, publisher);
    }
    for revocation in policy.revocations() {
        shown(&revocation.to_string());
    }
    let longer = [input, b"\n# nothing more\n"].concat();
    let again = TrustPolicy::parse("trust.toml", &longer).expect("a comment is no problem");
    assert!(again.publishers().eq(policy.publishers()) && again.revocations().eq(policy.revocations()));
}

/// A rule has keys that can be used, a threshold that they can reach, and the packages that it names in full.
fn confers_what_it_says(policy: &TrustPolicy, publisher: &Publisher) {
    assert!((1..=publisher.keys.len()).contains(&publisher.threshold), "{}", publisher.threshold);
    assert!(publisher.keys.iter().all(|key| check_key(key).is_ok()));
    for pattern in publisher.names.iter().take(8) {
        assert_eq!(pattern.to_string().parse().as_ref(), Ok(pattern));
        if let Ok(package) = pattern.to_string().parse::<PackageName>() {
            assert_eq!(policy.publisher_for(&package), Some(publisher), "{package}");
        }
    }
    let json = serde_json::to_string(&publisher.permissions_max).expect("JSON");
    assert_eq!(serde_json::from_str::<Permissions>(&json).expect("its own JSON"), publisher.permissions_max);
}

fn largest_policies() -> Vec<Vec<u8>> {
    let key = |n: u8| format!("'{}'", SigningKey::from_seed(&[n; 32]).public());
    let keys: Vec<String> = (0..16).map(key).collect();
    let most = MAX_POLICY_BYTES as usize;
    let rules = |keys: &str, name: fn(usize) -> String| {
        let names = |rule: usize| (0..256).map(|n| name(rule * 256 + n)).collect::<Vec<_>>().join(",");
        let rule = |rule| format!("[publisher.p{rule}]\nkeys=[{keys}]\nnames=[{}]\n", names(rule));
        filled(most, "schema = 1\n", rule, "")
    };
    vec![
        rules(&keys[0], |n| format!("'a{n}:*'")),
        rules(&keys[0], |n| format!("'*:a{n}'")),
        rules(&keys[0], |n| format!("'a:b{n}'")),
        rules(&keys[0], |_| "'*:*'".to_owned()),
        rules(&keys.join(","), |n| format!("'a:b{n}'")),
        filled(most, "schema = 1\n", |n| format!("[publisher.a{n}]\nkeys=['x']\nnames=['y']\n"), ""),
        filled(most, "schema = 1\n", |_| format!("[[revoked]]\nkey={}\n", keys[0]), ""),
        filled(most, "schema = 1\n", |n| format!("[[revoked]]\npackage='a:b'\nsequence-below={n}\n"), ""),
        filled(most, "schema ", |_| "= ".to_owned(), ""),
        filled(most, "schema = [", |_| "=".to_owned(), ""),
        filled(most, "schema = 1\n[publisher.a]\nnames=['a:*']\nkeys=[", |n| format!("{},", keys[n % 16]), "]\n"),
    ]
}

pub const SIGNATURE: Target = Target {
    name: "signature",
    most: MAX_SIGNATURE_FILE_BYTES as usize,
    words: include_str!("../words/signature"),
    run: signature,
    mend: None,
    largest: largest_signatures,
};

/// A signature file; or a commit, or keys, as SSH writes them.
fn signature(input: &[u8], seen: &mut Seen) {
    if input.starts_with(b"tree ") {
        return commit(input, seen);
    }
    if let Some(text) = input.strip_prefix(b"ssh-").and_then(|_| std::str::from_utf8(input).ok()) {
        return text.lines().take(20).for_each(|line| ssh_key(line, seen));
    }
    match SignatureFile::parse(input) {
        Err(error) => seen.refused(&error.to_string()),
        Ok(file) => {
            seen.taken("signatures");
            assert!((1..=MAX_SIGNATURES).contains(&file.lines.len()));
            assert_eq!(file.encode().as_bytes(), input, "there is one spelling");
            one_bad_line_refuses_it(input);
        }
    }
}

fn one_bad_line_refuses_it(input: &[u8]) {
    let digest = Digest::of(input);
    let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    let bad = ["\n", " \n", "x\n", "ed25519 00 00\n", "sshsig AAAA\n", "ed25519\n", "# \n", "airssys-sig 1\n"];
    let bad = bad[usize::from(digest.as_bytes()[0]) % bad.len()];
    let at = usize::from(digest.as_bytes()[1]) % (lines.len() + 1);
    let text = [&lines[..at].concat(), bad.as_bytes(), &lines[at..].concat()].concat();
    let refused = SignatureFile::parse(&text);
    assert!(refused.is_err(), "taken with a bad line {at}: {bad:?}");
    assert!(
        bad != "sshsig AAAA\n"
            || at == 0
            || refused == Err(SignatureFileError::Sshsig(at + 1))
            || lines.len() > MAX_SIGNATURES
    );
}

fn ssh_key(line: &str, seen: &mut Seen) {
    match line.parse::<SshKey>() {
        Err(error) => seen.refused(&error.to_string()),
        Ok(key) => {
            seen.taken("key");
            assert!(check_key(key.key()).is_ok());
            assert_eq!(key.to_string().parse().as_ref(), Ok(&key), "{line}");
            shown(&key.shown());
        }
    }
}

/// The key with which the commits of the corpus were signed.
const ALICE: &str = include_str!("../../../../src/trust/sshsig/vectors/alice.pub");
/// The commits that it signed. Nothing else is ever taken, whatever is done to them.
const SIGNED: [&[u8]; 2] = [
    include_bytes!("../../../../src/trust/sshsig/vectors/first.commit"),
    include_bytes!("../../../../src/trust/sshsig/vectors/merge.commit"),
];

fn commit(input: &[u8], seen: &mut Seen) {
    let keys = [ALICE.parse::<SshKey>().expect("a key")];
    match verify_commit(input, &keys) {
        Err(error) => seen.refused(&error.to_string()),
        Ok(_) => {
            seen.taken("commit");
            assert!(SIGNED.contains(&input), "a commit is taken that alice never signed");
        }
    }
}

fn largest_signatures() -> Vec<Vec<u8>> {
    let most = MAX_SIGNATURE_FILE_BYTES as usize;
    let line = |n: usize| {
        let key = PublicKey::from_bytes([u8::try_from(n % 256).expect("a byte"); 32]);
        format!("ed25519 {} {}\n", key.hex(), "0a".repeat(64))
    };
    vec![
        filled(most, "airssys-sig 1\n", line, ""),
        filled(most, "airssys-sig 1\n", |_| "\n".to_owned(), ""),
        filled(most, "airssys-sig 1\n", |_| " ".to_owned(), "\n"),
        filled(most, "tree a\ngpgsig ", |_| "\n ".to_owned(), "\n\nm\n"),
        filled(most, "ssh-ed25519 ", |_| "A".to_owned(), "\n"),
    ]
}
