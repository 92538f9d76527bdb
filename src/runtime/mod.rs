//! The door for programs that embed a host, and the one that the command line uses.
//!
//! Three steps: describe it ([`HostConfig`]), start it ([`Host::start`]), run it ([`Host::run`]).
//! A [`HostHandle`] sends messages to components meanwhile.

mod answers;
mod board;
mod config;
mod dead_letters;
mod open;
mod pulse;
mod recording;
mod requests;
mod telling;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

use crate::actor::{self, ActorChange, ActorEvent};
use crate::codec::Payload;
use crate::control::documents::PausedDocument;
use crate::control::peer::Asker;
use crate::control::request::{self, Answer, Asked, Inlet, Request};
use crate::control::server::{Server, Shown};
use crate::home::{Home, HomeError};
use crate::name::{InstallationName, OperationName};
use crate::plan::approval::Operator;
use crate::plan::rollback::document::RollbackDocument;
use crate::reconcile::notice::Notice;
use crate::reconcile::order::ApplyOrder;
use crate::reconcile::rollback::{RollbackOrder, WentBack};
use crate::reconcile::{Lifted, Pass, Reconciler, Tell};
use crate::resolution::Refusal;
use crate::status::HostStatus;
use crate::watch::{Wake, Watcher};

pub use config::{HostConfig, StartError};
pub use pulse::{MAX_QUIET_PASS_MS, MAX_QUIET_REST_MS, Passed, Pulse};

use board::Shared;
use open::Mode;
use requests::Turn;
use telling::Convergence;
use waiting::Waiting;

/// Least time between two commits, in milliseconds.
pub const COMMIT_INTERVAL_MS: u64 = 1_000;
/// Wait before the next pass when one could not be carried out, in milliseconds.
const FAILED_PASS_WAIT_MS: u64 = 5_000;
/// Events of actors that wait for the loop; further ones are only in the actors' status.
const MAX_WAITING_EVENTS: usize = 1_024;
/// Longest time that all components together may take to stop, in milliseconds.
pub const STOP_ALL_MS: u64 = 30_000;

/// How a host ended.
#[derive(Debug, Clone, Copy)]
pub struct StopReport {
    /// Components that were stopped.
    pub stopped: usize,
    /// Messages that were still waiting when their time was over.
    pub undelivered: u64,
    /// Whether all of them ended by themselves in time.
    pub in_time: bool,
    /// How long it took.
    pub took: Duration,
}

/// A host: the loop, the actors and the control socket of one home.
pub struct Host {
    rounds: Rounds,
    events: mpsc::Receiver<ActorEvent>,
    server: Server,
    shared: Arc<Shared>,
    inlet: Inlet,
    asked: mpsc::Receiver<Asked>,
    pulse: Arc<Pulse>,
    tell: Tell,
}

/// What the loop works with; it goes to a blocking thread for each pass and comes back.
struct Rounds {
    reconciler: Reconciler,
    watcher: Watcher,
    wake: Wake,
    trust_directory: Option<PathBuf>,
    /// Who waits for what is being fetched or compiled.
    waiting: Waiting,
}

/// Sends messages to the components of a running host.
#[derive(Clone)]
pub struct HostHandle {
    shared: Arc<Shared>,
    inlet: Inlet,
    pulse: Arc<Pulse>,
}

impl HostHandle {
    /// What the host says of itself and of its components.
    pub fn status(&self) -> HostStatus {
        self.shared.status()
    }

    /// The signs of life of the loop.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Asks the loop, in the name of this process's user.
    pub async fn ask(&self, request: Request) -> Answer {
        self.inlet.ask(request, Asker::of_uid(rustix::process::geteuid().as_raw())).await
    }

    /// Delivers one message and waits for the component's reply. Blocks. Bytes alone are raw.
    pub fn request(&self, name: &InstallationName, payload: impl Into<Payload>, timeout: Duration) -> actor::Reply {
        self.shared.actors.request_from_host(name, payload, timeout)
    }

    /// Calls an operation of a component and waits for its result. Blocks. Bytes alone are raw.
    pub fn execute(
        &self,
        name: &InstallationName,
        operation: &OperationName,
        input: impl Into<Payload>,
        timeout: Duration,
    ) -> actor::Reply {
        self.shared.actors.execute(name, operation, input, timeout)
    }
}

impl Host {
    /// Locks the home, starts what was committed, and binds the control socket.
    pub async fn start(config: HostConfig, tell: Tell) -> Result<Self, StartError> {
        let pulse = Arc::new(Pulse::default());
        let beating = pulse.clone();
        // Whatever is told was done. What hangs in the telling is stuck.
        let tell: Tell = Arc::new(move |notice| {
            tell(notice);
            beating.beat();
        });
        blocking(move || Self::start_blocking(&config, tell, pulse)).await
    }

    fn start_blocking(config: &HostConfig, tell: Tell, pulse: Arc<Pulse>) -> Result<Self, StartError> {
        let opened = open::open(config, tell.clone(), Mode::Run)?;
        let mut reconciler = opened.reconciler;
        let server = bind(&config.home)?;
        let trust_directory = config.trust.path().parent().map(PathBuf::from);
        let (watcher, wake) = Watcher::open(&config.desired, jitter_permille());
        tell(&Notice::Info { text: telling::opening_line(config, &reconciler) });
        let running = reconciler.start_committed();
        let started = recording::started(running, reconciler.committed().records.len());
        // What can't be written is told by the first record that must be.
        let _ = reconciler.audit_sink().record(vec![started]).wait();
        let shared = Arc::new(Shared::new(config, &reconciler));
        let (inlet, asked) = request::channel();
        Ok(Self {
            rounds: Rounds { reconciler, watcher, wake, trust_directory, waiting: Waiting::default() },
            events: opened.events,
            server,
            shared,
            inlet,
            asked,
            pulse,
            tell,
        })
    }

    /// A handle that stays valid while the host runs.
    pub fn handle(&self) -> HostHandle {
        HostHandle { shared: self.shared.clone(), inlet: self.inlet.clone(), pulse: self.pulse.clone() }
    }

    /// Keeps the running set equal to the desired directory until `stop` becomes true, then drains and stops.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> anyhow::Result<StopReport> {
        let Self { mut rounds, mut events, server, shared, inlet, mut asked, pulse, tell } = self;
        let (status, info, call) = (shared.clone(), shared.clone(), shared.clone());
        let shown = Shown {
            info: Arc::new(move |name| info.info(name)),
            call: Arc::new(move |name, operation, codec, bytes, timeout| {
                call.call(name, operation, codec, bytes, timeout)
            }),
            status: Arc::new(move || status.status()),
            logs: shared.logs.clone(),
            dead_letters: shared.clone(),
            inlet,
        };
        let served = tokio::spawn(server.serve(shown, stop.clone()));
        tokio::spawn(give_up_on_stop(stop.clone(), rounds.reconciler.stopping().clone()));
        let sink = rounds.reconciler.audit_sink();
        let recording = tokio::spawn(recording::denials(shared.actors.clone(), sink.clone(), stop.clone()));
        let fetched = Arc::new(Notify::new());
        let news = fetched.clone();
        if let Some(snapshots) = rounds.reconciler.snapshots() {
            let news = fetched.clone();
            snapshots.on_change(Arc::new(move || news.notify_one()));
        }
        rounds.reconciler.remote().on_change(Arc::new(move || news.notify_one()));
        let news = fetched.clone();
        rounds.reconciler.on_compiled(Arc::new(move || news.notify_one()));
        let mut convergence = Convergence::default();
        let mut turn = Turn::new("start");
        // Whoever gives up the other end wants no host any more.
        while !*stop.borrow() && stop.has_changed().is_ok() {
            let begun = Instant::now();
            let board = shared.clone();
            let told = tell.clone();
            let round = blocking(move || Ok::<_, anyhow::Error>(rounds.turn(turn, &board, &told))).await?;
            let (back, passed) = round;
            rounds = back;
            let committed = match passed {
                // Only questions were asked.
                None => false,
                Some(Ok(pass)) => {
                    convergence.tell(&pass, &rounds.reconciler, &tell);
                    rounds.wake.look_again_after(pass.look_again_in);
                    let committed = pass.committed;
                    shared.publish(pass, &rounds);
                    committed
                }
                Some(Err(error)) => {
                    let why = Refusal::new("pass-failed", format!("{error:#}"));
                    let why = why.hint("what runs goes on; the next pass tries again");
                    tell(&Notice::Problem { why: why.clone() });
                    shared.publish_failed(&why, &rounds);
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
            pulse.passed(shared.line());
            let deadline = rounds.waiting.next_deadline();
            turn = tokio::select! {
                // Cancel-safe: it only beats.
                never = pulse.rest() => match never {},
                // Nothing is lost: the other arm never ends.
                turn = next_turn(&mut rounds.wake, &mut events, &mut asked, &fetched, &mut stop, deadline, &tell) => turn,
            };
        }
        let begun = Instant::now();
        // Held until the actors ended: the watcher and what else there is goes when the host does.
        let _rounds = blocking(move || {
            rounds.reconciler.end_compiling();
            Ok::<_, anyhow::Error>(rounds)
        })
        .await?;
        let actors = shared.actors.clone();
        let (running, in_time, undelivered) = blocking(move || {
            let running = actors.phases().len();
            let in_time = actors.stop_all(Duration::from_millis(STOP_ALL_MS));
            let undelivered = actors.statuses().iter().map(|status| status.mailbox_messages).sum();
            Ok::<_, anyhow::Error>((running, in_time, undelivered))
        })
        .await?;
        let _ = recording.await;
        let _ = sink.record(recording::stopped(&shared.actors, running, in_time)).await;
        let _ = served.await;
        Ok(StopReport { stopped: running, undelivered, in_time, took: begun.elapsed() })
    }
}

impl Rounds {
    /// One pass, and the watcher told what to watch from now on.
    fn one(mut self, cause: &str, order: Option<&ApplyOrder>) -> (Self, anyhow::Result<Pass>) {
        self.watcher.refresh();
        let times = self.watcher.file_times();
        let wake = &mut self.wake;
        let passed = self.reconciler.ordered_pass(cause, times, &mut || wake.take_completed(), order);
        if let Some(mut directories) = self.reconciler.changed_source_directories() {
            // A key that is revoked must not wait for the next full list.
            directories.extend(self.trust_directory.clone());
            directories.extend(self.reconciler.secret_directories());
            self.watcher.set_artifact_dirs(&directories);
        }
        self.wake.set_has_links(self.reconciler.has_links());
        // What was touched is found by identity: a pass looks at the files of every source anyway.
        drop(self.wake.take_touched());
        self.reconciler.collect_garbage();
        (self, passed)
    }
}

/// Lets a pass that is under way end soon once the host is to stop.
async fn give_up_on_stop(mut stop: watch::Receiver<bool>, stopping: Arc<AtomicBool>) {
    let _ = stop.wait_for(|stop| *stop).await;
    stopping.store(true, Ordering::Relaxed);
}

/// Waits for a reason to look: an event, the interval, an actor that ended, a request, or the stop.
async fn next_turn(
    wake: &mut Wake,
    events: &mut mpsc::Receiver<ActorEvent>,
    asked: &mut mpsc::Receiver<Asked>,
    fetched: &Notify,
    stop: &mut watch::Receiver<bool>,
    deadline: Option<Instant>,
    tell: &Tell,
) -> Turn {
    let waited_enough = async {
        match deadline {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Cancel-safe: `Wake::next` keeps what it has seen until it returns.
        cause = wake.next() => Turn::new(cause.to_string()),
        // Cancel-safe: a channel's `recv`. The sender lives as long as the actors do.
        Some(event) = events.recv() => {
            tell(&telling::notice(&event));
            // Three exits may have sent a new version back; a recovery changes what converged means.
            let what = match event.what {
                ActorChange::Crashed(_) => "crashed",
                ActorChange::Failed(_) => "failed",
                ActorChange::Recovered => "recovered",
                ActorChange::Healthy => "is healthy",
                ActorChange::Degraded(_) => "is degraded",
                ActorChange::Unhealthy(_) => "is unhealthy",
            };
            Turn::new(format!("{} {what}", event.name))
        }
        // Cancel-safe: `watch` keeps the value.
        _ = stop.wait_for(|stop| *stop) => Turn::new("stop"),
        // Cancel-safe: `Notify` stores one permit.
        () = fetched.notified() => Turn::new("a source was fetched, or code was compiled"),
        // Cancel-safe: a timer.
        () = waited_enough => Turn::new("a sync waited long enough"),
        // Cancel-safe: a channel's `recv`. The server keeps a sender as long as it serves.
        Some(first) = asked.recv() => Turn::of(first, asked),
    }
}

/// One pass while no host runs: what is new is tried, then committed. The next start runs it.
pub fn apply_once(config: HostConfig, tell: Tell, order: &ApplyOrder) -> Result<Pass, StartError> {
    let mut reconciler = open::open(&config, tell, Mode::ApplyOnce)?.reconciler;
    let mut pass = reconciler.pass_settled(Some(order))?;
    pass.problems.extend(reconciler.finish_purges());
    Ok(pass)
}

/// Goes back to an earlier generation while no host runs. The next start runs what was committed.
pub fn roll_back_once(config: HostConfig, tell: Tell, order: &RollbackOrder) -> Result<RollbackDocument, StartError> {
    let mut reconciler = open::open(&config, tell, Mode::ApplyOnce)?.reconciler;
    match reconciler.roll_back(order)? {
        WentBack::Is(document) => Ok(document),
        WentBack::WaitsForCode(_) => {
            Err(anyhow::anyhow!("without a host nothing is compiled beside a rollback").into())
        }
    }
}

/// Lifts what holds an installation back, or the pause of everything, while no host runs.
pub fn resume_once(
    config: HostConfig,
    tell: Tell,
    name: Option<&InstallationName>,
    by: &Operator,
) -> Result<PausedDocument, StartError> {
    let mut reconciler = open::open(&config, tell, Mode::ApplyOnce)?.reconciler;
    let Lifted { pause, hold } = reconciler.resume_once(name, by).map_err(anyhow::Error::from)?;
    Ok(PausedDocument::of(reconciler.paused(), pause || hold, hold))
}

/// Binds the control socket at the first place where it can be.
fn bind(home: &Home) -> Result<Server, StartError> {
    let mut last = None;
    for path in socket_candidates(home)? {
        let bound = Home::create_socket_dir(&path).map_err(anyhow::Error::from).and_then(|()| Ok(Server::bind(&path)?));
        match bound {
            Ok(server) => return Ok(server),
            Err(error) => last = Some(error.context(format!("the control socket {} can't be bound", path.display()))),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("there is no place for a control socket")).into())
}

/// Where the control socket of a home may be, for hosts and clients.
pub fn socket_candidates(home: &Home) -> Result<Vec<PathBuf>, HomeError> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    home.socket_candidates(runtime_dir.as_deref(), &std::env::temp_dir())
}

/// Runs what blocks on a thread that may.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<anyhow::Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(anyhow::Error::new(error).context("a part of the host panicked").into()),
    }
}

/// Up to ten percent either way, so that hosts of one kind do not look at shared directories in step.
fn jitter_permille() -> i16 {
    i16::try_from(getrandom::u32().unwrap_or(0) % 201).unwrap_or(100) - 100
}
