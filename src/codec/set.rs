//! Which codecs a component takes.
//!
//! Declared in its manifest, in the order in which it prefers them. One that declares none takes all.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::{Codec, listed};

/// Some codecs, in one byte: what a sender is held against, message by message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecSet(u8);

const _: () = assert!(Codec::COUNT == u8::BITS as usize, "every bit of a set is a codec");

impl CodecSet {
    /// Every codec.
    pub const ALL: Self = Self(u8::MAX);

    /// Whether `codec` is among them.
    pub fn takes(self, codec: Codec) -> bool {
        self.0 & (1 << codec as u8) != 0
    }

    /// Those of one byte, as [`CodecSet::bits`] gives it.
    pub fn of_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// All of it as one byte.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Its members, in the order of [`Codec::ALL`].
    pub fn members(self) -> Vec<Codec> {
        Codec::ALL.into_iter().filter(|codec| self.takes(*codec)).collect()
    }
}

/// The codecs that a manifest declares, the one that the component likes best first. None declared means that it takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Codec>")]
pub struct Codecs(Vec<Codec>);

/// Why some codecs are no declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is declared twice")]
pub struct CodecsError(pub Codec);

impl Codecs {
    /// Those declared, in their order.
    pub fn declared(&self) -> &[Codec] {
        &self.0
    }

    /// Whether none is declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it takes.
    pub fn set(&self) -> CodecSet {
        match self.is_empty() {
            true => CodecSet::ALL,
            false => CodecSet(self.0.iter().fold(0, |set, codec| set | 1 << *codec as u8)),
        }
    }

    /// In which form to write to it when nothing else is said: what it likes best, or just bytes.
    pub fn preferred(&self) -> Codec {
        self.0.first().copied().unwrap_or(Codec::Raw)
    }
}

impl TryFrom<Vec<Codec>> for Codecs {
    type Error = CodecsError;

    fn try_from(codecs: Vec<Codec>) -> Result<Self, Self::Error> {
        let again = codecs.iter().enumerate().find(|(at, codec)| codecs[..*at].contains(codec));
        match again {
            Some((_, codec)) => Err(CodecsError(*codec)),
            None => Ok(Self(codecs)),
        }
    }
}

/// `json, borsh`; `any` when none is declared.
impl fmt::Display for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&if self.is_empty() { "any".to_owned() } else { listed(&self.0) })
    }
}

/// A content came in a form that its receiver does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not take {codec} ({:#x}); it takes {}", codec.code(), listed(&taken.members()))]
pub struct NotTaken {
    /// The form.
    pub codec: Codec,
    /// What the receiver takes.
    pub taken: CodecSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_declared_takes_all_and_some_declared_take_just_these() {
        let none = Codecs::default();
        assert!(Codec::ALL.into_iter().all(|codec| none.set().takes(codec)));
        assert_eq!((none.preferred(), none.to_string().as_str()), (Codec::Raw, "any"));
        let some = Codecs::try_from(vec![Codec::Msgpack, Codec::Json]).unwrap();
        assert_eq!(some.set().members(), [Codec::Json, Codec::Msgpack]);
        assert_eq!(CodecSet::of_bits(some.set().bits()), some.set());
        assert_eq!((some.preferred(), some.to_string().as_str()), (Codec::Msgpack, "msgpack, json"));
        let refused = NotTaken { codec: Codec::Borsh, taken: some.set() };
        assert_eq!(refused.to_string(), "it does not take borsh (0x701); it takes json, msgpack");
    }

    #[test]
    fn a_codec_is_declared_once_also_in_what_was_written_before() {
        assert_eq!(Codecs::try_from(vec![Codec::Json, Codec::Raw, Codec::Json]), Err(CodecsError(Codec::Json)));
        assert!(serde_json::from_str::<Codecs>(r#"["json","messagepack","msgpack"]"#).is_err());
        let json = r#"["msgpack","json"]"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Codecs>(json).unwrap()).unwrap(), json);
    }
}
