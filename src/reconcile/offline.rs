//! Plans and status without taking the state's lock: beside a running host, or without one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::host::MemorySettings;
use crate::desired::DesiredState;
use crate::engine::EngineConfig;
use crate::export::Export;
use crate::home::Home;
use crate::name::InstallationName;
use crate::observed::room::Room;
use crate::observed::{HeldTarget, Observed, Phase, RecentSet};
use crate::plan::{Plan, PlanInput};
use crate::resolution::Refusal;
use crate::saved::{self, DesiredInput, Inputs, settings_digest};
use crate::secret::SecretRules;
use crate::snapshot::AppliedCommit;
use crate::source::secret::{Environment, SecretPlaces};
use crate::source::trust_file::{self, TrustLocation};
use crate::state::{ObjectStore, Options, Reader as StateReader};
use crate::status::info::{CommittedInfo, INFO_TYPE, InfoDocument};
use crate::status::{ComponentState, ComponentStatus, HostStatus, InstalledStatus, Note, STATUS_TYPE};

use super::notice::Notice;
use super::observe::{Committed, Targeted};
use super::read::Reader;
use super::recent::recent_set;
use super::reconciler::unix_now_s;
use super::remote::{Remote, RemoteOptions};
use super::repository::{FromGit, SnapshotParts, Snapshots};
use super::resolve::Resolver;
use super::room::of_host;
use super::secrets::{self, Secrets};
use crate::worker::Workers;

/// A plan and what concerns no single name.
pub struct Made {
    /// The plan.
    pub plan: Plan,
    /// Everything that it was made from.
    pub inputs: Inputs,
    /// Whether secrets could be told apart: without a key, which the first host makes, they can not.
    pub tells_secrets_apart: bool,
    /// Of the directory or the trust policy.
    pub problems: Vec<Refusal>,
}

/// What a plan without the lock is made of.
pub struct Look<'a> {
    /// The desired directory.
    pub desired: &'a Path,
    /// Where the desired files are instead, if they are in a repository.
    pub from_git: Option<FromGit>,
    /// The trust policy.
    pub trust: &'a TrustLocation,
    /// What desired files may name as a secret.
    pub rules: &'a SecretRules,
    /// What a running host says of itself.
    pub running: Option<&'a HostStatus>,
    /// What fetches.
    pub workers: Workers,
    /// What the host says about remote sources, and its home.
    pub remote: RemoteOptions,
    /// The state of another home that takes the place of this one's; secrets are not read then.
    pub against: Option<&'a Export>,
    /// How much memory a host's instances share.
    pub memory: MemorySettings,
    /// Where progress goes.
    pub tell: &'a dyn Fn(&Notice),
}

/// Makes the plan that a host would carry out now. Waits for what must be fetched for it.
pub fn plan(look: Look<'_>) -> anyhow::Result<Made> {
    let Look { desired, from_git, trust, rules, running, workers, remote, against, memory, tell } = look;
    let home = &remote.home.clone();
    let mut problems = Vec::new();
    let loaded = trust_file::load(trust).map_err(|error| anyhow::anyhow!("{error}\n{}", error.hint()))?;
    problems.extend(loaded.warning.map(|text| Refusal::new("trust-group-writable", text)));
    let reader = StateReader::new(home);
    let committed = match against {
        Some(export) => Committed::from(export),
        None => Committed::from(reader.snapshot()?),
    };
    let store = ObjectStore::open(home, Options::at(unix_now_s().unsigned_abs()))?;
    let is_directory = from_git.is_none();
    let signers = from_git.as_ref().map_or_else(Vec::new, |from| from.rules.signers.clone());
    let settings = settings_digest(rules, &remote.settings, &signers);
    let snapshots = from_git.map(|from| {
        Snapshots::new(SnapshotParts {
            from,
            workers: workers.clone(),
            settings: remote.settings.clone(),
            home: home.clone(),
            offline: remote.offline,
        })
    });
    let Read { state, input: desired_input, commit, problems: found } = read(desired, snapshots, &committed);
    problems.extend(found);
    let remote = Arc::new(Remote::new(remote.parts(Arc::new(workers), store.objects().clone())));
    let mut resolver = Resolver::new(desired, remote.clone());
    resolver.set_commit(commit);
    let state = &state;
    let policy = Arc::new(loaded.policy);
    resolver.resolve(state, &committed.records, &policy, store.objects(), unix_now_s());
    remote.wait(|at, of| tell(&Notice::Fetching { step: (at, of) }));
    let resolutions = resolver.resolve(state, &committed.records, &policy, store.objects(), unix_now_s());
    let stale = remote.stale();
    let is_stale = !stale.is_empty();
    problems.extend(stale);
    let observed = committed.observe(|name| match against {
        Some(export) => export.phase(name),
        None => phase(running, name),
    });
    // The other home's machine is another one: what it has room for is not known here.
    let room = if against.is_some() { Room::default() } else { of_host(&EngineConfig::with(&memory), running) };
    let mut observed = Observed { room, ..observed };
    if against.is_none() {
        reader.quarantined()?.put_into(&mut observed);
    }
    let host = running.and_then(|status| status.host.as_ref());
    let environment = host.map_or(Environment::Own, |host| Environment::Of(host.pid));
    let places = secret_places(home, is_directory.then_some(desired), rules, environment);
    let key = reader.secret_key();
    let tells_secrets_apart = key.is_some();
    let mut secrets = Secrets::new(places, key);
    let assumed = against.map(|_| secrets::as_recorded(state, &committed.records));
    let recent = match against {
        Some(_) => RecentSet::unchanged(committed.records.len()),
        None => recent_set(&reader, &committed, state, unix_now_s().unsigned_abs())?,
    };
    let input = PlanInput {
        desired: state,
        resolutions,
        secrets: assumed.as_ref().unwrap_or_else(|| secrets.look(state, Duration::ZERO)),
        observed: &observed,
        recent,
        floors: &committed.floors,
        approvals: &std::collections::BTreeSet::new(),
        host: crate::host::SURFACE,
    };
    let mut plan = crate::plan::plan(&input);
    plan.is_stale = is_stale;
    let made = saved::Made { input: &input, desired: desired_input, trust: policy.digest(), settings };
    Ok(Made { plan, inputs: Inputs::of(made), tells_secrets_apart, problems })
}

/// The desired files of the commit that a host would apply next; the refusal is why it would not.
pub fn of_commit(parts: SnapshotParts) -> anyhow::Result<Result<DesiredState, Refusal>> {
    parts.home.create_for_plan()?;
    let committed = Committed::from(StateReader::new(&parts.home).snapshot()?);
    let Read { state, problems, .. } = read("".as_ref(), Some(Snapshots::new(parts)), &committed);
    Ok(problems.into_iter().next().map_or(Ok(state), Err))
}

/// What the desired files say now.
struct Read {
    state: DesiredState,
    input: DesiredInput,
    commit: Option<AppliedCommit>,
    problems: Vec<Refusal>,
}

/// The desired state as it is now, and the commit that it is of. What a newer commit is refused for makes it incomplete.
fn read(desired: &Path, snapshots: Option<Snapshots>, committed: &Committed) -> Read {
    let (number, last_good) = (committed.generation.number, committed.last_good());
    let Some(mut snapshots) = snapshots else {
        let mut reader = Reader::new(desired);
        let (state, problem) = reader.read_settled(number, &last_good);
        let state = state.clone();
        let input = reader.input(state.complete && problem.is_none());
        return Read { state, input, commit: None, problems: Vec::from_iter(problem) };
    };
    let applied = committed.generation.applied_commit.as_ref();
    snapshots.read_once(number, applied, || last_good.clone());
    let (state, problems) = snapshots.read(number, applied, || last_good.clone());
    let state = DesiredState { complete: state.complete && problems.is_empty(), ..state.clone() };
    Read { input: snapshots.input(state.complete), commit: snapshots.applies(), state, problems }
}

/// Where secrets are read on behalf of a host; without a directory, desired files come from a repository.
pub fn secret_places(
    home: &Home,
    desired: Option<&Path>,
    rules: &SecretRules,
    environment: Environment,
) -> SecretPlaces {
    let own = vec![home.state_dir(), home.key_file(), home.config_file()];
    SecretPlaces { directory: desired.map(Path::to_owned), rules: rules.clone(), environment, own }
}

fn phase(running: Option<&HostStatus>, name: &InstallationName) -> Phase {
    let component = running.and_then(|status| status.components.iter().find(|c| c.name == name.as_str()));
    match component.map(|component| component.state) {
        Some(ComponentState::Running) => Phase::Running,
        Some(ComponentState::Starting) => Phase::Starting,
        Some(ComponentState::Backoff) => Phase::Backoff,
        Some(ComponentState::Failed) => Phase::Failed,
        Some(ComponentState::Quarantined) => Phase::Quarantined,
        Some(_) => Phase::Stopped,
        None if running.is_some() => Phase::Stopped,
        None => Phase::NotRunning,
    }
}

/// The status document from what is on disk, while no host runs.
pub fn status(home: &Home) -> anyhow::Result<HostStatus> {
    let committed = Committed::from(StateReader::new(home).snapshot()?);
    let held = &committed.generation.holds;
    let quarantined = StateReader::new(home).quarantined()?;
    let state = |name: &InstallationName, targeted: &Targeted| match targeted.record.spec.enabled {
        true if quarantined.holds(name, &targeted.target) => ComponentState::Quarantined,
        true => ComponentState::Down,
        false => ComponentState::Stopped,
    };
    let components = committed.records.iter().map(|(name, targeted)| ComponentStatus {
        name: name.to_string(),
        state: state(name, targeted),
        installed: Some(installed(targeted)),
        actor: None,
        paused: committed.paused.names.get(name).cloned(),
        source: None,
        held: held.get(name).map(|held| held_note(name, held)),
    });
    let gone = held.iter().filter(|(name, _)| !committed.records.contains_key(*name));
    let gone = gone.map(|(name, held)| ComponentStatus {
        name: name.to_string(),
        state: ComponentState::Missing,
        installed: None,
        actor: None,
        paused: None,
        source: None,
        held: Some(held_note(name, held)),
    });
    let mut components: Vec<ComponentStatus> = components.chain(gone).collect();
    components.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(HostStatus {
        document: STATUS_TYPE.to_owned(),
        host: None,
        desired: None,
        from_git: None,
        trust: None,
        generation: committed.generation.number,
        last_pass: None,
        paused: committed.paused.all.clone(),
        components,
        problems: Vec::new(),
    })
}

/// Why something else than what is installed is not tried, as far as the state says it.
fn held_note(name: &InstallationName, held: &HeldTarget) -> Note {
    let why = Refusal::new("held-target", held.reason.clone());
    let why = why.hint(format!("until the file or the artifact changes, or `airssys-wasm resume {name}`"));
    Note { kind: "hold".to_owned(), location: None, why }
}

/// What is committed, and what a running host says of it, for plans that are made elsewhere.
pub fn export(home: &Home, running: Option<&HostStatus>) -> anyhow::Result<Export> {
    let snapshot = StateReader::new(home).snapshot()?;
    if let Some((name, why)) = snapshot.damaged.first_key_value() {
        anyhow::bail!(
            "the state can't be exported as a whole: the record of {name} {why}; `airssys-wasm fsck` tells more"
        );
    }
    let committed = Committed::from(snapshot);
    let observed = committed.observe(|name| phase(running, name));
    Ok(Export::of(&observed, &committed.floors, committed.generation.applied_commit.clone()))
}

/// All about one installation from what is on disk; none when it is not installed.
pub fn info(home: &Home, name: &InstallationName) -> anyhow::Result<Option<InfoDocument>> {
    let committed = Committed::from(StateReader::new(home).snapshot()?);
    let component = status(home)?.components.into_iter().find(|component| component.name == name.as_str());
    Ok(component.zip(committed.records.get(name)).map(|(component, targeted)| {
        let storage_id = committed.generation.entries.get(name).map(|slot| slot.storage_id).unwrap_or_default();
        let committed =
            CommittedInfo::of(&targeted.record, committed.generation.number, storage_id, None, &crate::host::SURFACE);
        InfoDocument { document: INFO_TYPE.to_owned(), component, committed: Some(committed), shared: Vec::new() }
    }))
}

/// What is committed under a name, for people and programs.
pub fn installed(targeted: &Targeted) -> InstalledStatus {
    let record: &Arc<_> = &targeted.record;
    InstalledStatus {
        package: record.artifact.package.to_string(),
        version: record.artifact.version.to_string(),
        sequence: record.artifact.sequence,
        wasm: record.artifact.wasm.to_string(),
        target: targeted.target.to_string(),
        publisher: record.artifact.publisher.clone(),
        signers: record.artifact.signers.iter().map(ToString::to_string).collect(),
        permissions: record.effective.entries().map(ToString::to_string).collect(),
        subscriptions: record.spec.subscriptions.iter().map(ToString::to_string).collect(),
        codecs: record.artifact.codecs.declared().iter().map(ToString::to_string).collect(),
        revision: record.revision.as_deref().map(crate::escape::escape),
        file: record.origin.file.clone(),
    }
}
