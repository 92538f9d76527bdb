//! Owns frames: a kind, a length, and as many bytes. What is longer than its kind may be is not read.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest frame of any kind, in bytes.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Largest piece of a body, in bytes.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// Kind and length.
const HEADER_BYTES: usize = 5;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To the worker: limits and directories.
    Setup = 1,
    /// To the worker: what to do.
    Job = 2,
    /// To the worker: which wasm is wanted.
    Wanted = 3,
    /// Either way: a part of a body.
    Piece = 4,
    /// Either way: the body, or all, is complete.
    Done = 5,
    /// To the host: the worker is confined.
    Ready = 6,
    /// To the host: how far it is.
    Progress = 7,
    /// To the host: what was found; pieces follow.
    Found = 8,
    /// To the host: how much code there is; pieces follow.
    Code = 9,
    /// To the host: it failed, and why.
    Failed = 10,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Setup,
        Self::Job,
        Self::Wanted,
        Self::Piece,
        Self::Done,
        Self::Ready,
        Self::Progress,
        Self::Found,
        Self::Code,
        Self::Failed,
    ];

    fn max_bytes(self) -> usize {
        match self {
            Self::Done => 0,
            Self::Wanted | Self::Ready | Self::Progress | Self::Code => 4 << 10,
            Self::Setup | Self::Failed => 64 << 10,
            Self::Piece => PIECE_BYTES,
            Self::Job => 1 << 20,
            Self::Found => MAX_FRAME_BYTES,
        }
    }
}

/// A frame that was read.
pub(super) struct Frame {
    pub kind: Kind,
    pub bytes: Vec<u8>,
}

/// Why no frame was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The stream failed or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side does not keep to the protocol.
    #[error("{0}")]
    Protocol(String),
}

/// Reads one frame.
pub(super) fn read(from: &mut dyn Read) -> Result<Frame, FrameError> {
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header)?;
    let [kind, length @ ..] = header;
    let Some(kind) = Kind::ALL.into_iter().find(|known| *known as u8 == kind) else {
        return Err(FrameError::Protocol(format!("it sent a frame of the unknown kind {kind}")));
    };
    let length = u32::from_le_bytes(length) as usize;
    if length > kind.max_bytes() {
        let (max, kind) = (kind.max_bytes(), format!("{kind:?}").to_lowercase());
        return Err(FrameError::Protocol(format!(
            "it announced {length} bytes for a `{kind}` frame, which may have {max}"
        )));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Frame { kind, bytes })
}

impl Frame {
    /// The content as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| FrameError::Protocol(format!("its `{:?}` frame can't be read: {error}", self.kind)))
    }

    /// The error for a frame that has no place here.
    pub(super) fn unexpected(&self) -> FrameError {
        FrameError::Protocol(format!("a `{:?}` frame has no place here", self.kind))
    }
}

/// Writes one frame.
pub(super) fn write(to: &mut dyn Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() > kind.max_bytes() {
        let what = format!("{} bytes are more than a `{kind:?}` frame may have", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let length = u32::try_from(bytes.len()).expect("every kind's limit is far below 4 GiB");
    let mut header = [kind as u8; HEADER_BYTES];
    header[1..].copy_from_slice(&length.to_le_bytes());
    to.write_all(&header)?;
    to.write_all(bytes)?;
    to.flush()
}

/// Writes one frame of JSON.
pub(super) fn write_json(to: &mut dyn Write, kind: Kind, value: &impl Serialize) -> io::Result<()> {
    write(to, kind, &serde_json::to_vec(value)?)
}

/// Writes a body in pieces.
pub(super) fn write_pieces(to: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(PIECE_BYTES).try_for_each(|piece| write(to, Kind::Piece, piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        match read(&mut &bytes[..]) {
            Ok(frame) => panic!("a {:?} frame was read", frame.kind),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_too_long_is_not_written() {
        let mut bytes = Vec::new();
        write(&mut bytes, Kind::Piece, b"abc").unwrap();
        let frame = read(&mut &bytes[..]).unwrap();
        assert_eq!((frame.kind, frame.bytes.as_slice()), (Kind::Piece, &b"abc"[..]));
        assert!(write(&mut bytes, Kind::Done, b"x").is_err());
        assert!(write(&mut bytes, Kind::Piece, &vec![0; PIECE_BYTES + 1]).is_err());
    }

    #[test]
    fn unknown_kinds_and_lengths_beyond_the_kinds_limit_are_refused_before_a_byte_is_allocated() {
        assert!(refused(&[0, 0, 0, 0, 0]).contains("unknown kind 0"));
        assert!(refused(b"#!/bin/sh").contains("unknown kind 35"));
        for kind in Kind::ALL {
            let mut bytes = vec![kind as u8];
            bytes.extend(u32::MAX.to_le_bytes());
            assert!(refused(&bytes).contains("announced 4294967295 bytes"), "{kind:?}");
        }
        assert!(refused(&[Kind::Piece as u8, 3, 0, 0, 0, 1]).contains("failed to fill"));
    }
}
