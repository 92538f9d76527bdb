//! Owns what can be asked of the host's loop, by whom, and the queue on the way there.
//!
//! The queue is short and never waits: a host that is asked more than it gets done says so.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::documents::{ApplyBody, RollbackBody};
use super::peer::Asker;
use super::{MAX_WAITING_REQUESTS, REQUEST_TIMEOUT_MS};
use crate::name::InstallationName;
use crate::resolution::Refusal;

/// What can be asked of the loop. It is carried out between two passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Look now, at everything: files, policy, sources, and what waits for another attempt. Answered after the pass.
    Sync {
        /// Whether it is answered only when what had to be fetched for it is here, and after the passes that followed;
        /// at most [`MAX_SYNC_WAIT_MS`](super::MAX_SYNC_WAIT_MS) later.
        wait: bool,
    },
    /// Carry out nothing from now on: for one installation, or at all.
    Pause(Option<InstallationName>),
    /// Lift what holds an installation back, or the pause of everything.
    Resume(Option<InstallationName>),
    /// Remove what is not kept, or only say what that is.
    Gc {
        /// Only say it.
        dry_run: bool,
    },
    /// The plan that would be carried out now.
    Plan,
    /// A pass now. Answered after it.
    Apply(ApplyBody),
    /// Go back to an earlier generation, or say what that would do.
    Rollback(RollbackBody),
}

impl Request {
    /// The word for it, as in the path.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sync { .. } => "sync",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Gc { .. } => "gc",
            Self::Plan => "plan",
            Self::Apply(_) => "apply",
            Self::Rollback(_) => "rollback",
        }
    }
}

/// A request with who asks and where the answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What.
    pub request: Request,
    /// Who, as the kernel says.
    pub asker: Asker,
    answer: oneshot::Sender<Answer>,
}

/// A document, or why there is none.
pub type Answer = Result<serde_json::Value, Refused>;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its kind, which decides the status code.
    pub because: Because,
    /// Code, sentence, hint.
    pub why: Refusal,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// The request says something that makes no sense.
    Malformed,
    /// There is no such thing.
    NotFound,
    /// It does not fit what there is now.
    Conflict,
    /// More than the host takes.
    TooLarge,
    /// The host has too much to do; later it may work.
    Busy,
    /// Too slow.
    TimedOut,
    /// The component refused, or ended.
    Component,
    /// The host could not do it.
    Failed,
}

impl Refused {
    /// A refusal of a kind.
    pub fn new(because: Because, why: Refusal) -> Self {
        Self { because, why }
    }
}

impl Asked {
    /// Whether nobody waits for the answer any more: then the request is not carried out either.
    pub fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    /// Sends the document. A client that is gone is no error.
    pub fn answer<D: Serialize>(self, answer: Result<D, Refused>) {
        let answer = answer.and_then(|document| {
            serde_json::to_value(document).map_err(|error| {
                let why = Refusal::new("not-serialised", format!("the answer can't be written as JSON: {error}"));
                Refused::new(Because::Failed, why)
            })
        });
        let _ = self.answer.send(answer);
    }
}

/// The sending end, for the server and for embedding programs.
#[derive(Debug, Clone)]
pub struct Inlet(mpsc::Sender<Asked>);

/// A queue of at most [`MAX_WAITING_REQUESTS`].
pub fn channel() -> (Inlet, mpsc::Receiver<Asked>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING_REQUESTS);
    (Inlet(sender), receiver)
}

impl Inlet {
    /// Asks, and waits for the answer, at most [`REQUEST_TIMEOUT_MS`]. Dropped while it waits in the queue, the request
    /// is not carried out.
    pub async fn ask(&self, request: Request, asker: Asker) -> Answer {
        let word = request.word();
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Asked { request, asker, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                let message = format!("{MAX_WAITING_REQUESTS} requests wait for the host already");
                Refused::new(Because::Busy, Refusal::new("too-many-requests", message).hint("try again in a moment"))
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        match tokio::time::timeout(Duration::from_millis(REQUEST_TIMEOUT_MS), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(stopping()),
            Err(_) => {
                let message = format!("the host did not get to `{word}` within {} s", REQUEST_TIMEOUT_MS / 1_000);
                let why = Refusal::new("too-slow", message).hint("`airssys-wasm status` shows what it does");
                Err(Refused::new(Because::TimedOut, why))
            }
        }
    }
}

fn stopping() -> Refused {
    Refused::new(Because::Busy, Refusal::new("stopping", "the host is stopping"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker() -> Asker {
        Asker { uid: 0, user: "root".to_owned() }
    }

    #[tokio::test]
    async fn one_request_more_than_the_queue_holds_is_refused_at_once_and_says_so() {
        let (inlet, mut queue) = channel();
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING_REQUESTS {
            let mut asked = Box::pin(inlet.ask(Request::Sync { wait: false }, asker()));
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(asked.as_mut().poll(cx))).await.is_pending());
            waiting.push(asked);
        }
        let refused = inlet.ask(Request::Sync { wait: false }, asker()).await.expect_err("full");
        assert_eq!((refused.because, refused.why.code.as_str()), (Because::Busy, "too-many-requests"));
        queue.recv().await.expect("one").answer(Ok("done"));
        assert_eq!(waiting.remove(0).await, Ok("done".into()));
    }

    #[tokio::test]
    async fn a_request_whose_client_is_gone_is_known_as_given_up() {
        let (inlet, mut queue) = channel();
        {
            let mut asked = Box::pin(inlet.ask(Request::Plan, asker()));
            let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(asked.as_mut().poll(cx))).await;
        }
        assert!(queue.recv().await.expect("one").is_given_up());
        drop(queue);
        assert_eq!(inlet.ask(Request::Plan, asker()).await.expect_err("closed").why.code, "stopping");
    }
}
