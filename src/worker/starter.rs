//! Owns the one thread that starts workers.
//!
//! A worker asks the kernel to end it when the thread that started it ends: that is how it dies with the host.
//! So it must be a thread that ends only with the host.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

/// Starts that may wait for the thread.
const MAX_WAITING_STARTS: usize = 16;

struct Start {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

/// Starts a process whose parent, for the kernel, is a thread that lives as long as this process.
pub(super) fn start(command: Command) -> io::Result<Child> {
    static THREAD: OnceLock<Option<SyncSender<Start>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts workers is not there");
    let thread = THREAD.get_or_init(|| {
        let (sender, starts) = sync_channel::<Start>(MAX_WAITING_STARTS);
        let run = move || {
            while let Ok(Start { mut command, answer }) = starts.recv() {
                // Whoever gave up waiting drops the answer's other end; the child's pipes close with it, and it ends.
                let _ = answer.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("worker-starter".to_owned()).spawn(run).ok().map(|_| sender)
    });
    let (answer, answered) = channel();
    thread.as_ref().ok_or_else(gone)?.send(Start { command, answer }).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}
