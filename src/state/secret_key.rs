//! Owns the key under which secrets get their fingerprints.
//!
//! Whoever has it and a fingerprint can try values; so it stays here, readable by this user only. Losing it costs one
//! restart of every component with secrets, because all fingerprints change.

use std::io::Read as _;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::cache::is_only_ours;
use super::disk::Disk;
use super::error::StateError;
use super::layout::{Layout, temporary};
use super::read::open_file;
use crate::secret::{Fingerprint, Secret};

const KEY_BYTES: usize = 32;
/// What follows the key in its file, so that a damaged key is noticed, in bytes.
const CHECK_BYTES: usize = 8;
/// Separates this use of the key from any other.
const DOMAIN: &[u8] = b"airssys-secret-fingerprint-v1\n";
const CHECK_DOMAIN: &[u8] = b"airssys-secret-key-check-v1\n";

/// The key. Not printable, never leaves this module.
#[derive(Clone)]
pub struct SecretKey(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl SecretKey {
    /// The fingerprint of a value: equal for equal values in one state, and of no use in any other.
    pub fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        let mut mac = blake3::Hasher::new_keyed(&self.0);
        mac.update(DOMAIN);
        mac.update(secret.expose().as_bytes());
        Fingerprint::of_mac(mac.finalize().as_bytes())
    }
}

/// What follows the key in its file. Says nothing about the key to whoever doesn't have it.
fn check_of(key: &[u8; KEY_BYTES]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let mut mac = blake3::Hasher::new_keyed(key);
    mac.update(CHECK_DOMAIN);
    check.copy_from_slice(&mac.finalize().as_bytes()[..CHECK_BYTES]);
    check
}

/// Reads the key; the error says why a host would make another one.
pub(crate) fn read_secret_key(layout: &Layout) -> Result<Option<SecretKey>, &'static str> {
    let unreadable = "it can't be read, or is no regular file";
    let Some((mut file, metadata)) = open_file(&layout.secret_key()).map_err(|_| unreadable)? else {
        return Ok(None);
    };
    if !is_only_ours(&metadata) {
        return Err("another user owns it, can read or change it, or has a second name for it");
    }
    if metadata.len() != (KEY_BYTES + CHECK_BYTES) as u64 {
        return Err("it has another length");
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let mut check = [0; CHECK_BYTES];
    file.read_exact(&mut *key).and_then(|()| file.read_exact(&mut check)).map_err(|_| unreadable)?;
    if check_of(&key) != check {
        return Err("it is not what was written");
    }
    Ok(Some(SecretKey(Arc::new(key))))
}

/// Reads the key, or makes one. One that others may know or that is damaged is replaced.
pub(crate) fn open_secret_key(layout: &Layout, disk: &Disk) -> Result<SecretKey, StateError> {
    if let Ok(Some(key)) = read_secret_key(layout) {
        return Ok(key);
    }
    let path = layout.secret_key();
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(&mut *key).map_err(|error| StateError::io("make a key for", &path, error.into()))?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES + CHECK_BYTES]);
    bytes[..KEY_BYTES].copy_from_slice(&*key);
    bytes[KEY_BYTES..].copy_from_slice(&check_of(&key));
    let new = temporary(&path);
    let file = disk.write_new(&new, &*bytes)?;
    disk.sync_file(&file, &new)?;
    disk.rename(&new, &path)?;
    Ok(SecretKey(Arc::new(key)))
}
