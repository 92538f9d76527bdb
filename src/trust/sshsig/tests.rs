//! Vectors were made by `git commit -S` and `ssh-keygen -Y sign` with keys that were thrown away.

use super::*;

const FIRST: &[u8] = include_bytes!("vectors/first.commit");
const SECOND: &[u8] = include_bytes!("vectors/second.commit");
const MERGE: &[u8] = include_bytes!("vectors/merge.commit");

fn alice() -> SshKey {
    include_str!("vectors/alice.pub").parse().expect("a key")
}

fn mallory() -> SshKey {
    include_str!("vectors/mallory.pub").parse().expect("a key")
}

fn refused(raw: &[u8]) -> CommitSignatureError {
    verify_commit(raw, &[alice()]).expect_err("must be refused")
}

#[test]
fn commits_that_git_signed_verify_and_name_their_signer() {
    for raw in [FIRST, SECOND, MERGE, include_bytes!("vectors/sha256.commit")] {
        assert_eq!(verify_commit(raw, &[mallory(), alice()]).expect("signed by alice").shown(), "alice@example.com");
    }
    let keys = [mallory()];
    let signer = verify_commit(include_bytes!("vectors/mallory.commit"), &keys).expect("signed by mallory");
    assert_eq!(signer.shown(), "mallory@example.com");
}

#[test]
fn commits_without_a_signature_that_counts_are_refused_with_the_reason() {
    assert_eq!(refused(include_bytes!("vectors/unsigned.commit")), CommitSignatureError::Unsigned);
    assert!(matches!(refused(include_bytes!("vectors/mallory.commit")), CommitSignatureError::UnknownSigner(_)));
    assert!(matches!(refused(include_bytes!("vectors/rsa.commit")), CommitSignatureError::OtherKind(_)));
    assert!(matches!(refused(include_bytes!("vectors/ec.commit")), CommitSignatureError::OtherKind(_)));
    assert_eq!(refused(include_bytes!("vectors/namespace.commit")), CommitSignatureError::Namespace);
    assert_eq!(verify_commit(FIRST, &[]).expect_err("no key is allowed").code(), "commit-unknown-signer");
    let pgp = b"tree 0ae7c5a60644478ab28ef82d8a2fe56c8df8c4ce\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n\nm\n";
    assert_eq!(refused(pgp), CommitSignatureError::OtherKind("OpenPGP"));
}

#[test]
fn no_bit_of_a_signed_commit_can_be_changed() {
    for at in 0..FIRST.len() {
        for bit in 0..8 {
            let mut raw = FIRST.to_vec();
            raw[at] ^= 1 << bit;
            assert!(verify_commit(&raw, &[alice()]).is_err(), "bit {bit} of byte {at} is not protected");
        }
    }
    for end in 0..FIRST.len() {
        assert!(verify_commit(&FIRST[..end], &[alice()]).is_err(), "cut off at {end}");
    }
    assert!(verify_commit(&[FIRST, b"\n"].concat(), &[alice()]).is_err());
}

#[test]
fn a_signature_of_one_commit_does_not_fit_another() {
    let text = |raw: &[u8]| String::from_utf8(raw.to_vec()).expect("text");
    let (first, second) = (text(FIRST), text(SECOND));
    let signature = |raw: &str| {
        let start = raw.find("gpgsig ").expect("signed");
        let end = raw.find(ARMOUR_END).expect("signed") + ARMOUR_END.len() + 1;
        raw[start..end].to_owned()
    };
    let grafted = second.replace(&signature(&second), &signature(&first));
    assert!(matches!(refused(grafted.as_bytes()), CommitSignatureError::Bad(_)));
    let doubled = first.replace(&signature(&first), &(signature(&first) + &signature(&first)));
    assert_eq!(refused(doubled.as_bytes()), CommitSignatureError::Ambiguous);
    let other = first.replacen("gpgsig ", "gpgsig-sha256 x\ngpgsig ", 1);
    assert_eq!(refused(other.as_bytes()), CommitSignatureError::Ambiguous);
    // In the message it is no signature.
    let unsigned = first.replace(&signature(&first), "") + &signature(&first);
    assert_eq!(refused(unsigned.as_bytes()), CommitSignatureError::Unsigned);
}

/// Builds a commit whose container holds these fields, signed by nobody.
fn with_container(fields: &[&[u8]], tail: &[u8]) -> Vec<u8> {
    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&VERSION.to_be_bytes());
    fields.iter().for_each(|field| push(&mut blob, field));
    blob.extend_from_slice(tail);
    let encoded = Base64::encode_string(&blob);
    format!("tree 0\ngpgsig {ARMOUR_BEGIN}\n {encoded}\n {ARMOUR_END}\n\nm\n").into_bytes()
}

#[test]
fn containers_of_another_form_are_refused() {
    let key = key_blob(alice().key());
    let mut signature = Vec::new();
    push(&mut signature, KEY_TYPE);
    push(&mut signature, &[0; 64]);
    let good: [&[u8]; 5] = [&key, b"git", b"", b"sha512", &signature];
    assert!(matches!(refused(&with_container(&good, b"")), CommitSignatureError::Bad(_)));
    assert!(matches!(refused(&with_container(&good, b"x")), CommitSignatureError::Malformed(_)));
    let with = |at: usize, field: &[u8]| {
        let mut fields = good;
        fields[at] = field;
        refused(&with_container(&fields, b""))
    };
    for namespace in [&b"git\0"[..], b"gi", b"", b"GIT", b"file"] {
        assert_eq!(with(1, namespace), CommitSignatureError::Namespace);
    }
    assert!(matches!(with(2, b"r"), CommitSignatureError::Malformed(_)));
    for hash in [&b"sha1"[..], b"md5", b"", b"SHA512"] {
        assert_eq!(with(3, hash), CommitSignatureError::Hash);
    }
    assert!(matches!(with(0, &[&key[..], b"x"].concat()), CommitSignatureError::Malformed(_)));
    assert!(matches!(with(4, &[&signature[..], b"x"].concat()), CommitSignatureError::Malformed(_)));
    assert!(matches!(with(4, b""), CommitSignatureError::Malformed(_)));
    // A length that reaches over the end.
    assert!(matches!(
        refused(&with_container(&good[..4], &[0xff, 0xff, 0xff, 0xff])),
        CommitSignatureError::Malformed(_)
    ));
    let endless = format!("tree 0\ngpgsig {ARMOUR_BEGIN}\n{}\nm\n", " QUFB\n".repeat(100_000));
    assert_eq!(refused(endless.as_bytes()), CommitSignatureError::Malformed("it is too long"));
}

#[test]
fn keys_are_read_as_ssh_keygen_writes_them_and_nothing_else_is() {
    let key = alice();
    assert_eq!(key.to_string(), include_str!("vectors/alice.pub").trim_end());
    let bare = key.to_string().rsplit_once(' ').expect("a comment").0.to_owned();
    assert!(bare.parse::<SshKey>().expect("a key").shown().starts_with("SHA256:"));
    let refused = |text: &str| text.parse::<SshKey>().expect_err(text);
    assert_eq!(refused("ssh-rsa AAAAB3NzaC1yc2E= x"), SshKeyError::Kind);
    assert_eq!(refused("sk-ssh-ed25519@openssh.com AAAA x"), SshKeyError::Kind);
    assert_eq!(refused(""), SshKeyError::Syntax);
    assert_eq!(refused("ssh-ed25519 AAAA x"), SshKeyError::Syntax);
    assert_eq!(refused(&format!("{bare} \u{1b}[2K")), SshKeyError::Syntax);
    assert_eq!(refused(&"x".repeat(2_000)), SshKeyError::TooLong);
    let mut weak = Vec::new();
    push(&mut weak, KEY_TYPE);
    push(&mut weak, &[0; 32]);
    assert!(matches!(refused(&format!("ssh-ed25519 {}", Base64::encode_string(&weak))), SshKeyError::Key(_)));
}
