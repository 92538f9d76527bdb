//! Owns the small worlds that plan tests are about: specs, artifacts, what is installed.
//!
//! Only values; the tests say what must come of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::desired::spec::{OnUninstall, Origin, Require, Source, Spec, Supervision};
use crate::desired::{BadFile, DesiredState, Entry, Held};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::floors::Floors;
use crate::key::PublicKey;
use crate::limits::LimitOverrides;
use crate::name::InstallationName;
use crate::observed::{HeldTarget, Installed, Observed, Phase, RecentSet};
use crate::permission::{Grant, Permissions};
use crate::plan::action::{Action, Effect};
use crate::plan::approval::Approval;
use crate::plan::wanted::Wanted;
use crate::plan::{Plan, PlanInput, plan};
use crate::record::ArtifactIdentity;
use crate::resolution::{Candidate, Refusal, Resolution};
use crate::secret::{AllSecrets, Fingerprint, Fingerprints};
use crate::surface::{HostSurface, Side, Surface, SurfaceBuilder};

/// The surface of an actor, with more lines: `export a:b/c@1.0.0 f func()`.
pub fn surface(more: &[&str]) -> Surface {
    let usual = [
        "import airssys:component/log@0.1.0 log func(message: string)",
        "export airssys:component/lifecycle@0.1.0 init func(config: string)",
        "export airssys:component/message-handler@0.1.0 handle func(message: list<u8>)",
    ];
    bare_surface(&[&usual[..], more].concat())
}

/// A surface of these lines alone.
pub fn bare_surface(lines: &[&str]) -> Surface {
    let mut builder = SurfaceBuilder::default();
    for line in lines {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [side, interface, item, signature] = words[..] else { panic!("{line}") };
        let side = if side == "import" { Side::Import } else { Side::Export };
        builder.item(side, interface, item, signature).expect("it is small");
    }
    builder.finish()
}

/// A host with little to offer.
pub const HOST: HostSurface<'static> = HostSurface {
    offers: &[
        "airssys:component/log@0.1.0",
        "airssys:component/messaging@0.1.0",
        "airssys:component/requests@0.1.0",
        "wasi:io/streams@0.2.12",
    ],
    items: "import airssys:component/log@0.1.0\n log func(message: string)\nimport airssys:component/messaging@0.1.0\n \
            send func()\n",
    calls: &[
        "airssys:component/lifecycle@0.1.0",
        "airssys:component/message-handler@0.1.0",
        "airssys:component/reconfiguration@0.1.0",
    ],
    relays: &["airssys:component/message-handler@0.1.0"],
    asks: &["airssys:component/requests@0.1.0"],
    reconfigures: "airssys:component/reconfiguration@0.1.0",
};

/// All inputs of a plan.
#[derive(Clone, Debug)]
pub struct Scene {
    pub desired: DesiredState,
    pub resolutions: BTreeMap<InstallationName, Resolution>,
    pub observed: Observed,
    pub recent: Option<RecentSet>,
    pub floors: Floors,
    pub approvals: BTreeSet<Approval>,
    pub secrets: AllSecrets,
}

pub fn name(text: &str) -> InstallationName {
    text.parse().expect("a name")
}

pub fn key(seed: u8) -> PublicKey {
    PublicKey::from_bytes([seed; 32])
}

/// Permissions from entries as plans show them without quotes: `send alerter`.
pub fn permissions(entries: &[&str]) -> Permissions {
    entries.iter().map(|entry| entry.parse().expect("a permission")).collect()
}

pub fn grant(entries: &[&str]) -> Grant {
    Grant { permissions: permissions(entries), ..Grant::default() }
}

pub fn spec(installation: &str) -> Spec {
    Spec {
        name: name(installation),
        package: format!("acme:{installation}").parse().expect("a package"),
        enabled: true,
        depends_on: BTreeSet::new(),
        moved_from: None,
        require: Require::default(),
        source: Source::File { path: format!("../components/{installation}") },
        grant: Grant::default(),
        links: BTreeMap::new(),
        config: serde_json::Map::new(),
        limits: LimitOverrides::default(),
        supervision: Supervision::default(),
        on_uninstall: OnUninstall::default(),
        delivery: crate::desired::spec::Delivery::default(),
        breaker: None,
        triggers: Vec::new(),
        subscriptions: BTreeSet::new(),
    }
}

pub fn origin(spec: &Spec) -> Origin {
    let mut lines = BTreeMap::new();
    let mut line = |key: &str, line: u32| {
        lines.insert(key.to_owned(), line);
    };
    line("package", 1);
    line("source.file.path", 4);
    if !spec.enabled {
        line("enabled", 2);
    }
    if !spec.depends_on.is_empty() {
        line("depends-on", 6);
    }
    if spec.moved_from.is_some() {
        line("moved-from", 7);
    }
    if spec.require.version.is_some() {
        line("require.version", 9);
    }
    if spec.grant != Grant::default() {
        line("grant", 11);
    }
    if !spec.config.is_empty() {
        line("config", 15);
    }
    Origin { file: format!("{}.toml", spec.name), lines }
}

/// A release of a spec's package. The sequence follows from the version.
pub fn artifact(spec: &Spec, version: &str) -> ArtifactIdentity {
    let version: semver::Version = version.parse().expect("a version");
    let digest = |what: &str| Digest::of(format!("{what} {} {version}", spec.package).as_bytes());
    ArtifactIdentity {
        package: spec.package.clone(),
        sequence: version.major * 10_000 + version.minor * 100 + version.patch,
        manifest: digest("manifest"),
        signature: digest("signature"),
        wasm: digest("wasm"),
        wasm_size: 40_000,
        publisher: "acme".to_owned(),
        signers: BTreeSet::from([key(0xa1)]),
        ask: Permissions::none(),
        codecs: Default::default(),
        expires: None,
        stateless: false,
        metadata: serde_json::Map::new(),
        version,
    }
}

pub fn candidate(artifact: ArtifactIdentity) -> Candidate {
    let permissions_max = permissions(&["send *", "receive *", "fs.read /data/**", "publish orders.*"]);
    Candidate { artifact, permissions_max, limits: LimitOverrides::default(), revision: None, surface: surface(&[]) }
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            desired: DesiredState { complete: true, ..DesiredState::default() },
            resolutions: BTreeMap::new(),
            observed: Observed {
                generation: 41,
                generation_digest: Some(Digest::of(b"generation 41")),
                ..Observed::default()
            },
            recent: None,
            floors: Floors::default(),
            approvals: BTreeSet::new(),
            secrets: AllSecrets::new(),
        }
    }
}

impl Scene {
    pub fn plan(&self) -> Plan {
        let installed = self.observed.installed.len();
        plan(&PlanInput {
            desired: &self.desired,
            resolutions: &self.resolutions,
            observed: &self.observed,
            recent: self.recent.unwrap_or(RecentSet::unchanged(installed)),
            floors: &self.floors,
            approvals: &self.approvals,
            secrets: &self.secrets,
            host: HOST,
        })
    }

    /// A file wants `spec` at `version`; `change` has the last word on the artifact.
    pub fn want_with(mut self, spec: Spec, version: &str, change: impl FnOnce(&mut Candidate)) -> Self {
        let mut candidate = candidate(artifact(&spec, version));
        change(&mut candidate);
        let name = spec.name.clone();
        self.resolutions.insert(name.clone(), Resolution::Ready(Arc::new(candidate)));
        let origin = Arc::new(origin(&spec));
        self.desired.entries.insert(name, Entry::Wanted { spec: Arc::new(spec), origin });
        self
    }

    pub fn want(self, spec: Spec, version: &str) -> Self {
        self.want_with(spec, version, |_| {})
    }

    /// `spec` is installed at `version` and runs.
    pub fn have_with(mut self, spec: Spec, version: &str, change: impl FnOnce(&mut Candidate)) -> Self {
        let mut candidate = candidate(artifact(&spec, version));
        change(&mut candidate);
        let phase = if spec.enabled { Phase::Running } else { Phase::Stopped };
        let wanted = Wanted::new(&spec, &origin(&spec), &candidate, Fingerprints::new());
        let storage_id = self.observed.installed.len() as u64 + 1;
        self.floors.accept(&candidate.artifact.package, candidate.artifact.sequence);
        let installed = Installed { record: wanted.record, target: wanted.target, storage_id, phase };
        self.observed.installed.insert(spec.name, installed);
        self
    }

    /// What a look at a secret of `installation` finds: the value that `seed` stands for, or why there is none.
    pub fn secret(mut self, installation: &str, place: &str, found: Result<u8, Refusal>) -> Self {
        let found = found.map(|seed| Fingerprint::of_mac(&[seed; 32]));
        self.secrets.entry(name(installation)).or_default().insert(place.to_owned(), found);
        self
    }

    /// What is wanted now is committed and runs.
    pub fn applied(mut self, installation: &str) -> Self {
        let Some(Effect::Commit(commit)) = self.action(installation).effect else { panic!("nothing to commit") };
        let storage_id = self.observed.installed.len() as u64 + 1;
        let installed = Installed { record: commit.record, target: commit.target, storage_id, phase: Phase::Running };
        self.observed.installed.insert(name(installation), installed);
        self
    }

    pub fn have(self, spec: Spec, version: &str) -> Self {
        self.have_with(spec, version, |_| {})
    }

    /// Installed and wanted alike.
    pub fn settled(self, names: &[&str]) -> Self {
        names.iter().fold(self, |scene, name| scene.have(spec(name), "1.0.0").want(spec(name), "1.0.0"))
    }

    pub fn phase(mut self, installation: &str, phase: Phase) -> Self {
        self.observed.installed.get_mut(&name(installation)).expect("it is installed").phase = phase;
        self
    }

    pub fn no_host(mut self) -> Self {
        self.observed.installed.values_mut().for_each(|installed| installed.phase = Phase::NotRunning);
        self
    }

    pub fn unresolved(mut self, installation: &str, resolution: fn(Refusal) -> Resolution, refusal: Refusal) -> Self {
        self.resolutions.insert(name(installation), resolution(refusal));
        self
    }

    /// The file of an installation went bad.
    pub fn bad_file(mut self, installation: &str, text: &str, at: std::ops::Range<usize>, message: &str) -> Self {
        let file = format!("{installation}.toml");
        let problems = vec![Diagnostic::at(&file, text, at, message)];
        self.desired.entries.insert(name(installation), Entry::Held(Held { files: vec![file], problems }));
        self.resolutions.remove(&name(installation));
        self
    }

    pub fn unknown_file(mut self, file: &str, message: &str) -> Self {
        let problems = vec![Diagnostic::whole_file(file, message)];
        self.desired.unknown.push(BadFile { file: crate::escape::escape(file), problems });
        self
    }

    /// The target that a plan would commit for `installation` is held.
    pub fn hold_wanted(mut self, installation: &str, reason: &str) -> Self {
        let target = self.action(installation).after.and_then(|after| after.target).expect("something is wanted");
        self.observed.held.insert(name(installation), HeldTarget { target, reason: reason.to_owned() });
        self
    }

    /// Approves all that the plan asks for.
    pub fn approve_all(mut self) -> Self {
        for action in self.plan().actions {
            let action_digest = action.digest();
            let approvals = action.approvals.into_iter();
            self.approvals.extend(approvals.map(|needed| Approval { name: needed.name, action: action_digest }));
        }
        self
    }

    /// The one action of a name.
    pub fn action(&self, installation: &str) -> Action {
        let name = name(installation);
        let mut actions = self.plan().actions.into_iter().filter(|action| action.name == name);
        let action = actions.next().unwrap_or_else(|| panic!("{installation} has no action"));
        assert!(actions.next().is_none(), "{installation} has several actions");
        action
    }

    /// Names of what will be carried out, in order.
    pub fn effects(&self) -> Vec<String> {
        self.plan().effects().map(|action| format!("{} {}", action.kind.as_str(), action.name)).collect()
    }

    /// The reason's code for a name, with its kind.
    pub fn reason(&self, installation: &str) -> String {
        let action = self.action(installation);
        format!("{} {}", action.kind.as_str(), action.reason.code)
    }
}

/// `spec` with changes.
pub fn with(mut spec: Spec, change: impl FnOnce(&mut Spec)) -> Spec {
    change(&mut spec);
    spec
}

/// A spec that depends on others.
pub fn needs(installation: &str, dependencies: &[&str]) -> Spec {
    with(spec(installation), |spec| spec.depends_on = dependencies.iter().map(|text| name(text)).collect())
}
