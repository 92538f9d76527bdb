//! Puts a host together: home, lock, engine, actors, reconciler.

use std::path::PathBuf;
use std::sync::Arc;

use crate::actor;
use crate::engine::{Engine, EngineConfig};
use crate::logs::Logs;
use crate::reconcile::{Parts, Reconciler, Tell};
use crate::state::Store;

use super::{HostConfig, StartError};

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
    pub events: actor::Events,
    pub socket: PathBuf,
}

/// Takes the lock and sets everything up. Nothing runs yet.
pub(super) fn open(config: &HostConfig, tell: Tell, mode: Mode) -> Result<Opened, StartError> {
    config.home.create_for_host()?;
    let store = Store::open(&config.home)?;
    let engine = Engine::new(&EngineConfig::default()).map_err(anyhow::Error::from)?;
    let logs = Logs::open(&config.home.logs_dir()).map_err(anyhow::Error::from)?;
    let (actors, events) = actor::System::start(actor::SystemConfig::new(engine.clone(), logs)).map_err(anyhow::Error::from)?;
    let reconciler = Reconciler::new(Parts {
        desired: config.desired.clone(),
        trust: config.trust.clone(),
        store,
        engine,
        actors: Arc::new(actors),
        runs: mode == Mode::Run,
        tell,
    })?;
    Ok(Opened { reconciler, events, socket: config.socket.clone() })
}
