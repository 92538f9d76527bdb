//! Owns codecs: how a content says in which form it is written, and which forms a component takes.
//!
//! A codec is a word beside the content while it is inside the host, and a prefix before it where it leaves. Nothing
//! here reads or writes a content in any of the forms: a content is never translated.

mod prefix;
mod set;
mod table;

pub use prefix::{MAX_PREFIX_BYTES, PrefixError, decode, encode};
pub use set::{CodecSet, Codecs, CodecsError, NotTaken};
pub use table::{Codec, Info, Status, Tag, UnknownCodec};

/// A content and the form in which it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The form.
    pub codec: Codec,
    /// The content, without a prefix.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// `bytes` in the form `codec`.
    pub fn new(codec: Codec, bytes: Vec<u8>) -> Self {
        Self { codec, bytes }
    }

    /// Bytes of the content.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Bytes of which nothing is said: [`Codec::Raw`].
impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(Codec::Raw, bytes)
    }
}
