//! Owns the writing end of the content store for bytes that somebody else pushes.
//!
//! It hashes what it is given; what the digest must be is the caller's to compare.

use std::io::{self, Write};

use super::error::StateError;
use super::object::{CHUNK_BYTES, ObjectCommand, Objects, StoredObject, Upload};
use crate::digest::{Digest, Digester};

/// How many bytes of the start [`ObjectSink::head`] shows.
const HEAD_BYTES: usize = 8;

/// Takes bytes into the content store. Dropped, it leaves nothing behind.
pub struct ObjectSink<'a> {
    objects: &'a Objects,
    upload: Option<Upload<'a>>,
    chunk: Vec<u8>,
    digester: Digester,
    size: u64,
    head: Vec<u8>,
}

impl Objects {
    /// A sink for one object. Memory use does not grow with the object.
    pub fn sink(&self) -> ObjectSink<'_> {
        let (digester, head) = (Digester::default(), Vec::with_capacity(HEAD_BYTES));
        ObjectSink { objects: self, upload: None, chunk: Vec::new(), digester, size: 0, head }
    }
}

impl ObjectSink<'_> {
    /// The first eight bytes, or as many as there were: enough to tell kinds of files apart.
    pub fn head(&self) -> Vec<u8> {
        self.head.clone()
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.digester.clone().finish()
    }

    /// Stores what was written.
    pub fn keep(mut self) -> Result<StoredObject, StateError> {
        self.send()?;
        let stored = StoredObject { digest: std::mem::take(&mut self.digester).finish(), size: self.size };
        let Some(upload) = &self.upload else { return self.objects.put_object(&[]) };
        if !self.objects.has_intact(&stored)? {
            let (upload, digest) = (upload.id, stored.digest);
            self.objects.ask(|answer| ObjectCommand::Finish { upload, digest, answer }).wait()?;
        }
        Ok(stored)
    }

    fn send(&mut self) -> Result<(), StateError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        if self.upload.is_none() {
            let id = self.objects.ask(|answer| ObjectCommand::Begin { answer }).wait()?;
            self.upload = Some(Upload { id, objects: self.objects });
        }
        let Some(upload) = &self.upload else { return Ok(()) };
        let (upload, bytes) = (upload.id, std::mem::take(&mut self.chunk));
        self.objects.ask(|answer| ObjectCommand::Append { upload, bytes, answer }).wait()
    }
}

impl Write for ObjectSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.digester.update(bytes);
        self.size += bytes.len() as u64;
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.send().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}
