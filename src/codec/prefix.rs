//! The prefix that says in which form the bytes behind it are written: its number as an unsigned varint.
//!
//! One number has one prefix: seven bits a byte, the lowest first, in as few bytes as they need. Everything else is
//! refused, so that equal contents have equal bytes.

use super::Payload;
use super::table::{Codec, listed};

/// Longest prefix, in bytes: 63 bits.
pub const MAX_PREFIX_BYTES: usize = 9;

/// Why bytes do not begin with the prefix of a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// There are none.
    #[error("there are no bytes, not even a codec's number")]
    Empty,
    /// They end within the number.
    #[error("the bytes end within the number of the codec")]
    Truncated,
    /// The number does not end.
    #[error("the number of the codec is longer than {MAX_PREFIX_BYTES} bytes")]
    TooLong,
    /// The number is written in more bytes than it needs.
    #[error("the number of the codec is not written in as few bytes as it needs")]
    NotMinimal,
    /// No codec has the number.
    #[error("{code:#x} is no codec of this host; it knows {known}", code = .0, known = listed(&Codec::ALL))]
    Unknown(u64),
}

/// `bytes` with the prefix of `codec` before them.
pub fn encode(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(MAX_PREFIX_BYTES + bytes.len());
    write(codec.code().into(), &mut encoded);
    encoded.extend_from_slice(bytes);
    encoded
}

/// The codec that the prefix names, and the bytes behind it.
pub fn decode(encoded: &[u8]) -> Result<(Codec, &[u8]), PrefixError> {
    let (code, bytes) = read(encoded)?;
    Ok((Codec::of_code(code).ok_or(PrefixError::Unknown(code))?, bytes))
}

impl Payload {
    /// The content with its prefix.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.codec, &self.bytes)
    }

    /// The content of what [`Payload::encode`] gave.
    pub fn decode(encoded: &[u8]) -> Result<Self, PrefixError> {
        let (codec, bytes) = decode(encoded)?;
        Ok(Self::new(codec, bytes.to_vec()))
    }
}

fn write(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}

fn read(bytes: &[u8]) -> Result<(u64, &[u8]), PrefixError> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(MAX_PREFIX_BYTES).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            // A last byte of nothing but zeros could have been left out.
            let is_minimal = *byte != 0 || place == 0;
            return if is_minimal { Ok((number, &bytes[place + 1..])) } else { Err(PrefixError::NotMinimal) };
        }
    }
    Err(match bytes.len() {
        0 => PrefixError::Empty,
        1..MAX_PREFIX_BYTES => PrefixError::Truncated,
        _ => PrefixError::TooLong,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(number, &mut bytes);
        bytes
    }

    #[test]
    fn the_bytes_of_every_prefix_are_these() {
        let bytes: Vec<(&str, String)> =
            Codec::ALL.into_iter().map(|codec| (codec.name(), crate::hex::encode(&encode(codec, b"")))).collect();
        let bytes: Vec<(&str, &str)> = bytes.iter().map(|(name, hex)| (*name, hex.as_str())).collect();
        let expected = [
            ("raw", "55"),
            ("json", "8004"),
            ("msgpack", "8104"),
            ("borsh", "810e"),
            ("cbor", "51"),
            ("protobuf", "50"),
            ("bincode", "820e"),
            ("yaml", "9402"),
        ];
        assert_eq!(bytes, expected);
        assert_eq!(encode(Codec::Json, b"{}"), b"\x80\x04{}");
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let refused = |bytes: &[u8]| decode(bytes).expect_err("no prefix");
        assert_eq!(refused(b""), PrefixError::Empty);
        assert_eq!(refused(b"\x80"), PrefixError::Truncated);
        assert_eq!(refused(&[0x80; 8]), PrefixError::Truncated);
        assert_eq!(refused(&[0x80; 9]), PrefixError::TooLong);
        assert_eq!(refused(&[0xff; 40]), PrefixError::TooLong);
        // The prefix of `raw` in two bytes, and of `json` in three.
        assert_eq!(refused(b"\xd5\x00"), PrefixError::NotMinimal);
        assert_eq!(refused(b"\x80\x84\x00{}"), PrefixError::NotMinimal);
        assert_eq!(refused(b"\x00"), PrefixError::Unknown(0));
        assert_eq!(refused(b"\x71"), PrefixError::Unknown(0x71));
        assert_eq!(refused(b"{\"a\":1}"), PrefixError::Unknown(0x7b), "bytes without a prefix");
        assert_eq!(
            PrefixError::Unknown(0x71).to_string(),
            "0x71 is no codec of this host; it knows raw, json, msgpack, borsh, cbor, protobuf, bincode, yaml"
        );
    }

    fn any_codec() -> impl Strategy<Value = Codec> {
        prop::sample::select(Codec::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(codec in any_codec(), bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let payload = Payload::new(codec, bytes);
            prop_assert_eq!(Payload::decode(&payload.encode()), Ok(payload));
        }

        #[test]
        fn every_number_is_read_from_its_bytes_and_from_no_longer_ones(number in 0..1u64 << 63, more in 1..9usize) {
            let bytes = written(number);
            prop_assert!(bytes.len() <= MAX_PREFIX_BYTES);
            prop_assert_eq!(read(&bytes), Ok((number, &[][..])));
            // The same number in more bytes: the last one goes on, and zeros follow.
            let mut longer = bytes.clone();
            *longer.last_mut().unwrap() |= 0x80;
            longer.extend(std::iter::repeat_n(0x80, more - 1));
            longer.push(0);
            let expected = if longer.len() > MAX_PREFIX_BYTES { PrefixError::TooLong } else { PrefixError::NotMinimal };
            prop_assert_eq!(read(&longer), Err(expected));
            let shorter = &bytes[..bytes.len() - 1];
            let expected = if shorter.is_empty() { PrefixError::Empty } else { PrefixError::Truncated };
            prop_assert_eq!(read(shorter), Err(expected));
        }

        #[test]
        fn no_bytes_panic_and_what_is_read_is_written_alike(bytes in prop::collection::vec(any::<u8>(), 0..14)) {
            if let Ok((codec, content)) = decode(&bytes) {
                prop_assert_eq!(encode(codec, content), bytes);
            }
        }
    }
}
