//! Owns who is at the other end of a connection: the user that the kernel names, and nobody's own word.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The user's number, from the kernel.
    pub uid: u32,
    /// Its name on this machine, or `uid-N`.
    pub user: String,
}

impl Asker {
    /// The user with this number.
    pub fn of_uid(uid: u32) -> Self {
        Self { uid, user: crate::user::operator(uid).user }
    }
}

/// The other end of a connection, for those who have nothing to read or write: reading tells nobody of an end before which
/// bytes wait that nobody asked for.
#[derive(Clone)]
pub(super) struct OtherEnd(Arc<OwnedFd>);

impl OtherEnd {
    /// Of this stream.
    pub(super) fn of(stream: &impl AsFd) -> io::Result<Self> {
        Ok(Self(Arc::new(stream.as_fd().try_clone_to_owned()?)))
    }

    /// Whether it is closed. Who only sends no more still reads.
    pub(super) fn is_gone(&self) -> bool {
        let mut polled = [PollFd::new(&*self.0, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_end_is_gone_when_it_is_closed_and_not_when_it_only_sends_no_more() {
        let (own, mut other) = UnixStream::pair().unwrap();
        let end = OtherEnd::of(&own).unwrap();
        other.write_all(b"waits").unwrap();
        assert!(!end.is_gone());
        other.shutdown(Shutdown::Write).unwrap();
        assert!(!end.is_gone());
        drop(other);
        assert!(end.is_gone());
    }
}
