//! Decides what differs between two records, field by field.
//!
//! Every field is taken out by name, so that a new field does not compile until it has a place here. What
//! a difference leads to is decided in `decide`.

mod values;

use std::collections::BTreeSet;

use serde::Serialize;

use values::{
    breaker_values, limit_changes, link_changes, named_changes, require_values, secret_changes, supervision_values,
    trigger_texts,
};

pub(crate) use values::source_text;

use super::diff::{self, ConfigDiff};
use crate::codec::Codecs;
use crate::desired::spec::{Delivery, OnUninstall, Spec};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::name::{InstallationName, PackageName};
use crate::permission::{Delta, Entry, Grant, Mode, Permissions};
use crate::record::{ArtifactIdentity, Record};
use crate::secret::Fingerprints;

/// One value before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// What it was.
    pub before: T,
    /// What it becomes.
    pub after: T,
}

impl<T: PartialEq + Clone> Pair<T> {
    fn between(before: &T, after: &T) -> Option<Self> {
        (before != after).then(|| Self { before: before.clone(), after: after.clone() })
    }
}

/// A set before and after, as what came and what went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SetDelta {
    /// Only after.
    pub added: Vec<String>,
    /// Only before.
    pub removed: Vec<String>,
}

impl SetDelta {
    fn between<T: Ord + ToString>(before: &BTreeSet<T>, after: &BTreeSet<T>) -> Self {
        Self {
            added: after.difference(before).map(ToString::to_string).collect(),
            removed: before.difference(after).map(ToString::to_string).collect(),
        }
    }

    fn of_permissions(before: &Permissions, after: &Permissions) -> Self {
        let delta = Delta::between(before, after);
        let texts = |entries: &[Entry]| entries.iter().map(ToString::to_string).collect();
        Self { added: texts(&delta.added), removed: texts(&delta.removed) }
    }

    /// Whether nothing came and nothing went.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// How what a component may do changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PermissionDelta {
    /// Entries that are new and allow what nothing allowed before.
    pub added: Vec<String>,
    /// Entries that are new and include one that goes away: the same, and more.
    pub widened: Vec<String>,
    /// Entries that are new and allow less than one that goes away.
    pub narrowed: Vec<String>,
    /// Entries that go away.
    pub removed: Vec<String>,
}

impl PermissionDelta {
    /// What changes from `before` to `after`.
    pub fn between(before: &Permissions, after: &Permissions) -> Self {
        let Delta { added, removed, widened: _ } = Delta::between(before, after);
        let mut delta = Self { removed: removed.iter().map(ToString::to_string).collect(), ..Self::default() };
        for entry in added {
            let list = if before.includes(&entry) {
                &mut delta.narrowed
            } else if removed.iter().any(|gone| entry.covers(gone)) {
                &mut delta.widened
            } else {
                &mut delta.added
            };
            list.push(entry.to_string());
        }
        delta
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        let Self { added, widened, narrowed, removed } = self;
        [added, widened, narrowed, removed].iter().all(|list| list.is_empty())
    }
}

/// A named value that is set, unset or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedChange {
    /// As files write it.
    pub name: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

macro_rules! deltas {
    ($($(#[$doc:meta])* $field:ident: $type:ty, $empty:literal;)*) => {
        /// What differs between what is installed and what is wanted. Empty fields are left out of documents.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct Deltas {
            $($(#[$doc])* #[serde(skip_serializing_if = $empty)] pub $field: $type,)*
        }
    };
}

deltas! {
    /// Another package: its storage is another one, too.
    package: Option<Pair<PackageName>>, "Option::is_none";
    /// The signed version.
    version: Option<Pair<semver::Version>>, "Option::is_none";
    /// The signed sequence.
    sequence: Option<Pair<u64>>, "Option::is_none";
    /// The wasm.
    wasm: Option<Pair<Digest>>, "Option::is_none";
    /// The manifest's bytes.
    manifest: Option<Pair<Digest>>, "Option::is_none";
    /// The signature file's bytes.
    signature: Option<Pair<Digest>>, "Option::is_none";
    /// The trust rule.
    publisher: Option<Pair<String>>, "Option::is_none";
    /// Whose signatures counted.
    signers: Option<Pair<BTreeSet<PublicKey>>>, "Option::is_none";
    /// What the component may do.
    permissions: PermissionDelta, "PermissionDelta::is_empty";
    /// What the manifest asks for.
    ask: SetDelta, "SetDelta::is_empty";
    /// The codecs that the manifest declares; none means all.
    codecs: Option<Pair<Codecs>>, "Option::is_none";
    /// What the operator grants.
    grant: SetDelta, "SetDelta::is_empty";
    /// What the operator declines on purpose.
    without: SetDelta, "SetDelta::is_empty";
    /// Whether it runs.
    enabled: Option<Pair<bool>>, "Option::is_none";
    /// The limits it runs under.
    limits: Vec<NamedChange>, "Vec::is_empty";
    /// Limits that are written or no longer written, at the same value.
    limits_written: Vec<NamedChange>, "Vec::is_empty";
    /// Which installations its links mean.
    links: Vec<NamedChange>, "Vec::is_empty";
    /// What must be ready before it starts.
    depends_on: SetDelta, "SetDelta::is_empty";
    /// Messages that the host sends by itself.
    triggers: Option<Pair<Vec<String>>>, "Option::is_none";
    /// The topics that it takes from its start on.
    subscriptions: SetDelta, "SetDelta::is_empty";
    /// What happens after a crash.
    supervision: Vec<NamedChange>, "Vec::is_empty";
    /// When it stops sending to a target whose messages end badly.
    breaker: Vec<NamedChange>, "Vec::is_empty";
    /// What becomes of its storage when it is uninstalled.
    on_uninstall: Option<Pair<OnUninstall>>, "Option::is_none";
    /// Whether its messages outlive the host.
    delivery: Option<Pair<Delivery>>, "Option::is_none";
    /// What becomes of what it asks for and is not granted.
    mode: Option<Pair<Mode>>, "Option::is_none";
    /// Where the artifact comes from.
    source: Option<Pair<String>>, "Option::is_none";
    /// Conditions on the artifact.
    require: Vec<NamedChange>, "Vec::is_empty";
    /// The name it had before.
    moved_from: Option<Pair<Option<InstallationName>>>, "Option::is_none";
    /// What reaches `init`.
    config: Option<ConfigDiff>, "Option::is_none";
    /// Secrets in it whose content is another, by fingerprints.
    secrets: Vec<NamedChange>, "Vec::is_empty";
}

impl Deltas {
    /// What changes from `before` to `after`; where the specs were written is no difference.
    pub fn between(before: &Record, after: &Record) -> Self {
        let Record { spec, origin: _, artifact, effective, limits, secrets, revision: _, surface: _ } = after;
        let mut deltas = Self { secrets: secret_changes(&before.secrets, secrets), ..Self::default() };
        deltas.compare_artifacts(&before.artifact, artifact);
        deltas.compare_specs(&before.spec, spec);
        deltas.permissions = PermissionDelta::between(&before.effective, effective);
        deltas.limits = limit_changes(&before.limits.into(), &(*limits).into());
        let is_shown: BTreeSet<&str> = deltas.limits.iter().map(|limit| limit.name.as_str()).collect();
        let written = limit_changes(&before.spec.limits, &spec.limits);
        deltas.limits_written = written.into_iter().filter(|limit| !is_shown.contains(limit.name.as_str())).collect();
        deltas
    }

    /// What differs between an installed artifact and one that does not come so far as to be a record.
    pub fn between_artifacts(before: &ArtifactIdentity, after: &ArtifactIdentity) -> Self {
        let mut deltas = Self::default();
        deltas.compare_artifacts(before, after);
        deltas
    }

    /// What an installation gets that was not there before.
    pub fn of_install(after: &Record) -> Self {
        let permissions = PermissionDelta::between(&Permissions::none(), &after.effective);
        let secrets = secret_changes(&Fingerprints::new(), &after.secrets);
        Self { permissions, secrets, ..Self::default() }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether another artifact takes over, be it only by its manifest or its signatures.
    pub fn touches_artifact(&self) -> bool {
        self.package.is_some() || self.wasm.is_some() || self.manifest.is_some() || self.signature.is_some()
    }

    /// Whether the running instance can't go on as it is.
    pub fn touches_instance(&self) -> bool {
        let Self {
            package,
            version: _, // Part of the manifest.
            sequence: _,
            wasm,
            manifest,
            signature: _, // Who signed the same bytes changes nothing that runs.
            publisher: _,
            signers: _,
            permissions,
            ask: _,
            codecs: _, // Part of the manifest.
            grant: _,  // What comes of it is `permissions`.
            without: _,
            enabled,
            limits,
            limits_written: _,
            links,
            depends_on: _, // Matters at the next start.
            triggers,
            subscriptions,
            supervision,
            breaker,
            on_uninstall: _,
            delivery,
            mode,
            source: _,
            require: _,
            moved_from: _,
            config,
            secrets,
        } = self;
        package.is_some()
            || wasm.is_some()
            || manifest.is_some()
            || !permissions.is_empty()
            || enabled.is_some()
            || !limits.is_empty()
            || !links.is_empty()
            || triggers.is_some()
            || !subscriptions.is_empty()
            || !supervision.is_empty()
            || delivery.is_some()
            || mode.is_some()
            || !breaker.is_empty()
            || config.is_some()
            || !secrets.is_empty()
    }

    /// Whether the running instance can't go on as it is, and could with another config.
    pub fn touches_config_alone(&self) -> bool {
        let rest = Self { config: None, secrets: Vec::new(), ..self.clone() };
        self.touches_instance() && !rest.touches_instance()
    }

    /// The keys of the desired file that differ.
    pub fn changed_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("enabled", self.enabled.is_some()),
            ("depends-on", !self.depends_on.is_empty()),
            ("moved-from", self.moved_from.is_some()),
            ("require", !self.require.is_empty()),
            ("source", self.source.is_some()),
            ("grant", !self.grant.is_empty() || !self.without.is_empty()),
            ("links", !self.links.is_empty()),
            ("config", self.config.is_some() || !self.secrets.is_empty()),
            ("limits", !self.limits.is_empty() || !self.limits_written.is_empty()),
            ("supervision", !self.supervision.is_empty()),
            ("breaker", !self.breaker.is_empty()),
            ("deploy.on-uninstall", self.on_uninstall.is_some()),
            ("delivery", self.delivery.is_some()),
            ("permissions", self.mode.is_some()),
            ("trigger", self.triggers.is_some()),
            ("subscriptions", !self.subscriptions.is_empty()),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    fn compare_artifacts(&mut self, before: &ArtifactIdentity, after: &ArtifactIdentity) {
        let ArtifactIdentity {
            package,
            version,
            sequence,
            manifest,
            signature,
            wasm,
            wasm_size: _, // Equal wasm has equal size.
            publisher,
            signers,
            ask,
            codecs,
            expires: _,   // Part of the manifest, whose digest is compared.
            stateless: _, // Likewise.
            metadata: _,  // Likewise.
        } = after;
        self.package = Pair::between(&before.package, package);
        self.version = Pair::between(&before.version, version);
        self.sequence = Pair::between(&before.sequence, sequence);
        self.wasm = Pair::between(&before.wasm, wasm);
        self.manifest = Pair::between(&before.manifest, manifest);
        self.signature = Pair::between(&before.signature, signature);
        self.publisher = Pair::between(&before.publisher, publisher);
        self.signers = Pair::between(&before.signers, signers);
        self.ask = SetDelta::of_permissions(&before.ask, ask);
        self.codecs = Pair::between(&before.codecs, codecs);
    }

    fn compare_specs(&mut self, before: &Spec, after: &Spec) {
        let Spec {
            name: _,    // Equal, or the action is a move and says so.
            package: _, // Equal to the artifact's.
            enabled,
            depends_on,
            moved_from,
            require,
            source,
            grant,
            links,
            config,
            limits: _, // Compared beside the limits that come of them.
            supervision,
            breaker,
            on_uninstall,
            delivery,
            triggers,
            subscriptions,
        } = after;
        let Grant { permissions, without, mode } = grant;
        self.enabled = Pair::between(&before.enabled, enabled);
        self.depends_on = SetDelta::between(&before.depends_on, depends_on);
        self.moved_from = Pair::between(&before.moved_from, moved_from);
        self.require = named_changes(require_values(&before.require), require_values(require));
        self.source = Pair::between(&source_text(&before.source), &source_text(source));
        self.grant = SetDelta::of_permissions(&before.grant.permissions, permissions);
        self.without = SetDelta::between(&before.grant.without, without);
        self.links = link_changes(&before.links, links);
        self.config = diff::between(&before.config, config);
        self.supervision = named_changes(supervision_values(&before.supervision), supervision_values(supervision));
        self.breaker = named_changes(breaker_values(&before.breaker), breaker_values(breaker));
        self.on_uninstall = Pair::between(&before.on_uninstall, on_uninstall);
        self.delivery = Pair::between(&before.delivery, delivery);
        self.mode = Pair::between(&before.grant.mode, mode);
        self.subscriptions = SetDelta::between(&before.subscriptions, subscriptions);
        self.triggers = Pair::between(&trigger_texts(&before.triggers), &trigger_texts(triggers));
    }
}
