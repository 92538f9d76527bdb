//! Decides which keys a host may show, by lines of a `known_hosts` file. Pure.

use openssl::base64::decode_block;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

/// Kinds of keys that the SSH library understands.
const KINDS: &[&str] = &["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];
/// Lines that are looked at.
const MAX_LINES: usize = 10_000;

/// A key that a line names for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostKey {
    pub(super) kind: String,
    /// In base64, as the line has it.
    pub(super) text: String,
    bytes: Vec<u8>,
    is_revoked: bool,
}

/// What a key that a host shows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// No line names a key of this kind.
    Unknown,
    /// A line names another key of this kind, or revokes this one.
    Changed,
}

/// The keys that the lines name for a host. Lines for certificate authorities, of other kinds, and broken ones name none.
pub(super) fn keys_of(lines: &str, host: &str, port: u16) -> Vec<HostKey> {
    let name = if port == 22 { host.to_ascii_lowercase() } else { format!("[{}]:{port}", host.to_ascii_lowercase()) };
    lines.lines().take(MAX_LINES).filter_map(|line| key_of(line, &name)).collect()
}

fn key_of(line: &str, name: &str) -> Option<HostKey> {
    let mut words = line.split_ascii_whitespace().peekable();
    let is_revoked = words.next_if_eq(&"@revoked").is_some();
    let (patterns, kind, text) = (words.next()?, words.next()?, words.next()?);
    if patterns.starts_with(['#', '@']) || !KINDS.contains(&kind) || !names(patterns, name) {
        return None;
    }
    Some(HostKey { kind: kind.to_owned(), text: text.to_owned(), bytes: decoded(text)?, is_revoked })
}

/// Judges the key that a host shows.
pub(super) fn judge(keys: &[HostKey], shown: &[u8]) -> Verdict {
    let mut same = keys.iter().filter(|key| key.bytes == shown).peekable();
    if same.peek().is_some() {
        return if same.any(|key| key.is_revoked) { Verdict::Changed } else { Verdict::Known };
    }
    match keys.iter().any(|key| kind_of(&key.bytes) == kind_of(shown)) {
        true => Verdict::Changed,
        false => Verdict::Unknown,
    }
}

/// The kind that a key's own bytes name, with its length before it.
fn kind_of(key: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(*key.first_chunk()?);
    key.get(4..)?.get(..usize::try_from(length).ok()?)
}

/// Whether a list of patterns names a host. One that starts with `!` takes it out again.
fn names(patterns: &str, name: &str) -> bool {
    let mut named = false;
    for pattern in patterns.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            named |= is_hash_of(hashed, name);
        } else if let Some(pattern) = pattern.strip_prefix('!') {
            if matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                return false;
            }
        } else {
            named |= matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
        }
    }
    named
}

/// `*` stands for any text, `?` for one character. Takes time by length of pattern times length of text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == b'?' || *c == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, star_from)) => {
                    at = star_at + 1;
                    from = star_from + 1;
                    star = Some((star_at, from));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == b'*')
}

fn is_hash_of(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let hmac = |salt: &[u8]| {
        let key = PKey::hmac(salt)?;
        Signer::new(MessageDigest::sha1(), &key)?.sign_oneshot_to_vec(name.as_bytes())
    };
    match (decoded(salt), decoded(hash)) {
        (Some(salt), Some(hash)) => hmac(&salt).is_ok_and(|computed| computed == hash),
        _ => false,
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    decode_block(text).ok()
}

#[cfg(test)]
mod tests {
    use openssl::base64::encode_block;

    use super::*;

    fn blob(kind: &str, of: u8) -> Vec<u8> {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        [&length[..], kind.as_bytes(), &[0, 0, 0, 32], &[of; 32]].concat()
    }

    fn line(names: &str, kind: &str, of: u8) -> String {
        format!("{names} {kind} {} a comment\n", encode_block(&blob(kind, of)))
    }

    fn count(names: &str, host: &str, port: u16) -> usize {
        keys_of(&line(names, "ssh-ed25519", 1), host, port).len()
    }

    #[test]
    fn g9_a_line_counts_for_the_hosts_that_it_names() {
        assert_eq!(count("example.com", "example.com", 22), 1);
        assert_eq!(count("Example.com", "example.com", 22), 1);
        assert_eq!(count("example.com", "example.com", 2222), 0);
        assert_eq!(count("[example.com]:2222", "example.com", 2222), 1);
        assert_eq!(count("[example.com]:2222", "example.com", 22), 0);
        assert_eq!(count("a.com,example.com,192.0.2.1", "example.com", 22), 1);
        assert_eq!(count("*.example.com", "git.example.com", 22), 1);
        assert_eq!(count("*.example.com", "example.com", 22), 0);
        assert_eq!(count("*.example.com,!git.example.com", "git.example.com", 22), 0);
        assert_eq!(count("git?.example.com", "git1.example.com", 22), 1);
        assert_eq!(count("# example.com", "example.com", 22), 0);
        assert_eq!(count("@cert-authority example.com", "example.com", 22), 0);
        // As `ssh-keygen -H` writes it for `localhost`.
        let key = PKey::hmac(b"salt of twenty bytes").unwrap();
        let mut signer = Signer::new(MessageDigest::sha1(), &key).unwrap();
        let hash = encode_block(&signer.sign_oneshot_to_vec(b"example.com").unwrap());
        let hashed = format!("|1|{}|{hash}", encode_block(b"salt of twenty bytes"));
        assert_eq!((count(&hashed, "example.com", 22), count(&hashed, "example.org", 22)), (1, 0));
    }

    #[test]
    fn g9_only_the_very_key_is_known_and_another_of_its_kind_is_a_change() {
        let lines =
            line("h", "ssh-ed25519", 1) + &line("h", "ssh-rsa", 2) + &format!("@revoked {}", line("h", "ssh-rsa", 3));
        let keys = keys_of(&lines, "h", 22);
        assert_eq!(judge(&keys, &blob("ssh-ed25519", 1)), Verdict::Known);
        assert_eq!(judge(&keys, &blob("ssh-rsa", 2)), Verdict::Known);
        assert_eq!(judge(&keys, &blob("ssh-ed25519", 2)), Verdict::Changed);
        assert_eq!(judge(&keys, &blob("ssh-rsa", 3)), Verdict::Changed);
        assert_eq!(judge(&keys, &blob("ecdsa-sha2-nistp256", 1)), Verdict::Unknown);
        assert_eq!(judge(&keys, b""), Verdict::Unknown);
        assert_eq!(judge(&[], &blob("ssh-ed25519", 1)), Verdict::Unknown);
    }

    #[test]
    fn broken_lines_name_no_key() {
        for text in
            ["", "h", "h ssh-ed25519", "h ssh-ed25519 ???", "h ssh-dss AAAA", "|1| ssh-rsa AAAA", "|1|a|b ssh-rsa AAAA"]
        {
            assert_eq!(keys_of(text, "h", 22), [], "{text}");
        }
    }
}
