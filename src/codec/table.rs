//! The codecs that there are: code, name, kind and status of each.
//!
//! A number that is not here is no codec of this host, whatever other tables say of it.

use std::fmt;
use std::str::FromStr;

use crate::text_serde::serde_as_text;

/// A form in which a content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Bytes of which nothing is said.
    Raw,
    /// JSON.
    Json,
    /// MessagePack.
    Msgpack,
    /// Borsh.
    Borsh,
    /// CBOR.
    Cbor,
    /// Protocol Buffers.
    Protobuf,
    /// Bincode.
    Bincode,
    /// YAML.
    Yaml,
}

/// What is known about a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// The number in the prefix.
    pub code: u32,
    /// The word in files, commands and documents.
    pub name: &'static str,
    /// What kind of codec it is.
    pub tag: Tag,
    /// How settled its number is.
    pub status: Status,
}

/// What kind of codec it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// A form of serialisation.
    Serialization,
    /// A form of the IPLD family.
    Ipld,
}

/// How settled the number of a codec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It may still change.
    Draft,
    /// It stays.
    Permanent,
}

/// What is known about each, in the order of [`Codec`].
const TABLE: [Info; Codec::COUNT] = {
    use Status::{Draft, Permanent};
    use Tag::{Ipld, Serialization};
    const fn info(code: u32, name: &'static str, tag: Tag, status: Status) -> Info {
        Info { code, name, tag, status }
    }
    [
        info(0x55, "raw", Ipld, Permanent),
        info(0x200, "json", Ipld, Permanent),
        info(0x201, "msgpack", Serialization, Permanent),
        info(0x701, "borsh", Serialization, Permanent),
        info(0x51, "cbor", Ipld, Permanent),
        info(0x50, "protobuf", Serialization, Permanent),
        info(0x702, "bincode", Serialization, Draft),
        info(0x114, "yaml", Serialization, Draft),
    ]
};

/// Another spelling of a name, and the name.
const ALIAS: (&str, Codec) = ("messagepack", Codec::Msgpack);

impl Codec {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Raw, Self::Json, Self::Msgpack, Self::Borsh, Self::Cbor, Self::Protobuf, Self::Bincode, Self::Yaml];

    /// What is known about it.
    pub fn info(self) -> Info {
        TABLE[self as usize]
    }

    /// The number in the prefix.
    pub fn code(self) -> u32 {
        self.info().code
    }

    /// The word in files, commands and documents.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The one with this number.
    pub fn of_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| u64::from(codec.code()) == code)
    }

    /// Every word that names one, aliases included.
    pub fn words() -> Vec<(&'static str, Self)> {
        Self::ALL.into_iter().map(|codec| (codec.name(), codec)).chain([ALIAS]).collect()
    }
}

impl Tag {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serialization => "serialization",
            Self::Ipld => "ipld",
        }
    }
}

impl Status {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Permanent => "permanent",
        }
    }
}

/// A word that names no codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no codec; there are {}", listed(&Codec::ALL))]
pub struct UnknownCodec;

/// Names in a row, as sentences show them.
pub(super) fn listed(codecs: &[Codec]) -> String {
    codecs.iter().map(|codec| codec.name()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::words().into_iter().find(|(word, _)| *word == text).map(|(_, codec)| codec).ok_or(UnknownCodec)
    }
}

serde_as_text!(Codec);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_has_its_own_number_and_name_and_is_found_by_both() {
        for (place, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(codec as usize, place);
            assert_eq!(Codec::of_code(codec.code().into()), Some(codec));
            assert_eq!(codec.name().parse(), Ok(codec));
            let json = serde_json::to_string(&codec).unwrap();
            assert_eq!(json, format!("\"{codec}\""));
            assert_eq!(serde_json::from_str::<Codec>(&json).unwrap(), codec);
        }
        assert_eq!("messagepack".parse(), Ok(Codec::Msgpack));
        for other in ["", "JSON", "json ", "dag-cbor", "0x200", "512"] {
            assert_eq!(other.parse::<Codec>(), Err(UnknownCodec), "{other:?}");
        }
        for other in [0, 0x12, 0x71, 0x129, 0x700, u64::MAX] {
            assert_eq!(Codec::of_code(other), None, "{other:#x}");
        }
    }
}
