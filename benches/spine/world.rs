//! Owns what the rows work on: a home, a desired directory, signed components, and a reconciler over them.
//!
//! Components are made on the spot and signed with a key of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::actor::{System, SystemConfig};
use airssys_wasm::config::sources::SourceSettings;
use airssys_wasm::engine::{Engine, EngineConfig};
use airssys_wasm::home::Home;
use airssys_wasm::logs::Logs;
use airssys_wasm::reconcile::remote::RemoteOptions;
use airssys_wasm::reconcile::{Parts, Reconciler, offline, unix_now_s};
use airssys_wasm::runtime::HostConfig;
use airssys_wasm::secret::SecretRules;
use airssys_wasm::source::secret::Environment;
use airssys_wasm::source::trust_file::TrustLocation;
use airssys_wasm::state::{Options, Store};
use airssys_wasm::trust::{SigningKey, sign_manifest};
use airssys_wasm::worker::{CompileLimits, Workers};
use anyhow::Context as _;
use tempfile::TempDir;

/// Files that are older than this are quiet: a look at them is as good as reading them again.
const QUIET: Duration = Duration::from_millis(1_500);

/// A directory with a trust policy and room for the rest.
pub struct World {
    dir: TempDir,
    key: SigningKey,
}

impl World {
    /// An empty world in which `bench:*` is trusted.
    pub fn new() -> anyhow::Result<Self> {
        let world = Self { dir: tempfile::tempdir()?, key: SigningKey::from_seed(&[7; 32]) };
        std::fs::create_dir(world.desired())?;
        std::fs::create_dir(world.waiting())?;
        let key = world.key.public();
        let policy = format!(
            "schema = 1\n\n[publisher.bench]\nkeys = [\"{key}\"]\nnames = [\"bench:*\"]\n\
             permissions-max = {{ send = [\"*\"], receive = [\"*\"], storage = \"read-write\" }}\n"
        );
        std::fs::write(world.path().join("trust.toml"), policy)?;
        Ok(world)
    }

    /// Where everything is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The desired directory.
    pub fn desired(&self) -> PathBuf {
        self.path().join("desired")
    }

    /// A directory beside it, of files that are to be renamed into it.
    pub fn waiting(&self) -> PathBuf {
        self.path().join("waiting")
    }

    /// The home of this name.
    pub fn home(&self, name: &str) -> anyhow::Result<Home> {
        Ok(Home::at(&self.path().join(name))?)
    }

    /// Writes and signs a component, and a desired file for it into `directory`.
    pub fn publish(&self, directory: &Path, name: &str, wasm: &[u8]) -> anyhow::Result<()> {
        self.sign(name, wasm, "")?;
        std::fs::write(directory.join(format!("{name}.toml")), desired_text(name))?;
        Ok(())
    }

    /// Writes and signs a component; `more` is the end of its manifest.
    pub fn sign(&self, name: &str, wasm: &[u8], more: &str) -> anyhow::Result<()> {
        self.sign_with(name, wasm, "", more)
    }

    /// The same with keys at the beginning of its manifest.
    pub fn sign_with(&self, name: &str, wasm: &[u8], keys: &str, more: &str) -> anyhow::Result<()> {
        let component = self.path().join("components").join(name);
        std::fs::create_dir_all(&component)?;
        let manifest = format!(
            "schema = 1\n{keys}\n[package]\nname = \"bench:{name}\"\nversion = \"1.0.0\"\nsequence = 1\n\n\
             [wasm]\nfile = \"component.wasm\"\nworld = \"airssys:component/actor@0.1.0\"\n{more}"
        );
        let signed = sign_manifest(&manifest, wasm, None, &self.key).context("the manifest was not signed")?;
        std::fs::write(component.join("component.wasm"), wasm)?;
        std::fs::write(component.join("Component.toml"), signed.manifest)?;
        std::fs::write(component.join("Component.toml.sig"), signed.signature)?;
        Ok(())
    }

    /// Waits until the files written so far are quiet.
    pub fn settle(&self) {
        std::thread::sleep(QUIET);
    }

    /// What a host on this world needs to know.
    pub fn host(&self, home: &str) -> anyhow::Result<HostConfig> {
        let trust = TrustLocation::Named(self.path().join("trust.toml"));
        Ok(HostConfig {
            home: self.home(home)?,
            desired: self.desired(),
            from_git: None,
            trust,
            rebuild_floors: false,
            workers: Workers::InProcess,
            secrets: SecretRules::default(),
            sources: SourceSettings::default(),
            offline: false,
            state: airssys_wasm::config::StateSettings::default(),
            memory: airssys_wasm::config::host::MemorySettings::default(),
        })
    }

    /// A reconciler over a home, put together as a host does it, and nothing started yet.
    pub fn reconciler(&self, home: &str, runs: bool) -> anyhow::Result<Reconciler> {
        Ok(self.parts(home, runs, |_| ())?.0)
    }

    /// The same, with the actors that it will start; `change` says how those are set up.
    pub fn parts(
        &self,
        home: &str,
        runs: bool,
        change: impl FnOnce(&mut SystemConfig),
    ) -> anyhow::Result<(Reconciler, Arc<System>)> {
        let HostConfig {
            home,
            desired,
            from_git,
            trust,
            rebuild_floors: _,
            workers,
            secrets,
            sources,
            offline,
            state: _,
            memory: _,
        } = self.host(home)?;
        let remote = RemoteOptions { home: home.clone(), settings: sources, offline };
        home.create_for_host()?;
        let opened = Store::open(&home, Options::at(unix_now_s().unsigned_abs()))?;
        let engine = Engine::new(&EngineConfig::default())?;
        let logs = Logs::open(&home.logs_dir())?;
        let mut config = SystemConfig::new(engine.clone(), logs);
        change(&mut config);
        let actors = Arc::new(System::start(config)?);
        let handed_out = Arc::clone(&actors);
        let tell = Arc::new(|_: &_| {});
        let places = offline::secret_places(&home, Some(&desired), &secrets, Environment::Own);
        let reconciler = Reconciler::new(opened, |store| Parts {
            desired,
            from_git,
            trust,
            store,
            engine,
            actors,
            runs,
            workers,
            remote,
            compile_limits: CompileLimits::default(),
            keep: airssys_wasm::config::StateSettings::default(),
            secrets: places,
            tell,
            stopping: std::sync::Arc::default(),
        })?;
        Ok((reconciler, handed_out))
    }

    /// Commits what the desired directory says, as `apply` without a host does; gives how many were carried out.
    pub fn apply(&self, home: &str) -> anyhow::Result<u64> {
        let pass = self.reconciler(home, false)?.pass_settled(None)?;
        anyhow::ensure!(pass.failed.is_empty(), "{:?}", pass.failed[0].why);
        Ok(pass.summary.done)
    }
}

/// A desired file's text.
pub fn desired_text(name: &str) -> String {
    format!("package = \"bench:{name}\"\n\n[source.file]\npath = \"../components/{name}\"\n")
}

/// The name of the component of this number: as long as names in the field, and sorted like the numbers.
pub fn name(number: usize) -> String {
    format!("component-{number:05}")
}

/// A component that is ready at once and answers each message with its payload. `mark` makes the bytes differ.
pub fn echo(mark: &str) -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(include_str!("echo.wat").replace("MARK", mark))?)
}
