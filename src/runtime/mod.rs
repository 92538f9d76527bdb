//! The door for programs that embed a host, and the one that the command line uses.
//!
//! Three steps: describe it ([`HostConfig`]), start it ([`Host::start`]), run it ([`Host::run`]).
//! A [`HostHandle`] sends messages to components meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::actor;
use crate::control::server::{Server, Shown};
use crate::home::Home;
use crate::name::InstallationName;
use crate::reconcile::notice::Notice;
use crate::reconcile::{Pass, Reconciler, Tell};
use crate::source::trust_file::TrustLocation;
use crate::status::HostStatus;

/// Least time between two commits, in milliseconds.
pub const COMMIT_INTERVAL_MS: u64 = 1_000;

/// What a host needs to know.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The per-user files.
    pub home: Home,
    /// The desired directory.
    pub desired: PathBuf,
    /// The trust policy.
    pub trust: TrustLocation,
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The trust policy can't be used.
    #[error(transparent)]
    Trust(#[from] crate::source::trust_file::TrustFileError),
    /// The state can't be opened: another host runs, or the directory is not fit.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl StartError {
    /// Whether home, policy or settings are at fault.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Trust(error) => Some(error.hint()),
            Self::State(_) | Self::Other(_) => None,
        }
    }
}

/// How a host ended.
#[derive(Debug, Clone, Copy)]
pub struct StopReport {
    /// Components that were stopped.
    pub stopped: usize,
    /// Messages that were still waiting when their time was over.
    pub undelivered: u64,
    /// How long it took.
    pub took: Duration,
}

/// A host: the loop, the actors and the control socket of one home.
pub struct Host {
    rounds: Rounds,
    events: actor::Events,
    server: Server,
    shared: Arc<Shared>,
    tell: Tell,
}

/// What the loop works with; it goes to a blocking thread for each pass and comes back.
struct Rounds {
    reconciler: Reconciler,
    watcher: Watcher,
    wake: Wake,
}

/// Sends messages to the components of a running host.
#[derive(Clone)]
pub struct HostHandle {
    shared: Arc<Shared>,
}

impl HostHandle {
    /// What the host says of itself and of its components.
    pub fn status(&self) -> HostStatus {
        self.shared.status()
    }

    /// Delivers one message and waits for the component's reply. Blocks.
    pub fn request(&self, name: &InstallationName, payload: Vec<u8>, timeout: Duration) -> Result<Option<Vec<u8>>, actor::CallError> {
        self.shared.actors.request_from_host(name, payload, timeout)
    }
}

impl Host {
    /// Locks the home, starts what was committed, and binds the control socket.
    pub async fn start(config: HostConfig, tell: Tell) -> Result<Self, StartError> {
        let told = tell.clone();
        blocking(move || Self::start_blocking(&config, told)).await
    }

    fn start_blocking(config: &HostConfig, tell: Tell) -> Result<Self, StartError> {
        let opened = open(config, tell.clone(), Mode::Run)?;
        let mut reconciler = opened.reconciler;
        let server = Server::bind(&opened.socket).map_err(|error| {
            anyhow::Error::new(error).context(format!("the control socket {} can't be bound", opened.socket.display()))
        })?;
        let (watcher, wake) = Watcher::open(&config.desired, jitter_permille());
        tell(&Notice::Info { text: opening_line(config, &reconciler) });
        reconciler.start_committed();
        let shared = Arc::new(Shared::new(config, &reconciler));
        Ok(Self { rounds: Rounds { reconciler, watcher, wake }, events: opened.events, server, shared, tell })
    }

    /// A handle that stays valid while the host runs.
    pub fn handle(&self) -> HostHandle {
        HostHandle { shared: self.shared.clone() }
    }

    /// Keeps the running set equal to the desired directory until `stop` becomes true, then drains and stops.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> anyhow::Result<StopReport> {
        let Self { mut rounds, mut events, server, shared, tell } = self;
        let status = shared.clone();
        let shown = Shown { status: Arc::new(move || status.status()), logs: shared.logs.clone() };
        let served = tokio::spawn(server.serve(shown, stop.clone()));
        let mut convergence = Convergence::default();
        let mut cause = "start".to_owned();
        while !*stop.borrow() {
            let begun = Instant::now();
            let (back, passed) = blocking(move || Ok::<_, anyhow::Error>(rounds.one(&cause))).await?;
            rounds = back;
            let committed = match passed {
                Ok(pass) => {
                    convergence.tell(&pass, &rounds.reconciler, &tell);
                    rounds.wake.look_again_after(pass.look_again_in);
                    let committed = pass.committed;
                    shared.publish(pass, &rounds);
                    committed
                }
                Err(error) => {
                    let why = Refusal::new("pass-failed", format!("{error:#}"));
                    tell(&Notice::Problem { why: why.hint("what runs goes on; the next pass tries again") });
                    rounds.wake.look_again_after(Some(Duration::from_millis(FAILED_PASS_WAIT_MS)));
                    false
                }
            };
            if committed {
                let rest = Duration::from_millis(COMMIT_INTERVAL_MS).saturating_sub(begun.elapsed());
                tokio::select! {
                    // Cancel-safe: a timer.
                    () = tokio::time::sleep(rest) => {}
                    // Cancel-safe: `watch` keeps the value.
                    _ = stop.wait_for(|stop| *stop) => break,
                }
            }
            cause = next_cause(&mut rounds.wake, &mut events, &mut stop, &tell).await;
        }
        let begun = Instant::now();
        let actors = shared.actors.clone();
        let report = blocking(move || Ok::<_, anyhow::Error>(actors.stop_all())).await?;
        let _ = served.await;
        Ok(StopReport { stopped: report.stopped, undelivered: report.undelivered, took: begun.elapsed() })
    }
}

impl Rounds {
    /// One pass, and the watcher told what to watch from now on.
    fn one(mut self, cause: &str) -> (Self, anyhow::Result<Pass>) {
        self.watcher.refresh();
        let times = self.watcher.file_times();
        let wake = &mut self.wake;
        let passed = self.reconciler.pass(cause, times, &mut || wake.take_completed());
        if let Some(directories) = self.reconciler.changed_source_directories() {
            self.watcher.set_artifact_dirs(&directories);
        }
        drop(self.wake.take_touched());
        (self, passed)
    }
}

/// Waits for a reason to look: an event, the interval, an actor that ended, or the stop.
async fn next_cause(
    wake: &mut Wake,
    events: &mut actor::Events,
    stop: &mut watch::Receiver<bool>,
    tell: &Tell,
) -> String {
    loop {
        tokio::select! {
            // Cancel-safe: `Wake::next` keeps what it has seen until it returns.
            cause = wake.next() => return cause.to_string(),
            // Cancel-safe: a channel's `recv`.
            event = events.next() => {
                tell(&notice(&event));
                if event.asks_for_a_pass() {
                    return format!("{} {}", event.name, event.what());
                }
            }
            // Cancel-safe: `watch` keeps the value.
            _ = stop.wait_for(|stop| *stop) => return "stop".to_owned(),
        }
    }
}

/// One pass while no host runs: what is new is tried, then committed. The next start runs it.
pub fn apply_once(config: HostConfig, tell: Tell) -> Result<Pass, StartError> {
    let mut reconciler = open(&config, tell, Mode::ApplyOnce)?.reconciler;
    Ok(reconciler.pass_settled()?)
}
