//! What the control socket shows: the last pass, and the actors as they are at this moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::actor::{self, ActorPhase};
use crate::codec::Codec;
use crate::engine::{Engine, threads};
use crate::name::InstallationName;
use crate::observed::quarantine::Quarantined;
use crate::paused::Paused;
use crate::plan::action::{Action, Kind};
use crate::reconcile::observe::{Committed, Targeted};
use crate::reconcile::remote::Remote;
use crate::reconcile::repository::{RepositoryView, Snapshots};
use crate::reconcile::room::map_room;
use crate::reconcile::{Pass, Reconciler, offline, why_not};
use crate::resolution::Refusal;
use crate::snapshot::AppliedCommit;
use crate::status::text::span;
use crate::status::{
    ActorCounters, CodecCount, ComponentState, ComponentStatus, HealthReport, HostProcess, HostStatus, MessageCounters,
    Note, ObservedGrant, PassSummary, RequestCounters, STATUS_TYPE,
};

use crate::watch::{POLL_INTERVAL, WatchMode};

use super::{HostConfig, Rounds};

/// What the control socket and the loop both look at.
pub(super) struct Shared {
    pub actors: Arc<actor::System>,
    pub logs: PathBuf,
    remote: Arc<Remote>,
    engine: Engine,
    desired: String,
    repository: Option<RepositoryView>,
    workers: &'static str,
    started: Instant,
    pub(super) board: Mutex<Board>,
}

/// The result of the last pass.
#[derive(Default)]
pub(super) struct Board {
    pub(super) generation: u64,
    pub(super) records: BTreeMap<InstallationName, Targeted>,
    pub(super) storage_ids: BTreeMap<InstallationName, u64>,
    applied_commit: Option<AppliedCommit>,
    trust: String,
    watch: String,
    notes: BTreeMap<InstallationName, Note>,
    paused: Paused,
    quarantined: Quarantined,
    problems: Vec<Refusal>,
    last_pass: Option<(PassSummary, Instant)>,
}

impl Shared {
    pub fn new(config: &HostConfig, reconciler: &Reconciler) -> Self {
        let committed = reconciler.committed();
        let board = Board {
            generation: committed.generation.number,
            records: committed.records.clone(),
            storage_ids: storage_ids(committed),
            applied_commit: committed.generation.applied_commit.clone(),
            trust: reconciler.trust_shown().to_owned(),
            paused: reconciler.paused().clone(),
            quarantined: reconciler.quarantined().clone(),
            ..Board::default()
        };
        Self {
            actors: reconciler.actors().clone(),
            logs: config.home.logs_dir(),
            remote: reconciler.remote().clone(),
            engine: reconciler.engine().clone(),
            desired: config.desired_shown(),
            repository: reconciler.snapshots().map(Snapshots::view),
            workers: config.workers.text(),
            started: Instant::now(),
            board: Mutex::new(board),
        }
    }

    /// Puts the result of a pass on the board.
    pub fn publish(&self, pass: Pass, rounds: &Rounds) {
        let committed = rounds.reconciler.committed();
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.generation != committed.generation.number {
            board.generation = committed.generation.number;
            board.records.clone_from(&committed.records);
            board.storage_ids = storage_ids(committed);
            board.applied_commit.clone_from(&committed.generation.applied_commit);
        }
        board.trust = rounds.reconciler.trust_shown().to_owned();
        board.quarantined.clone_from(rounds.reconciler.quarantined());
        board.watch = match &self.repository {
            Some(repository) => repository.watch_text(),
            None => watch_text(rounds.watcher.mode()),
        };
        board.notes = pass.plan.actions.iter().filter_map(note).collect();
        board.notes.extend(pass.waiting.into_iter().map(|(name, (why, wait))| {
            let message = format!("{}; the next try is in {}", why.message, span(millis(wait)));
            let why = Refusal { message, ..why };
            (name, Note { kind: "failed".to_owned(), location: None, why })
        }));
        board.notes.extend(pass.put_off.into_iter().map(|(name, why)| {
            let note = Note { kind: "compiling".to_owned(), location: None, why };
            (name, note)
        }));
        board.problems = pass.problems;
        board.last_pass = Some((pass.summary, Instant::now()));
    }

    /// Puts on the board that a pass could not be carried out.
    pub fn publish_failed(&self, why: &Refusal, rounds: &Rounds) {
        let committed = rounds.reconciler.committed();
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.generation = committed.generation.number;
        board.records.clone_from(&committed.records);
        board.storage_ids = storage_ids(committed);
        board.applied_commit.clone_from(&committed.generation.applied_commit);
        board.problems = vec![why.clone()];
        if let Some((summary, _)) = &mut board.last_pass {
            summary.converged = false;
        }
    }

    /// Shows at once what is paused.
    pub fn publish_paused(&self, paused: &Paused) {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).paused.clone_from(paused);
    }

    /// How things are, in one line.
    pub fn line(&self) -> String {
        let status = self.status();
        let running = status.components.iter().filter(|c| c.state == ComponentState::Running).count();
        let held = status.components.iter().filter(|c| c.held.is_some()).count();
        let held = if held == 0 { String::new() } else { format!(", {held} held or blocked") };
        let paused = if status.paused.is_some() { ", paused" } else { "" };
        let problems = match status.problems.len() {
            0 => String::new(),
            n => format!(", {n} problems"),
        };
        let of = status.components.len();
        format!("{running} of {of} running{held}{problems}{paused}, generation {}", status.generation)
    }

    /// The status document of this moment.
    pub fn status(&self) -> HostStatus {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let mut components: BTreeMap<&InstallationName, ComponentStatus> =
            board.records.iter().map(|(name, targeted)| (name, self.component(&board, name, targeted))).collect();
        for (name, note) in &board.notes {
            let component = components.entry(name).or_insert_with(|| ComponentStatus {
                name: name.to_string(),
                state: ComponentState::Missing,
                installed: None,
                actor: None,
                paused: None,
                source: None,
                held: None,
            });
            component.held = Some(note.clone());
        }
        for (name, by) in &board.paused.names {
            if let Some(component) = components.get_mut(name) {
                component.paused = Some(by.clone());
            }
        }
        for (name, component) in &mut components {
            component.source = self.remote.status(name);
        }
        let last_pass = board
            .last_pass
            .as_ref()
            .map(|(summary, ended)| PassSummary { ended_ms_ago: millis(ended.elapsed()), ..summary.clone() });
        let budget = self.engine.memory_budget();
        let enabled = board.records.values().filter(|targeted| targeted.record.spec.enabled);
        let promised = enabled.map(|targeted| targeted.record.limits.memory.0);
        let maps = map_room();
        HostStatus {
            document: STATUS_TYPE.to_owned(),
            host: Some(HostProcess {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_ms: millis(self.started.elapsed()),
                watch: board.watch.clone(),
                workers: self.workers.to_owned(),
                memory_used_bytes: budget.used_bytes(),
                memory_budget_bytes: budget.limit_bytes(),
                memory_overcommit: self.engine.memory_room().overcommits,
                instances: promised.clone().count() as u64,
                memory_promised_bytes: promised.sum(),
                maps_used: maps.map(|maps| maps.used),
                maps_max: maps.map(|maps| maps.max),
                threads_used: threads::threads_in_use(),
                threads_max: threads::max_threads(),
            }),
            desired: Some(self.desired.clone()),
            from_git: self.repository.as_ref().map(|view| view.status(board.applied_commit.as_ref())),
            trust: Some(board.trust.clone()),
            generation: board.generation,
            last_pass,
            paused: board.paused.all.clone(),
            components: components.into_values().collect(),
            problems: board.problems.clone(),
        }
    }

    fn component(&self, board: &Board, name: &InstallationName, targeted: &Targeted) -> ComponentStatus {
        let status = self.actors.status(name);
        let state = match status.as_ref().map(|status| status.phase) {
            Some(ActorPhase::Running) => ComponentState::Running,
            Some(ActorPhase::Starting) => ComponentState::Starting,
            Some(ActorPhase::Backoff) => ComponentState::Backoff,
            Some(ActorPhase::Failed) => ComponentState::Failed,
            Some(ActorPhase::Stopping) => ComponentState::Stopping,
            None if board.quarantined.holds(name, &targeted.target) => ComponentState::Quarantined,
            Some(ActorPhase::Stopped) | None if targeted.record.spec.enabled => ComponentState::Down,
            Some(ActorPhase::Stopped) | None => ComponentState::Stopped,
        };
        ComponentStatus {
            name: name.to_string(),
            state,
            installed: Some(offline::installed(targeted)),
            actor: status.map(|status| counters(&status)),
            paused: None,
            source: None,
            held: None,
        }
    }
}

fn storage_ids(committed: &Committed) -> BTreeMap<InstallationName, u64> {
    committed.generation.entries.iter().map(|(name, slot)| (name.clone(), slot.storage_id)).collect()
}

fn counters(status: &actor::ActorStatus) -> ActorCounters {
    ActorCounters {
        since_ms: millis(status.since.elapsed()),
        restarts: status.restarts,
        next_start_ms: status.next_start.map(|at| millis(at.saturating_duration_since(Instant::now()))),
        last_error: status.last_error.clone(),
        health: status.health.as_ref().map(|health| HealthReport {
            state: health.status.word().to_owned(),
            text: health.status.text().map(str::to_owned),
            since_ms: millis(health.since.elapsed()),
        }),
        handled: status.counts.handled,
        dead: status.counts.dead(),
        waiting: status.mailbox_messages,
        mailbox: status.record.limits.mailbox,
        waiting_bytes: status.mailbox_bytes,
        mailbox_bytes: status.record.limits.mailbox_bytes.0,
        messages: messages(&status.counts),
        requests: requests(&status.requests),
        breakers: status.breakers.iter().map(|(to, state)| (to.to_string(), state.as_str().to_owned())).collect(),
        memory_bytes: status.memory_bytes,
        asleep: status.asleep,
        codecs: codec_counts(&status.codecs),
        subscribed: status.subscribed.iter().map(ToString::to_string).collect(),
        denied: status.denied,
        observed: status.seen.as_ref().map(|seen| ObservedGrant { lines: seen.lines.clone(), left_out: seen.left_out }),
    }
}

fn messages(counts: &actor::Counts) -> MessageCounters {
    let actor::Counts { accepted, rejected, handled: _, failed, expired, stopped, dropped, poison } = *counts;
    MessageCounters { accepted, rejected, failed, expired, stopped, dropped, poison }
}

fn requests(counts: &actor::RequestCounts) -> RequestCounters {
    let actor::RequestCounts { opened: asked, answered, failed, timed_out, cancelled, open, late } = *counts;
    RequestCounters { asked, answered, failed, timed_out, cancelled, open, late }
}

fn codec_counts(counts: &actor::CodecCounts) -> Vec<CodecCount> {
    let counts = Codec::ALL.into_iter().zip(counts.received.into_iter().zip(counts.refused));
    let seen = counts.filter(|(_, counts)| *counts != (0, 0));
    seen.map(|(codec, (received, refused))| CodecCount { codec: codec.to_string(), received, refused }).collect()
}

fn watch_text(mode: &WatchMode) -> String {
    match mode {
        WatchMode::Events => "events, and a full list every minute".to_owned(),
        WatchMode::Polled { cause } => format!("polled every {} s ({cause})", POLL_INTERVAL.as_secs()),
    }
}

/// Why an action of a plan was not carried out.
pub(super) fn note(action: &Action) -> Option<(InstallationName, Note)> {
    if action.is_ready() {
        return None;
    }
    let kind = match action.kind {
        Kind::Hold => "hold",
        Kind::Blocked => "blocked",
        _ => "needs-approval",
    };
    let note = Note { kind: kind.to_owned(), location: Some(action.location.to_string()), why: why_not(action) };
    Some((action.name.clone(), note))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
