//! Decides what a key and a value may be, and how keys of components become keys of the store.
//!
//! Pure.

use super::error::StorageError;
use super::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Bytes of a storage id at the head of a key of the store.
const ID_BYTES: usize = 8;

/// Whether a component may use this key: 1 to 1,024 bytes of UTF-8 without control characters.
pub fn check_key(key: &str) -> Result<(), StorageError> {
    if key.is_empty() {
        return Err(StorageError::InvalidKey("it is empty"));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(StorageError::InvalidKey("it is longer than 1,024 bytes"));
    }
    if key.chars().any(char::is_control) {
        return Err(StorageError::InvalidKey("it has a control character"));
    }
    Ok(())
}

/// Whether a text may stand for the beginning of keys; everything begins with the empty one.
pub(super) fn check_prefix(prefix: &str) -> Result<(), StorageError> {
    if prefix.is_empty() { Ok(()) } else { check_key(prefix) }
}

pub(super) fn check_value(value: &[u8]) -> Result<(), StorageError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(StorageError::ValueTooLarge(MAX_VALUE_BYTES as u64));
    }
    Ok(())
}

/// The key of the store for a key of the component with this storage id.
pub(super) fn full(id: u64, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(ID_BYTES + key.len());
    full.extend_from_slice(&id.to_be_bytes());
    full.extend_from_slice(key);
    full
}

/// Storage id and the component's key out of a key of the store.
pub(super) fn split(full: &[u8]) -> Option<(u64, &[u8])> {
    let (id, key) = full.split_first_chunk::<ID_BYTES>()?;
    Some((u64::from_be_bytes(*id), key))
}

/// The first key that is behind all those that begin with `prefix`, which is not all 0xff.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_text_without_control_characters() {
        for good in ["a", "é", "a/b c", &"x".repeat(1_024)] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for bad in ["", "a\0", "\n", "a\u{85}b", &"x".repeat(1_025), &("é".repeat(512) + "x")] {
            assert!(matches!(check_key(bad), Err(StorageError::InvalidKey(_))), "{bad:?}");
        }
        assert_eq!(check_prefix(""), Ok(()));
    }

    #[test]
    fn ids_and_keys_come_out_as_they_went_in_and_stand_in_order() {
        assert_eq!(split(&full(7, b"key")), Some((7, &b"key"[..])));
        assert_eq!(split(b"short"), None);
        assert!(full(1, &[0xff; 1_024]) < full(2, b""), "one component's keys stand together");
        assert_eq!(behind(b"ab"), b"ac");
        assert_eq!(behind(&[1, 0xff, 0xff]), [2]);
        assert_eq!(behind(&full(0xff, b"")), full(0x100, b"")[..7]);
    }
}
