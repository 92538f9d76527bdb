//! Owns what the files of the model ask for: specs and releases, each made from a few bits.
//!
//! The pools are small on purpose: names, packages, versions and permissions must meet often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::json;

use crate::desired::spec::{OnUninstall, Origin, Require, Source, Spec, Supervision};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::limits::LimitOverrides;
use crate::name::{InstallationName, PackageName};
use crate::permission::{Grant, Permissions};
use crate::record::ArtifactIdentity;
use crate::resolution::{Candidate, Refusal, Resolution};
use crate::surface::{Side, Surface, SurfaceBuilder};

/// Names of the model.
pub const NAMES: usize = 8;
/// Versions of each package that histories speak of; later ones are for tests that need one nobody has seen.
pub const VERSIONS: u64 = 4;
const PACKAGES: usize = 3;
const ASKS: [&[&str]; 4] = [&[], &["send p"], &["send q"], &["send p", "receive q"]];

/// The n-th name.
pub fn name(n: usize) -> InstallationName {
    static ALL: OnceLock<Vec<InstallationName>> = OnceLock::new();
    let all =
        ALL.get_or_init(|| ["a", "b", "c", "d", "e", "f", "g", "h"].map(|text| text.parse().expect("a name")).into());
    all[n % NAMES].clone()
}

fn package(n: usize) -> PackageName {
    static ALL: OnceLock<Vec<PackageName>> = OnceLock::new();
    let all = ALL.get_or_init(|| ["acme:x", "acme:y", "corp:z"].map(|text| text.parse().expect("a package")).into());
    all[n % PACKAGES].clone()
}

fn permissions(entries: &[&str]) -> Permissions {
    entries.iter().map(|entry| entry.parse().expect("a permission")).collect()
}

/// Takes choices out of a number, a few bits at a time.
#[derive(Clone, Copy)]
pub struct Bits(pub u64);

impl Bits {
    /// One of `0..of`.
    pub fn pick(&mut self, of: u64) -> u64 {
        let picked = self.0 % of;
        self.0 /= of;
        picked
    }

    /// True once in `of`.
    pub fn rarely(&mut self, of: u64) -> bool {
        self.pick(of) == of - 1
    }
}

/// A release, and how its source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    pub package: usize,
    pub version: u64,
    pub ask: usize,
    pub other_bytes: bool,
    pub other_signer: bool,
    pub small_cap: bool,
}

impl Release {
    fn from_bits(package: usize, bits: &mut Bits) -> Self {
        Self {
            package,
            version: 1 + bits.pick(VERSIONS),
            ask: bits.pick(ASKS.len() as u64) as usize,
            other_bytes: bits.rarely(12),
            other_signer: bits.rarely(10),
            small_cap: bits.rarely(24),
        }
    }

    /// The verified artifact.
    pub fn candidate(self) -> Arc<Candidate> {
        let Self { package: package_number, version, ask, other_bytes, other_signer, small_cap } = self;
        let digest =
            |what: &str| Digest::of(format!("{what} {package_number} {version} {ask} {other_bytes}").as_bytes());
        let signer = PublicKey::from_bytes([if other_signer { 2 } else { 1 }; 32]);
        let artifact = ArtifactIdentity {
            package: package(package_number),
            version: semver::Version::new(version, 0, 0),
            sequence: version * 10,
            manifest: digest("manifest"),
            signature: Digest::of(format!("signature {:?} {other_signer}", digest("manifest")).as_bytes()),
            wasm: digest("wasm"),
            wasm_size: 1_000,
            publisher: if package_number == 2 { "corp" } else { "acme" }.to_owned(),
            signers: BTreeSet::from([signer]),
            ask: permissions(ASKS[ask]),
            codecs: Default::default(),
            expires: None,
            stateless: false,
            metadata: serde_json::Map::new(),
        };
        let cap: &[&str] = if small_cap { &["send p"] } else { &["send *", "receive *"] };
        Arc::new(Candidate {
            artifact,
            permissions_max: permissions(cap),
            limits: LimitOverrides::default(),
            revision: None,
            surface: surface(version),
        })
    }
}

/// Every other version has one export less than the one before it.
fn surface(version: u64) -> Surface {
    let mut builder = SurfaceBuilder::default();
    let items = if version.is_multiple_of(2) { &["f", "g"][..] } else { &["f"] };
    for item in items {
        builder.item(Side::Export, "acme:api/x@1.0.0", item, "func()").expect("it is small");
    }
    builder.finish()
}

/// A good file.
#[derive(Debug, Clone)]
pub struct Wish {
    pub spec: Arc<Spec>,
    pub origin: Arc<Origin>,
    pub release: Release,
    pub resolution: Resolution,
}

impl Wish {
    /// What a file of this name asks for.
    pub fn from_bits(owner: usize, bits: u64) -> Self {
        let bits = &mut Bits(bits);
        let package_number = if bits.rarely(5) { bits.pick(PACKAGES as u64) as usize } else { owner };
        let release = Release::from_bits(package_number % PACKAGES, bits);
        // Two thirds of these numbers are no names: it needs nobody.
        let needs = [bits.pick(3 * NAMES as u64), bits.pick(3 * NAMES as u64)];
        let depends_on = needs.into_iter().filter(|n| *n < NAMES as u64).map(|n| name(n as usize)).collect();
        let moved_from = bits.rarely(6).then(|| name(bits.pick(NAMES as u64) as usize));
        let enabled = !bits.rarely(6);
        let grant = match bits.pick(5) {
            0 => Grant::default(),
            1 => Grant { without: ["send".parse().expect("a kind")].into(), ..Grant::default() },
            2 => Grant { permissions: permissions(&["send p", "send q", "receive q"]), ..Grant::default() },
            _ => Grant { permissions: permissions(&["send *", "receive *"]), ..Grant::default() },
        };
        let version = bits.rarely(6).then(|| format!("={}.0.0", release.version).parse().expect("a pin"));
        let config = json!({ "n": bits.pick(2) }).as_object().cloned().expect("an object");
        let resolution = match bits.pick(10) {
            0 => Resolution::Refused(Refusal::new("unknown-signer", "nobody trusts it")),
            1 => Resolution::Unavailable(Refusal::new("source-missing", "it is not there")),
            _ => Resolution::Ready(release.candidate()),
        };
        let spec = Spec {
            name: name(owner),
            package: package(release.package),
            enabled,
            depends_on,
            moved_from: moved_from.filter(|old| *old != name(owner)),
            require: Require { version, signer: None },
            source: Source::File { path: format!("../components/{}", name(owner)) },
            grant,
            links: BTreeMap::new(),
            config,
            limits: LimitOverrides::default(),
            supervision: Supervision::default(),
            on_uninstall: OnUninstall::default(),
            delivery: crate::desired::spec::Delivery::default(),
            breaker: None,
            triggers: Vec::new(),
            subscriptions: BTreeSet::new(),
        };
        let origin = Arc::new(Origin { file: format!("{}.toml", spec.name), lines: BTreeMap::new() });
        Self { spec: Arc::new(spec), origin, release, resolution }
    }

    /// The same file over another artifact.
    pub fn at_source(mut self, bits: u64) -> Self {
        self.release = Release::from_bits(self.release.package, &mut Bits(bits));
        self.resolution = Resolution::Ready(self.release.candidate());
        self
    }

    /// The same file over another version.
    pub fn at_version(mut self, version: u64) -> Self {
        self.release.version = version;
        self.resolution = Resolution::Ready(self.release.candidate());
        self
    }

    /// The same file with changes.
    pub fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(Arc::make_mut(&mut self.spec));
        self
    }

    /// A file that nothing stands against: its release is newer than all others, its grant names all that is
    /// asked, and it needs nobody.
    pub fn benign(owner: usize, bits: u64) -> Self {
        let mut wish = Self::from_bits(owner, bits);
        wish.release = Release {
            version: VERSIONS + 1,
            other_bytes: false,
            other_signer: false,
            small_cap: false,
            ask: 3,
            ..wish.release
        };
        wish.resolution = Resolution::Ready(wish.release.candidate());
        wish.with(|spec| {
            spec.depends_on.clear();
            spec.moved_from = None;
            spec.require = Require::default();
            spec.grant = Grant { permissions: permissions(&["send p", "receive q"]), ..Grant::default() };
        })
    }
}
