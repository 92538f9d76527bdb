//! Owns `wasi:io/poll` and `wasi:io/streams`: what is ready goes on, and what is not waits as long as the guest may.
//!
//! A guest that must not wait traps with an error that says so: it would hold a thread that other components need.

use std::future::Future;

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::{poll as waiting_poll, streams as waiting_streams};

use super::super::Guest;
use super::wait::{Waits, wait};

/// Bytes that one read or skip may ask for.
const MAX_STREAM_BYTES: u64 = 64 * 1024;
/// Things that one poll may ask for.
const MAX_POLLED: usize = 1024;

/// Offers the streams of this module.
pub(super) struct Streams;

impl HasData for Streams {
    type Data<'a> = Io<'a>;
}

/// The table of streams and pollables, and whether the guest may wait for one of them.
pub(super) struct Io<'a>(&'a mut ResourceTable, Option<&'a Waits>);

pub(super) fn view(guest: &mut Guest) -> Io<'_> {
    let (view, waits) = guest.wasi_and_waits();
    Io(view.table, waits)
}

fn stream_wait<T>(waits: Option<&Waits>, future: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    wait(waits, future).unwrap_or_else(|error| Err(StreamError::Trap(error)))
}

impl poll::Host for Io<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        wasmtime::ensure!(pollables.len() <= MAX_POLLED, "at most {MAX_POLLED} pollables can be polled at a time");
        wait(self.1, waiting_poll::Host::poll(self.0, pollables))?
    }
}

impl poll::HostPollable for Io<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        wait(self.1, waiting_poll::HostPollable::ready(self.0, pollable))?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        wait(self.1, waiting_poll::HostPollable::block(self.0, pollable))?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        waiting_poll::HostPollable::drop(self.0, pollable)
    }
}

impl streams::Host for Io<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(e) => Ok(streams::StreamError::LastOperationFailed(self.0.push(e)?)),
            StreamError::Trap(e) => Err(e),
        }
    }
}

impl streams::HostInputStream for Io<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        Ok(self.0.get_mut(&stream)?.read(bounded(len))?.into())
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        Ok(stream_wait(self.1, self.0.get_mut(&stream)?.blocking_read(bounded(len)))?.into())
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        Ok(self.0.get_mut(&stream)?.skip(bounded(len))? as u64)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        Ok(stream_wait(self.1, self.0.get_mut(&stream)?.blocking_skip(bounded(len)))? as u64)
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        waiting_streams::HostInputStream::subscribe(self.0, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        wait(self.1, waiting_streams::HostInputStream::drop(self.0, stream))?
    }
}

impl streams::HostOutputStream for Io<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        Ok(self.0.get_mut(&stream)?.check_write()? as u64)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.0.get_mut(&stream)?.write(bytes.into())
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        stream_wait(self.1, waiting_streams::HostOutputStream::blocking_write_and_flush(self.0, stream, bytes))
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        stream_wait(self.1, waiting_streams::HostOutputStream::blocking_write_zeroes_and_flush(self.0, stream, len))
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        // What a stream takes at once is bounded by `check-write`; asking for more is an error there.
        self.0.get_mut(&stream)?.write_zeroes(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.0.get_mut(&stream)?.flush()
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        stream_wait(self.1, waiting_streams::HostOutputStream::blocking_flush(self.0, stream))
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
        stream_wait(self.1, waiting_streams::HostOutputStream::blocking_splice(self.0, to, from, len))
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        wait(self.1, waiting_streams::HostOutputStream::drop(self.0, stream))?
    }
}

fn bounded(len: u64) -> usize {
    usize::try_from(len.min(MAX_STREAM_BYTES)).expect("64 KiB fit everywhere")
}
