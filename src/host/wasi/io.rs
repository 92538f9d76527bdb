//! Owns `wasi:io/poll` and `wasi:io/streams` for guests that must not wait.
//!
//! Whatever is ready goes on; whatever would wait traps with an error that says so. A guest that waited
//! would hold a thread that other components need.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::{poll as waiting_poll, streams as waiting_streams};

use super::super::Guest;

/// Bytes that one read or skip may ask for.
const MAX_STREAM_BYTES: u64 = 64 * 1024;
/// Things that one poll may ask for.
const MAX_POLLED: usize = 1024;

/// The guest asked to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the component tried to wait (sleep or poll), but it was linked without waiting: it has no fs, net or http grant, \
     so nothing it could wait for can happen; a component that must act later asks for a [[trigger]] in its desired file"
)]
pub(crate) struct WouldWait;

/// Offers the streams of this module.
pub(super) struct Quiet;

impl HasData for Quiet {
    type Data<'a> = QuietIo<'a>;
}

/// The table of streams and pollables.
pub(super) struct QuietIo<'a>(&'a mut ResourceTable);

pub(super) fn view(guest: &mut Guest) -> QuietIo<'_> {
    QuietIo(guest.ctx().table)
}

/// The future's value if it has one without waiting.
fn at_once<T>(future: impl Future<Output = T>) -> Result<T, WouldWait> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(WouldWait),
    }
}

fn stream_at_once<T>(future: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    at_once(future).unwrap_or_else(|e| Err(StreamError::Trap(e.into())))
}

impl poll::Host for QuietIo<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        wasmtime::ensure!(pollables.len() <= MAX_POLLED, "at most {MAX_POLLED} pollables can be polled at a time");
        at_once(waiting_poll::Host::poll(self.0, pollables))?
    }
}

impl poll::HostPollable for QuietIo<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        at_once(waiting_poll::HostPollable::ready(self.0, pollable))?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        at_once(waiting_poll::HostPollable::block(self.0, pollable))?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        waiting_poll::HostPollable::drop(self.0, pollable)
    }
}

impl streams::Host for QuietIo<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(e) => Ok(streams::StreamError::LastOperationFailed(self.0.push(e)?)),
            StreamError::Trap(e) => Err(e),
        }
    }
}

impl streams::HostInputStream for QuietIo<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        Ok(self.0.get_mut(&stream)?.read(bounded(len))?.into())
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        Ok(stream_at_once(self.0.get_mut(&stream)?.blocking_read(bounded(len)))?.into())
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        Ok(self.0.get_mut(&stream)?.skip(bounded(len))? as u64)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        Ok(stream_at_once(self.0.get_mut(&stream)?.blocking_skip(bounded(len)))? as u64)
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        waiting_streams::HostInputStream::subscribe(self.0, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        at_once(waiting_streams::HostInputStream::drop(self.0, stream))?
    }
}

impl streams::HostOutputStream for QuietIo<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        Ok(self.0.get_mut(&stream)?.check_write()? as u64)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.0.get_mut(&stream)?.write(bytes.into())
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        stream_at_once(waiting_streams::HostOutputStream::blocking_write_and_flush(self.0, stream, bytes))
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        stream_at_once(waiting_streams::HostOutputStream::blocking_write_zeroes_and_flush(self.0, stream, len))
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        // What a stream takes at once is bounded by `check-write`; asking for more is an error there.
        self.0.get_mut(&stream)?.write_zeroes(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.0.get_mut(&stream)?.flush()
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        stream_at_once(waiting_streams::HostOutputStream::blocking_flush(self.0, stream))
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        waiting_streams::HostOutputStream::subscribe(self.0, stream)
    }

    fn splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        waiting_streams::HostOutputStream::splice(self.0, to, from, len.min(MAX_STREAM_BYTES))
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let len = len.min(MAX_STREAM_BYTES);
        stream_at_once(waiting_streams::HostOutputStream::blocking_splice(self.0, to, from, len))
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        at_once(waiting_streams::HostOutputStream::drop(self.0, stream))?
    }
}

fn bounded(len: u64) -> usize {
    usize::try_from(len.min(MAX_STREAM_BYTES)).expect("64 KiB fit everywhere")
}
