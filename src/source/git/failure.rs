//! Turns what libgit2 says into failures with a code.

use git2::{Error, ErrorClass, ErrorCode};
use zeroize::Zeroizing;

use crate::escape::escape;
use crate::source::remote::{Access, FetchFailure};

/// The code for objects that are not what their ids say, or not there.
const DAMAGED: &str = "damaged-objects";
/// The code for a server that hands out no commit by its id; it leads to another way, never to the outside.
pub(super) const NOT_BY_ID: &str = "not-by-id";
/// The code for a mirror that can't be read or written.
const UNUSABLE: &str = "mirror-unusable";
/// Longest foreign text in a message, in bytes.
const MAX_FOREIGN_BYTES: usize = 300;

/// A failure of a connection or of what came through it.
pub(super) fn of_transfer(error: &Error, access: &Access, attempted: &str) -> FetchFailure {
    let text = error.message();
    let says = foreign(text, access);
    let plain = |code| FetchFailure::new(code, format!("cannot {attempted}: {says}"));
    if text.contains("too many objects") {
        return plain("too-many-objects").hint("keep artifacts in a repository of their own");
    }
    if text.contains("overly large object") {
        return plain("object-too-large").hint("keep large files out of the repository that holds artifacts");
    }
    match (error.code(), error.class()) {
        (ErrorCode::Auth, _) => plain("bad-credentials").hint(CREDENTIALS_HINT),
        (_, ErrorClass::Ssh) if text.contains("authenticate") => plain("bad-credentials").hint(CREDENTIALS_HINT),
        (ErrorCode::Certificate, _) => plain("unknown-host-key"),
        (_, ErrorClass::Indexer | ErrorClass::Zlib | ErrorClass::Object | ErrorClass::Odb) => plain("bad-pack"),
        _ if text.contains("does not match the type in the ODB") => plain("bad-pack"),
        _ if text.contains("failed to connect") => plain("cannot-connect"),
        (ErrorCode::NotFound, _) => plain("no-repository"),
        (_, ErrorClass::Repository) => plain("no-repository"),
        (_, ErrorClass::Os | ErrorClass::Filesystem) if !text.contains("connect") => plain("not-stored"),
        _ => plain("connection-lost"),
    }
}

/// A repository on this machine that can't be opened.
pub(super) fn of_opening(error: &Error, attempted: &str) -> FetchFailure {
    let message = format!("cannot {attempted}: {}", bounded(error.message()));
    if error.message().contains("not owned by") {
        return FetchFailure::new("untrusted-owner", message)
            .hint("the repository must belong to the user of the host, or to root");
    }
    FetchFailure::new("no-repository", message).hint("check the path; it names the directory of the repository itself")
}

/// What to do about credentials that are missing or not accepted.
pub(super) const CREDENTIALS_HINT: &str =
    "put credentials for this host into [credentials.\"host\"] of the host's config.toml";

/// A failure of the mirror on this machine.
pub(super) fn of_mirror(error: &Error) -> FetchFailure {
    FetchFailure::new(UNUSABLE, format!("cannot use the mirror: {}", bounded(error.message())))
}

/// Whether a new mirror may be better than this one.
pub(super) fn asks_for_new_mirror(failure: &FetchFailure) -> bool {
    failure.code == DAMAGED || failure.code == UNUSABLE
}

/// A failure of the file system below the mirror.
pub(super) fn of_disk(attempted: &str, error: &std::io::Error) -> FetchFailure {
    FetchFailure::new(UNUSABLE, format!("cannot {attempted}: {error}"))
}

/// An object that is not what its id says, or not there.
pub(super) fn damaged(id: git2::Oid, reason: &str) -> FetchFailure {
    FetchFailure::new(DAMAGED, format!("object {id} of the repository can't be read: {}", bounded(reason)))
}

/// Text that the other side chose: bounded, escaped, and without the secrets that it was told.
pub(super) fn foreign(text: &str, access: &Access) -> String {
    let mut text = text.to_owned();
    for secret in [&access.password, &access.ssh_key, &access.ssh_key_passphrase].into_iter().flatten() {
        if !secret.is_empty() {
            let encoded = Zeroizing::new(format!("{}:{}", access.user.as_deref().unwrap_or_default(), &**secret));
            let encoded = Zeroizing::new(openssl::base64::encode_block(encoded.as_bytes()));
            text = text.replace(encoded.as_str(), "…").replace(&**secret, "…");
        }
    }
    bounded(&text)
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_FOREIGN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    escape(text[..end].trim())
}
