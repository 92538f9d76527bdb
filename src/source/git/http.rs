//! Carries git's smart protocol over HTTP, with a client of our own in place of libgit2's.
//!
//! That gives what libgit2's lacks: only checked addresses are connected to, each wait has an end, redirects are judged
//! one by one, credentials go to the host of the job alone, and a private authority counts for that host only, besides
//! those of the system. OpenSSL's verdict on a certificate is final.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::{Arc, Once};

use git2::transport::{self, Service, SmartSubtransport, SmartSubtransportStream};
use reqwest::Response;

use crate::source::remote::FetchFailure;

use super::download::Reach;
use super::line::Line;

/// Largest request, in bytes: what is wanted and what is there already.
const MAX_REQUEST_BYTES: usize = 4 << 20;
/// Largest list of references, in bytes.
const MAX_ADVERTISEMENT_BYTES: u64 = 32 << 20;
/// What a server may send besides the pack, in bytes: answers while it is agreed what to send, words about progress.
const MAX_TALK_BYTES: u64 = 8 << 20;

thread_local! {
    /// The line that a connection of this thread goes over. libgit2 makes transports in the thread that connects.
    static LINE: RefCell<Option<Arc<Line>>> = const { RefCell::new(None) };
}

/// While it lives, connections of this thread go over its line.
pub(super) struct Way(());

impl Way {
    /// Finds and checks the addresses, and readies the client.
    pub(super) fn open(reach: &Reach<'_>) -> Result<Self, FetchFailure> {
        register();
        let opened = Line::open(reach)?;
        LINE.with(|line| *line.borrow_mut() = Some(Arc::new(opened)));
        Ok(Self(()))
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        LINE.with(|line| line.borrow_mut().take());
    }
}

/// Puts our transport in the place of libgit2's, once in a process.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for scheme in ["http", "https"] {
            // SAFETY: no other thread creates a transport for HTTP yet: they all come through here first. Transports of
            // other kinds are looked up in a list that this only appends to before it is first needed.
            let registered = unsafe {
                transport::register(scheme, |remote| {
                    let line = LINE.with(|line| line.borrow().clone());
                    let line = line.ok_or_else(|| git2::Error::from_str("no line is open for this connection"))?;
                    transport::Transport::smart(remote, true, Requests(line))
                })
            };
            registered.expect("nothing else registers transports");
        }
    });
}

/// The requests of one connection.
struct Requests(Arc<Line>);

impl SmartSubtransport for Requests {
    // The URL is the line's own affair: a redirect may have moved it.
    fn action(&self, _url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let (is_list, most) = match action {
            Service::UploadPackLs => (true, MAX_ADVERTISEMENT_BYTES),
            Service::UploadPack => (false, self.0.meter().limits().received_bytes.saturating_add(MAX_TALK_BYTES)),
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(git2::Error::from_str("nothing is ever pushed"));
            }
        };
        let line = Arc::clone(&self.0);
        Ok(Box::new(Exchange { line, is_list, most, request: Vec::new(), answer: None, piece: Vec::new(), at: 0 }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// One request, which is sent when the answer is asked for, and its answer.
struct Exchange {
    line: Arc<Line>,
    is_list: bool,
    /// Bytes of the answer that may still come.
    most: u64,
    request: Vec<u8>,
    answer: Option<Response>,
    piece: Vec<u8>,
    at: usize,
}

impl Exchange {
    fn next_piece(&mut self) -> Result<(), FetchFailure> {
        let answer = match &mut self.answer {
            Some(answer) => answer,
            none if self.is_list => none.insert(self.line.list()?),
            none => none.insert(self.line.ask(std::mem::take(&mut self.request))?),
        };
        self.piece = self.line.next_piece(answer)?;
        self.at = 0;
        self.most = self.most.checked_sub(self.piece.len() as u64).ok_or_else(|| {
            FetchFailure::new("repository-too-large", "the server sends more than a repository of artifacts needs")
                .hint("keep artifacts in a repository of their own, with few references")
        })?;
        Ok(())
    }
}

impl Read for Exchange {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len()
            && let Err(failure) = self.next_piece()
        {
            self.line.meter().fail(failure);
            return Err(io::Error::other("the transfer was ended"));
        }
        let part = &self.piece[self.at..];
        let taken = part.len().min(into.len());
        into[..taken].copy_from_slice(&part[..taken]);
        self.at += taken;
        Ok(taken)
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.request.len() + bytes.len() > MAX_REQUEST_BYTES {
            return Err(io::Error::other("the request is too large"));
        }
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
