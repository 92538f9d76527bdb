//! Owns how a sender is told that its messages wait outside full mailboxes no more.

use std::sync::Weak;

use super::cell::{ActorCell, Control};
use super::core::Job;
use super::scheduler::Entrance;

/// What the messages of one call hold that wait outside. Its end tells the sender that it may go on.
pub(super) struct Ticket {
    sender: Weak<ActorCell>,
    jobs: Entrance<Job>,
}

impl Ticket {
    pub(super) fn new(sender: Weak<ActorCell>, jobs: Entrance<Job>) -> Self {
        Self { sender, jobs }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(sender) = self.sender.upgrade() else { return };
        if sender.mailbox.control(Control::Look) {
            self.jobs.submit(Job::Actor(sender));
        }
    }
}
