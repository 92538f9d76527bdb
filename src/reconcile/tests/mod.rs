//! The loop with real components, files and state, in one process and without a watcher.

mod passes;
mod refused;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::notice::Notice;
use super::remote::RemoteOptions;
use super::{Parts, Pass, Reconciler, offline, unix_now_s};
use crate::actor::{System, SystemConfig};
use crate::config::sources::SourceSettings;
use crate::engine::{Engine, EngineConfig};
use crate::home::Home;
use crate::logs::Logs;
use crate::name::InstallationName;
use crate::secret::SecretRules;
use crate::source::secret::Environment;
use crate::source::trust_file::TrustLocation;
use crate::state::{Options, Store};
use crate::test_guest::TestGuest;
use crate::trust::{SigningKey, sign_manifest};
use crate::watch::files::FileTimes;
use crate::worker::{CompileLimits, Workers};

/// Longest time that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    dir: tempfile::TempDir,
    key: SigningKey,
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&[3; 32]);
        std::fs::create_dir(dir.path().join("desired")).unwrap();
        let world = Self { dir, key, told: Arc::default() };
        world.trust(&format!("keys = [\"{}\"]", world.key.public()), "");
        world
    }

    fn trust(&self, keys: &str, more: &str) {
        let rule = format!(
            "schema = 1\n[publisher.test]\n{keys}\nnames = [\"test:*\"]\n\
             permissions-max = {{ send = [\"*\"], receive = [\"*\"], storage = \"read-write\" }}\n{more}"
        );
        std::fs::write(self.dir.path().join("trust.toml"), rule).unwrap();
    }

    fn publish(&self, name: &str, sequence: u64, guest: &TestGuest) {
        self.publish_asking(name, sequence, guest, "");
    }

    /// `more` is asked for besides.
    fn publish_asking(&self, name: &str, sequence: u64, guest: &TestGuest, more: &str) {
        let to = self.dir.path().join("components").join(name);
        std::fs::create_dir_all(&to).unwrap();
        let manifest = format!(
            "schema = 1\n[package]\nname = \"test:{name}\"\nversion = \"1.0.{sequence}\"\nsequence = {sequence}\n\
             [wasm]\nfile = \"a.wasm\"\nworld = \"airssys:component/actor@0.1.0\"\n[permissions]\nreceive = [\"*\"]\n{more}\n"
        );
        let wasm = guest.wasm();
        let signed = sign_manifest(&manifest, &wasm, None, &self.key).unwrap();
        std::fs::write(to.join("a.wasm"), wasm).unwrap();
        std::fs::write(to.join("Component.toml"), signed.manifest).unwrap();
        std::fs::write(to.join("Component.toml.sig"), signed.signature).unwrap();
    }

    /// `more` is put at the top, above the first table.
    fn desire(&self, name: &str, more: &str, tables: &str) {
        let text = format!(
            "package = \"test:{name}\"\n{more}\n[source.file]\npath = \"../components/{name}\"\n\
             [grant]\nreceive = [\"*\"]\n{tables}\n"
        );
        std::fs::write(self.desired().join(format!("{name}.toml")), text).unwrap();
    }

    fn desired(&self) -> PathBuf {
        self.dir.path().join("desired")
    }

    fn reconciler(&self) -> Reconciler {
        let home = Home::at(&self.dir.path().join("home")).unwrap();
        home.create_for_host().unwrap();
        let opened = Store::open(&home, Options::at(unix_now_s().unsigned_abs())).unwrap();
        let engine = Engine::new(&EngineConfig::default()).unwrap();
        let logs = Logs::open(&home.logs_dir()).unwrap();
        let actors = Arc::new(System::start(SystemConfig::new(engine.clone(), logs)).unwrap());
        let told = self.told.clone();
        let tell = Arc::new(move |notice: &Notice| told.lock().unwrap().push(notice.to_string()));
        let parts = |store| Parts {
            from_git: None,
            desired: self.desired(),
            trust: TrustLocation::Named(self.dir.path().join("trust.toml")),
            store,
            engine,
            actors,
            runs: true,
            workers: Workers::InProcess,
            remote: RemoteOptions { home: home.clone(), settings: SourceSettings::default(), offline: false },
            compile_limits: CompileLimits::default(),
            keep: crate::config::StateSettings::default(),
            secrets: offline::secret_places(&home, Some(&self.desired()), &SecretRules::default(), Environment::Own),
            tell,
            stopping: Arc::default(),
        };
        Reconciler::new(opened, parts).unwrap()
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }
}

/// One pass over files that count as completed.
fn pass(reconciler: &mut Reconciler, world: &World) -> Pass {
    let names: BTreeSet<String> =
        std::fs::read_dir(world.desired()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    reconciler.pass("test", FileTimes::Local, &mut || names.clone()).unwrap()
}

fn name(text: &str) -> InstallationName {
    text.parse().unwrap()
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn ask(reconciler: &Reconciler, who: &str) -> Option<Vec<u8>> {
    reconciler.actors().request_from_host(&name(who), b"?".to_vec(), PATIENCE).unwrap().map(|reply| reply.bytes)
}

fn answering(text: &str) -> TestGuest {
    TestGuest::new().handle(&format!("(call $ok_some @\"{text}\")"))
}
