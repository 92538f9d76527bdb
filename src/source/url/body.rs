//! Owns reading a body: counted, timed, and never longer than what was asked for.

use std::time::{Duration, Instant};

use reqwest::Response;

use super::super::remote::{FetchFailure, Port};
use super::bounds::{MAX_PIECE_BYTES, Times};
use super::fault;
use super::file::File;

/// A body of which nothing has been read.
pub(super) struct Body<'a> {
    /// The answer that it belongs to.
    pub(super) response: Response,
    /// The host that sends it, for messages.
    pub(super) host: &'a str,
    /// Which file it is.
    pub(super) file: File<'a>,
    /// How long is waited.
    pub(super) times: Times,
    /// The validator of the answer.
    pub(super) revision: Option<String>,
}

impl Body<'_> {
    /// The validator of the answer.
    pub(super) fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// All of it, when that is at most `max` bytes.
    pub(super) async fn whole(self, max: u64) -> Result<Vec<u8>, FetchFailure> {
        let too_large = |body: &Self| {
            let message = format!("{} on `{}` is larger than {max} bytes", body.file.in_words(), body.host);
            FetchFailure::new(body.file.too_large(), message)
        };
        if self.announced().is_some_and(|announced| announced > max) {
            return Err(too_large(&self));
        }
        let mut reading = Reading::new(self);
        let mut bytes = Vec::new();
        while let Some(piece) = reading.next().await? {
            if reading.received > max {
                return Err(too_large(&reading.body));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Hands it over piece by piece. A body of any other size than `size` is an error, and not one byte more than
    /// that is handed over.
    pub(super) async fn hand_over(self, size: u64, port: &mut dyn Port) -> Result<(), FetchFailure> {
        if let Some(announced) = self.announced().filter(|announced| *announced != size) {
            return Err(self.wrong_size(&format!("{announced} bytes"), size));
        }
        let mut reading = Reading::new(self);
        while let Some(piece) = reading.next().await? {
            if reading.received > size {
                return Err(reading.body.wrong_size("longer", size));
            }
            for piece in piece.chunks(MAX_PIECE_BYTES) {
                port.wasm(piece)?;
            }
        }
        if reading.received < size {
            return Err(reading.body.wrong_size(&format!("{} bytes", reading.received), size));
        }
        Ok(())
    }

    /// What the head says about the size. Only good for refusing early.
    fn announced(&self) -> Option<u64> {
        self.response.content_length()
    }

    fn wrong_size(&self, is: &str, size: u64) -> FetchFailure {
        let name = self.file.segment().unwrap_or_default();
        let name = super::head::shown(name.as_bytes());
        let message = format!("`{name}` on `{}` is {is}, and {size} bytes were signed", self.host);
        FetchFailure::new("wrong-size", message).hint("if it is being copied, it is taken when the copy is complete")
    }
}

/// A body of which a part has been read.
struct Reading<'a> {
    body: Body<'a>,
    received: u64,
    /// How long was waited for the server; what whoever takes the bytes needs is not its fault.
    waited: Duration,
}

impl<'a> Reading<'a> {
    fn new(body: Body<'a>) -> Self {
        Self { body, received: 0, waited: Duration::ZERO }
    }

    async fn next(&mut self) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, FetchFailure> {
        let times = self.body.times;
        let left = times.deadline(self.received).saturating_sub(self.waited);
        let began = Instant::now();
        let outcome = tokio::time::timeout(left.min(times.read), self.body.response.chunk()).await;
        self.waited += began.elapsed();
        let (host, what) = (self.body.host, self.body.file.in_words());
        match outcome {
            Ok(Ok(piece)) => {
                self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                Ok(piece)
            }
            Ok(Err(error)) => Err(fault::of_body(host, what, error)),
            Err(_) => Err(self.too_slow(left < times.read)),
        }
    }

    fn too_slow(&self, is_rate: bool) -> FetchFailure {
        let Body { host, file, times, .. } = &self.body;
        let why = if is_rate {
            format!("slower than {} bytes a second", times.min_bytes_per_second)
        } else {
            format!("nothing for {} ms", times.read.as_millis())
        };
        let message = format!("`{host}` sends {} too slowly: {} bytes came, {why}", file.in_words(), self.received);
        FetchFailure::new("too-slow", message)
    }
}
