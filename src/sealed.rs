//! Owns the frame of the state's text files: a first line that names the format, a last line that
//! carries the SHA-256 of everything before it.
//!
//! It finds damage: flipped bits, cut and half-written files. It keeps nobody out who can write the
//! file; that is what owner and mode of the state directory are for.

pub mod json;

use crate::digest::Digest;

/// Starts the last line.
const END: &str = "end ";
/// Length of the last line with its line end: `end sha256:`, 64 digits, `\n`.
pub const END_LINE_BYTES: usize = END.len() + "sha256:".len() + 64 + 1;

/// A text in its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The whole file.
    pub text: String,
    /// The digest that the last line carries.
    pub digest: Digest,
}

/// What a frame held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The lines between the first and the last; empty or ending in a line end.
    pub body: &'a str,
    /// The digest that the last line carries; it was checked.
    pub digest: Digest,
}

/// Why a file is not an intact sealed text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Longer than the format allows.
    #[error("it has {found} bytes, more than the {limit} a file of this kind may have")]
    TooLong {
        /// Length of the file.
        found: usize,
        /// Longest length allowed.
        limit: usize,
    },
    /// Some other format, or a newer version of this one.
    #[error("its first line is not `{wanted}`")]
    FirstLine {
        /// The line that was expected.
        wanted: String,
    },
    /// The last line is missing or incomplete, as after a write that was cut short.
    #[error("its last line is no checksum: the file was cut or never finished")]
    Unfinished,
    /// The bytes differ from those that were sealed.
    #[error("its checksum does not match: the file was changed or damaged")]
    Checksum,
}

/// Puts `body` (empty, or lines with their ends) into a frame.
pub fn seal(first_line: &str, body: &str) -> Sealed {
    debug_assert!(body.is_empty() || body.ends_with('\n'), "a body consists of whole lines");
    let mut text = String::with_capacity(first_line.len() + 1 + body.len() + END_LINE_BYTES);
    text.push_str(first_line);
    text.push('\n');
    text.push_str(body);
    let digest = Digest::of(text.as_bytes());
    text.push_str(END);
    text.push_str(&digest.to_string());
    text.push('\n');
    Sealed { text, digest }
}

/// Takes a file of at most `max_bytes` out of its frame.
pub fn open<'a>(first_line: &str, bytes: &'a [u8], max_bytes: usize) -> Result<Opened<'a>, SealError> {
    if bytes.len() > max_bytes {
        return Err(SealError::TooLong { found: bytes.len(), limit: max_bytes });
    }
    let (sealed, end) = bytes.split_at(bytes.len().saturating_sub(END_LINE_BYTES));
    let digest = end_line_digest(end).ok_or(SealError::Unfinished)?;
    if Digest::of(sealed) != digest {
        return Err(SealError::Checksum);
    }
    let wrong_first_line = || SealError::FirstLine { wanted: first_line.to_owned() };
    let text = std::str::from_utf8(sealed).map_err(|_| wrong_first_line())?;
    let body = text.strip_prefix(first_line).and_then(|rest| rest.strip_prefix('\n')).ok_or_else(wrong_first_line)?;
    if !(body.is_empty() || body.ends_with('\n')) {
        return Err(SealError::Unfinished);
    }
    Ok(Opened { body, digest })
}

/// The digest in a last line of exactly [`END_LINE_BYTES`] bytes.
pub fn end_line_digest(line: &[u8]) -> Option<Digest> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    line.strip_prefix(END)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 4096;

    #[test]
    fn a_sealed_text_opens_to_what_was_sealed() {
        for body in ["", "a\n", "a\nb c\n"] {
            let sealed = seal("format 1", body);
            let opened = open("format 1", sealed.text.as_bytes(), MAX).unwrap();
            assert_eq!((opened.body, opened.digest), (body, sealed.digest));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let text = seal("format 1", "high acme:notifier 17\n").text.into_bytes();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open("format 1", &bytes, MAX).is_err(), "bit {bit}");
        }
        for length in 0..text.len() {
            assert!(open("format 1", &text[..length], MAX).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_longer_file_and_another_format_are_refused_by_name() {
        let text = seal("format 2", "").text;
        assert_eq!(
            open("format 1", text.as_bytes(), MAX).unwrap_err(),
            SealError::FirstLine { wanted: "format 1".to_owned() }
        );
        let error = open("format 2", text.as_bytes(), text.len() - 1).unwrap_err();
        assert_eq!(error, SealError::TooLong { found: text.len(), limit: text.len() - 1 });
    }
}
