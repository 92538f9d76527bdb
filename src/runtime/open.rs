//! Puts a host together: home, lock, engine, actors, reconciler.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;

use crate::actor::{self, ActorEvent};
use crate::engine::{Engine, EngineConfig};
use crate::logs::Logs;
use crate::reconcile::remote::RemoteOptions;
use crate::reconcile::{Parts, Reconciler, Tell, offline, unix_now_s};
use crate::source::secret::Environment;
use crate::state::{Options, Store};
use crate::storage::{BackendKind, Storage};
use crate::worker::CompileLimits;

use super::{HostConfig, MAX_WAITING_EVENTS, StartError};

/// What the parts are put together for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A host that runs what is committed.
    Run,
    /// One pass: what is new is tried, committed, and left for the next start.
    ApplyOnce,
}

/// A host's parts before anything runs.
pub(super) struct Opened {
    pub reconciler: Reconciler,
    pub events: mpsc::Receiver<ActorEvent>,
}

/// Takes the lock and sets everything up. Nothing runs yet.
pub(super) fn open(config: &HostConfig, tell: Tell, mode: Mode) -> Result<Opened, StartError> {
    config.home.create_for_host()?;
    let options =
        Options { rebuild_floors: config.rebuild_floors, ..Options::with(unix_now_s().unsigned_abs(), &config.state) };
    let opened = Store::open(&config.home, options)?;
    let engine = Engine::new(&EngineConfig::with(&config.memory)).map_err(anyhow::Error::from)?;
    let logs = Logs::open(&config.home.logs_dir()).map_err(anyhow::Error::from)?;
    let (sender, events) = mpsc::channel(MAX_WAITING_EVENTS);
    let system = actor::SystemConfig {
        // A full channel drops the event: the loop only looks again, and what it looks at is in the status.
        events: Some(Arc::new(move |event: &ActorEvent| drop(sender.try_send(event.clone())))),
        storage: Storage::at(BackendKind::from(config.state.storage_backend), &config.home.kv_dir()),
        sleep_after: config.memory.sleep_after.duration(),
        own: vec![config.home.root().to_owned()],
        ..actor::SystemConfig::new(engine.clone(), logs)
    };
    let actors = Arc::new(actor::System::start(system).map_err(anyhow::Error::from)?);
    let reconciler = Reconciler::new(opened, |store| Parts {
        desired: config.desired.clone(),
        from_git: config.from_git.clone(),
        trust: config.trust.clone(),
        store,
        engine,
        actors,
        runs: mode == Mode::Run,
        workers: config.workers.clone(),
        remote: RemoteOptions { home: config.home.clone(), settings: config.sources.clone(), offline: config.offline },
        compile_limits: CompileLimits::default(),
        keep: config.state,
        secrets: offline::secret_places(
            &config.home,
            config.from_git.is_none().then_some(&*config.desired),
            &config.secrets,
            Environment::Own,
        ),
        tell,
        stopping: Arc::new(AtomicBool::new(false)),
    })?;
    Ok(Opened { reconciler, events })
}
