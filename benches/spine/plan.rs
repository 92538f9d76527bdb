//! Measures how planning grows with the number of installations.
//!
//! Its floor is itself with a tenth of them: times and comparisons of names.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use airssys_wasm::desired::{self, DesiredFile, DesiredState, file};
use airssys_wasm::digest::Digest;
use airssys_wasm::floors::Floors;
use airssys_wasm::limits::LimitOverrides;
use airssys_wasm::name::InstallationName;
use airssys_wasm::observed::{Installed, Observed, Phase, RecentSet};
use airssys_wasm::permission::Permissions;
use airssys_wasm::plan::action::Effect;
use airssys_wasm::plan::{Plan, PlanInput, plan};
use airssys_wasm::record::ArtifactIdentity;
use airssys_wasm::resolution::{Candidate, Resolution};
use airssys_wasm::surface::{HostSurface, Surface};
use airssys_wasm::trust::SigningKey;

use super::table::{Pairs, Row, Table, timed};
use super::world::{desired_text, name};

/// Installations of the large and of the small plan.
const COUNTS: (usize, usize) = (10_000, 1_000);
/// Pairs of a large and a small plan.
const PAIRS: usize = 31;
/// The most that ten times as many installations may cost.
const MOST: f64 = 30.0;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let (large, small) = COUNTS;
    let [large_scene, small_scene] = [Scene::new(large), Scene::new(small)];
    rows(table, "first install of all", &large_scene, &small_scene, large)?;
    let [large_scene, small_scene] = [large_scene.settled(), small_scene.settled()];
    rows(table, "one update among them", &large_scene, &small_scene, 1)
}

fn rows(table: &mut Table, what: &str, large: &Scene, small: &Scene, actions: usize) -> anyhow::Result<()> {
    let mut pairs = Pairs::default();
    for _ in 0..PAIRS {
        let (of_small, floor) = timed(|| black_box(small.plan()));
        let (of_large, measured) = timed(|| black_box(large.plan()));
        anyhow::ensure!(!of_small.is_converged(), "{what}: {:?}", of_small.actions.first());
        anyhow::ensure!(of_large.effects().count() == actions, "{what}: {:?}", of_large.actions.first());
        pairs.add(measured, floor);
    }
    let (large_count, small_count) = COUNTS;
    let title = format!("plan of {large_count}, {what}");
    table.ratio(&title, &format!("plan of {small_count}"), &pairs, MOST, Vec::new());
    let comparisons = large.plan().comparisons();
    let most = 2.0 * large_count as f64 * (large_count as f64).log2();
    table.add(Row {
        what: format!("comparisons of names, {what}"),
        measured: comparisons.to_string(),
        floor: format!("{large_count} names"),
        result: format!("{:.1} n", comparisons as f64 / large_count as f64),
        target: format!("<= 2 n log2 n = {most:.0}"),
        met: comparisons as f64 <= most,
        notes: Vec::new(),
    });
    Ok(())
}

/// All inputs of a plan.
pub(super) struct Scene {
    desired: DesiredState,
    resolutions: BTreeMap<InstallationName, Resolution>,
    observed: Observed,
    floors: Floors,
}

impl Scene {
    /// Everything is wanted and nothing is there.
    pub(super) fn new(count: usize) -> Self {
        let parsed = (0..count).map(|number| {
            let file = format!("{}.toml", name(number));
            let parsed = file::parse(&file, desired_text(&name(number)).as_bytes());
            (file, DesiredFile::Parsed(Arc::new(parsed)))
        });
        let desired = desired::assemble(&parsed.collect(), &BTreeMap::new());
        let resolutions = desired.entries.keys().map(|name| (name.clone(), release(name, 1))).collect();
        Self { desired, resolutions, observed: Observed::default(), floors: Floors::default() }
    }

    /// All of it is installed as planned and runs; then one gets a new release.
    pub(super) fn settled(mut self) -> Self {
        let planned = self.plan().actions.into_iter().enumerate();
        let installed = planned.filter_map(|(place, action)| {
            let Some(Effect::Commit(commit)) = action.effect else { return None };
            let storage_id = place as u64;
            let (record, target) = (commit.record, commit.target);
            Some((action.name, Installed { record, target, storage_id, phase: Phase::Running }))
        });
        self.observed = Observed { generation: 1, installed: installed.collect(), ..Observed::default() };
        let (name, resolution) = self.resolutions.iter_mut().next_back().expect("it is not empty");
        *resolution = release(name, 2);
        self
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&PlanInput {
            secrets: &std::collections::BTreeMap::new(),
            desired: &self.desired,
            resolutions: &self.resolutions,
            observed: &self.observed,
            recent: RecentSet::unchanged(self.observed.installed.len()),
            floors: &self.floors,
            approvals: &BTreeSet::new(),
            host: HostSurface::default(),
        })
    }
}

/// A verified release of an installation's package.
fn release(name: &InstallationName, sequence: u64) -> Resolution {
    let digest = |what: &str| Digest::of(format!("{what} of {name} {sequence}").as_bytes());
    let artifact = ArtifactIdentity {
        package: format!("bench:{name}").parse().expect("a package name"),
        version: semver::Version::new(1, sequence, 0),
        sequence,
        manifest: digest("manifest"),
        signature: digest("signature"),
        wasm: digest("wasm"),
        wasm_size: 40_000,
        publisher: "bench".to_owned(),
        signers: BTreeSet::from([SigningKey::from_seed(&[7; 32]).public()]),
        ask: Permissions::none(),
        codecs: Default::default(),
        expires: None,
        stateless: false,
        metadata: serde_json::Map::new(),
    };
    let permissions_max = Permissions::none();
    Resolution::Ready(Arc::new(Candidate {
        artifact,
        permissions_max,
        limits: LimitOverrides::default(),
        revision: None,
        surface: Surface::default(),
    }))
}
