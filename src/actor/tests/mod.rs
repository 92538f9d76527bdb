//! Tests of whole actors: real components on real threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::core::locked;
use super::*;
use crate::codec::{Codec, Payload};
use crate::desired::spec::{Breaker, Delivery, OnUninstall, Origin, Require, Source, Spec, Supervision, Trigger};
use crate::digest::Digest;
use crate::engine::{CompiledComponent, Engine, EngineConfig};
use crate::host::GuestConfig;
use crate::limits::{LimitOverrides, Limits};
use crate::logs::{Follow, Level, LogLine, Logs};
use crate::name::InstallationName;
use crate::permission::{Grant, Mode, Permissions};
use crate::quantity::{ByteSize, Millis};
use crate::record::{ArtifactIdentity, Record};
use crate::test_guest::TestGuest;

mod asides;
mod basics;
mod codecs;
mod denied;
mod directory;
mod durable;
mod gate;
mod hostile;
mod keyvalue;
mod limited;
mod mailboxes;
mod messages;
mod observing;
mod operations;
mod outside;
mod overflow;
mod parked;
mod requests;
mod schedules;
mod sleep;
mod speed;
mod standard;
mod storage;
mod switching;
mod topics;
mod wasi;

/// Longest time that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(text: &str) -> InstallationName {
    text.parse().unwrap()
}

/// A host with a directory for its logs.
struct Host {
    system: System,
    engine: Engine,
    logs: Logs,
    events: Arc<Events>,
    _directory: tempfile::TempDir,
}

/// What happened, for tests that wait for it.
#[derive(Default)]
struct Events {
    seen: Mutex<Vec<ActorEvent>>,
    came: Condvar,
}

impl Events {
    fn wait(&self, wanted: impl Fn(&ActorEvent) -> bool) -> ActorEvent {
        let mut seen = locked(&self.seen);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = seen.iter().position(&wanted) {
                return seen.remove(at);
            }
            assert!(Instant::now() < until, "the event did not come: {seen:?}");
            seen = self.came.wait_timeout(seen, Duration::from_millis(100)).unwrap().0;
        }
    }
}

impl Host {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut SystemConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::new(&EngineConfig::default()).unwrap();
        let logs = Logs::open(directory.path()).unwrap();
        let events = Arc::new(Events::default());
        let sink = Arc::clone(&events);
        let mut config = SystemConfig::new(engine.clone(), logs.clone());
        config.events = Some(Arc::new(move |event| {
            locked(&sink.seen).push(event.clone());
            sink.came.notify_all();
        }));
        change(&mut config);
        let system = System::start(config).unwrap();
        Self { system, engine, logs, events, _directory: directory }
    }

    fn compile(&self, guest: &TestGuest) -> CompiledComponent {
        self.engine.compile_for_test(&guest.wasm()).unwrap()
    }

    fn prepare(&self, actor: &Actor, guest: &TestGuest) -> Result<Standby, PrepareError> {
        self.prepare_compiled(actor, &self.compile(guest))
    }

    fn prepare_compiled(&self, actor: &Actor, compiled: &CompiledComponent) -> Result<Standby, PrepareError> {
        self.prepare_as(actor, compiled, Some(1))
    }

    fn prepare_with_storage(
        &self,
        actor: &Actor,
        guest: &TestGuest,
        storage_id: Option<u64>,
    ) -> Result<Standby, PrepareError> {
        self.prepare_as(actor, &self.compile(guest), storage_id)
    }

    fn prepare_as(
        &self,
        actor: &Actor,
        compiled: &CompiledComponent,
        storage_id: Option<u64>,
    ) -> Result<Standby, PrepareError> {
        let record = Arc::new(actor.record(compiled.wasm()));
        let config = Arc::new(GuestConfig::new(record.spec.config.clone(), Vec::new()));
        self.system.prepare(StandbyRequest { record, compiled: compiled.clone(), config, storage_id })
    }

    fn run_wasm(&self, actor: &Actor, wasm: &[u8]) {
        let standby = self.prepare_compiled(actor, &self.engine.compile_for_test(wasm).unwrap()).unwrap();
        assert_eq!(self.activate(standby), Switched::Done);
    }

    fn run(&self, actor: &Actor, guest: &TestGuest) {
        let standby = self.prepare(actor, guest).unwrap();
        assert_eq!(self.activate(standby), Switched::Done);
    }

    fn activate(&self, standby: Standby) -> Switched {
        self.system.switch(vec![Switch::Activate { standby, moved_from: None }])[0]
    }

    fn stop(&self, actor: &str) -> Switched {
        self.system.switch(vec![Switch::Stop(name(actor))])[0]
    }

    fn ask(&self, actor: &str, payload: &[u8]) -> Reply {
        bytes(self.system.request_from_host(&name(actor), payload.to_vec(), PATIENCE))
    }

    fn status(&self, actor: &str) -> ActorStatus {
        self.system.status(&name(actor)).unwrap()
    }

    fn log(&self, actor: &str) -> Vec<LogLine> {
        self.logs.flush();
        Follow::open(self.logs.directory(), &name(actor), 100_000, None).unwrap().0
    }

    fn log_text(&self, actor: &str) -> String {
        self.log(actor).iter().map(|line| format!("{:?} {}\n", line.source, line.message)).collect()
    }

    /// Waits until `check` holds, looking again and again.
    fn until(&self, what: &str, check: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !check() {
            assert!(Instant::now() < until, "waited in vain: {what}");
            std::thread::yield_now();
        }
    }
}

/// A reply without its codec, which matters to few tests.
type Reply = Result<Option<Vec<u8>>, CallError>;

fn bytes(reply: super::Reply) -> Reply {
    reply.map(|reply| reply.map(|payload| payload.bytes))
}

/// What a test says about an installation.
#[derive(Clone)]
struct Actor {
    name: &'static str,
    limits: Limits,
    supervision: Supervision,
    triggers: Vec<Trigger>,
    env: Vec<&'static str>,
    observes: bool,
    /// Trees and hosts, by kind.
    outside: Vec<(&'static str, Vec<&'static str>)>,
    publish: Vec<&'static str>,
    subscribe: Vec<&'static str>,
    subscriptions: Vec<&'static str>,
    send: Vec<&'static str>,
    receive: Vec<&'static str>,
    links: Vec<(&'static str, &'static str)>,
    config: serde_json::Value,
    depends_on: Vec<&'static str>,
    storage: Option<&'static str>,
    breaker: Option<Breaker>,
    stateless: bool,
    metadata: serde_json::Map<String, serde_json::Value>,
    codecs: Vec<Codec>,
    delivery: Delivery,
    version: &'static str,
}

impl Actor {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            limits: Limits::resolve(&LimitOverrides::default(), &LimitOverrides::default()),
            supervision: Supervision::default(),
            triggers: Vec::new(),
            env: Vec::new(),
            outside: Vec::new(),
            observes: false,
            publish: Vec::new(),
            subscribe: Vec::new(),
            subscriptions: Vec::new(),
            send: vec!["*"],
            receive: vec!["*"],
            links: Vec::new(),
            config: serde_json::json!({}),
            depends_on: Vec::new(),
            storage: None,
            breaker: None,
            stateless: false,
            metadata: serde_json::Map::new(),
            codecs: Vec::new(),
            delivery: Delivery::Memory,
            version: "1.0.0",
        }
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    fn stateless(mut self) -> Self {
        self.stateless = true;
        self
    }

    fn every(mut self, ms: u64) -> Self {
        self.triggers.push(Trigger { every: Millis(ms) });
        self
    }

    fn record(&self, wasm: Digest) -> Record {
        let mut effective = serde_json::json!({
            "send": self.send, "receive": self.receive, "publish": self.publish, "subscribe": self.subscribe, "env": self.env,
        });
        if let Some(level) = self.storage {
            effective["storage"] = level.into();
        }
        for (kind, entries) in &self.outside {
            let (table, key) = kind.split_once('.').unwrap();
            effective[table][key] = entries.clone().into();
        }
        let effective: Permissions = serde_json::from_value(effective).unwrap();
        let serde_json::Value::Object(config) = self.config.clone() else { panic!("a table is meant") };
        let spec = Spec {
            name: name(self.name),
            package: "test:guest".parse().unwrap(),
            enabled: true,
            depends_on: self.depends_on.iter().map(|other| name(other)).collect(),
            moved_from: None,
            require: Require::default(),
            source: Source::File { path: "guest".to_owned() },
            grant: Grant { mode: if self.observes { Mode::Observe } else { Mode::Enforce }, ..Grant::default() },
            links: self.links.iter().map(|(word, to)| (word.parse().unwrap(), name(to))).collect(),
            config,
            limits: LimitOverrides::default(),
            supervision: self.supervision.clone(),
            on_uninstall: OnUninstall::default(),
            delivery: self.delivery,
            breaker: self.breaker,
            triggers: self.triggers.clone(),
            subscriptions: self.subscriptions.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        };
        let artifact = ArtifactIdentity {
            package: "test:guest".parse().unwrap(),
            version: self.version.parse().unwrap(),
            sequence: 1,
            manifest: Digest::of(b"manifest"),
            signature: Digest::of(b"signature"),
            wasm,
            wasm_size: 0,
            publisher: "test".to_owned(),
            signers: BTreeSet::new(),
            ask: effective.clone(),
            codecs: self.codecs.clone().try_into().unwrap(),
            expires: None,
            stateless: self.stateless,
            metadata: self.metadata.clone(),
        };
        let origin = Origin { file: format!("{}.toml", self.name), lines: BTreeMap::new() };
        Record {
            spec,
            origin,
            artifact,
            effective,
            limits: self.limits,
            secrets: BTreeMap::new(),
            revision: None,
            surface: None,
        }
    }
}

/// Answers with what it gets.
fn echo() -> TestGuest {
    TestGuest::new().handle("(call $ok_some (local.get $ptr) (local.get $len))")
}
