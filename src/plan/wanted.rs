//! Decides what a spec and a verified artifact come to: a complete record, or why there can't be one.
//!
//! Looks at one installation alone. What else a plan holds, and what is held back, is not known here.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::action::{Location, Reason};
use super::decide::Rules;
use super::imports;
use crate::desired::spec::{Origin, Spec};
use crate::digest::Digest;
use crate::floors::Floors;
use crate::limits::Limits;
use crate::observed::Installed;
use crate::permission::{Decision, Declined, ENFORCED_KINDS, Entry, Kind, Mode, decide, why_forbidden};
use crate::record::{ArtifactIdentity, Record};
use crate::resolution::Candidate;
use crate::secret::Fingerprints;

/// What would be committed, and what was decided about its permissions.
pub(super) struct Wanted {
    pub record: Arc<Record>,
    pub target: Digest,
    pub decision: Decision,
}

impl Wanted {
    /// Puts a spec, an artifact and the fingerprints of the spec's secrets together.
    pub fn new(spec: &Spec, origin: &Origin, candidate: &Candidate, secrets: Fingerprints) -> Self {
        let Candidate { artifact, permissions_max, limits, revision, surface } = candidate;
        let decision = decide(&artifact.ask, &spec.grant, permissions_max, ENFORCED_KINDS);
        let record = Record {
            spec: spec.clone(),
            origin: origin.clone(),
            artifact: artifact.clone(),
            effective: decision.effective.clone(),
            limits: Limits::resolve(&spec.limits, limits),
            secrets,
            revision: revision.clone(),
            surface: Some(surface.clone()),
        };
        let target = record.target_digest();
        Self { record: Arc::new(record), target, decision }
    }

    /// What it runs without to see whether it needs it, if it observes.
    pub fn observes(&self) -> Option<String> {
        let grant = &self.record.spec.grant;
        let lacks: Vec<Entry> =
            self.decision.declined.iter().filter(|ask| !grant.declines_on_purpose(ask)).cloned().collect();
        let text = match lacks.is_empty() {
            true => "it has all that it asks for, and `status` shows what of it it uses".to_owned(),
            false => format!("it runs without {}, and `status` shows what it would need", list(&lacks)),
        };
        (grant.mode == Mode::Observe).then(|| format!("it observes: {text}"))
    }

    /// Which rule forbids it, if one does; `base` is what it would replace.
    pub fn objection(&self, base: Option<&Record>, rules: &Rules<'_>) -> Option<(Reason, Location)> {
        let Record { spec, origin, artifact, .. } = &*self.record;
        if artifact.package != spec.package {
            let message = format!("the source holds {}, and the file asks for {}", artifact.package, spec.package);
            return Some((Reason::new("wrong-package", message), Location::of(origin, &["package"])));
        }
        if let Some(reason) = sequence_objection(spec, artifact, base.map(|base| &base.artifact), rules.floors) {
            return Some((reason, Location::of(origin, &["require.version", "source.file.path", "source"])));
        }
        if let Some(reason) = imports::objection(&self.record, &rules.host) {
            return Some((reason, Location::of(origin, &["source.file.path", "source"])));
        }
        if let Some(reason) = permission_objection(&self.record, &self.decision) {
            return Some((reason, Location::of(origin, &["grant", "package"])));
        }
        let reason = subscription_objection(&self.record)?;
        Some((reason, Location::of(origin, &["subscriptions", "package"])))
    }
}

/// Whether an installation is what a spec and an artifact come to, found out without making anything.
///
/// `false` only means that a closer look is needed.
pub(super) fn is_unchanged(spec: &Spec, candidate: &Candidate, secrets: &Fingerprints, installed: &Installed) -> bool {
    let Candidate { artifact, permissions_max, limits, revision: _, surface: _ } = candidate;
    let Record {
        spec: old_spec,
        origin: _,
        artifact: old_artifact,
        effective,
        limits: old_limits,
        secrets: old_secrets,
        revision: _,
        surface: _, // Follows from the wasm, and is not looked at where nothing changes.
    } = &*installed.record;
    // Where all of the ask was given under the same grant, all of it is given again, unless the cap fell below it.
    old_artifact == artifact
        && old_spec == spec
        && old_secrets == secrets
        && *old_limits == Limits::resolve(&spec.limits, limits)
        && *effective == artifact.ask
        && artifact.ask.is_subset_of(permissions_max)
}

fn sequence_objection(
    spec: &Spec,
    artifact: &ArtifactIdentity,
    base: Option<&ArtifactIdentity>,
    floors: &Floors,
) -> Option<Reason> {
    // What runs here already was accepted once; going on with it is no step back.
    if base.is_some_and(|base| base.manifest == artifact.manifest && base.wasm == artifact.wasm) {
        return None;
    }
    let ArtifactIdentity { package, version, sequence, .. } = artifact;
    let known = floors.of(package);
    if *sequence < known.floor {
        let message = format!("{package} {version} has sequence {sequence}; below {} it is revoked", known.floor);
        return Some(Reason::new("below-floor", message).hint("install a newer release"));
    }
    if *sequence < known.high && !spec.require.is_exact_pin() {
        let message = format!(
            "{package} {version} has sequence {sequence}, and {} was accepted here before: going back needs an exact pin",
            known.high
        );
        return Some(Reason::new("rollback", message).hint(format!("add:\n[require]\nversion = \"={version}\"")));
    }
    let base = base.filter(|base| base.package == *package)?;
    (base.version == *version && *sequence <= base.sequence).then(|| {
        let message = format!("{package} {version} has other bytes than the {version} that is installed");
        Reason::new("same-version-other-bytes", message)
            .hint("a release must not change: the publisher has to give it a new version and a higher sequence")
    })
}

/// Everything that stands between the ask and the component, in one reason: so that one edit is enough.
fn permission_objection(record: &Record, decision: &Decision) -> Option<Reason> {
    let Decision { effective: _, withheld, declined: _, over_cap, forbidden, not_enforced, named: _, covered: _ } =
        decision;
    let is_enforced = |entry: &&Entry| ENFORCED_KINDS.contains(&entry.kind());
    // A line that gives what nothing enforces would only lead to the next refusal.
    let all = not_enforced.iter().chain(withheld).chain(over_cap);
    let not_enforced: BTreeSet<Entry> = all.filter(|entry| !is_enforced(entry)).cloned().collect();
    let not_enforced: Vec<Entry> = not_enforced.into_iter().collect();
    let withheld: Vec<Entry> = withheld.iter().filter(is_enforced).cloned().collect();
    let over_cap: Vec<Entry> = over_cap.iter().filter(is_enforced).cloned().collect();

    let mut problems: Vec<(&'static str, String)> = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    if let Some(first) = forbidden.first() {
        let why = why_forbidden(first).unwrap_or_else(|| "no component may have it".to_owned());
        problems.push(("permission-forbidden", format!("{}: {why}", list(forbidden))));
        hints.push(decline_hint(record, forbidden));
    }
    if !over_cap.is_empty() {
        let publisher = &record.artifact.publisher;
        let message = format!("{} is more than the trust rule of publisher {publisher} allows", list(&over_cap));
        problems.push(("permission-over-cap", message));
        hints.push(format!("raise permissions-max of [publisher.{publisher}] in trust.toml, or decline:"));
        hints.push(decline_hint(record, &over_cap));
    }
    if !not_enforced.is_empty() {
        let message = format!("{} is not enforced by this version, so it is not given", list(&not_enforced));
        problems.push(("permission-not-enforced", message));
        hints.push(decline_hint(record, &not_enforced));
    }
    if !withheld.is_empty() {
        problems.push(("permission-withheld", format!("it asks for {}, which [grant] withholds", list(&withheld))));
        let lines = record.spec.grant.lines_with(&withheld).join("\n");
        hints.push(format!("to give it, write in {}:\n[grant]\n{lines}", record.origin.file));
        hints.push(format!("or decline it:\n{}", without_line(record, &withheld)));
    }
    let code = problems.first()?.0;
    let message = problems.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("; ");
    Some(Reason::new(code, message).hint(hints.join("\n")))
}

/// What its file subscribes it to and it may not take.
fn subscription_objection(record: &Record) -> Option<Reason> {
    let patterns = record.spec.subscriptions.iter().filter(|pattern| !record.effective.may_subscribe(pattern));
    let patterns: Vec<Entry> = patterns.map(|pattern| Entry::Subscribe(pattern.clone())).collect();
    if patterns.is_empty() {
        return None;
    }
    let (asked, not_asked): (Vec<Entry>, Vec<Entry>) =
        patterns.iter().cloned().partition(|entry| record.artifact.ask.includes(entry));
    let mut hints = Vec::new();
    if !asked.is_empty() {
        let lines = record.spec.grant.lines_with(&asked).join("\n");
        hints.push(format!("to let it, write in {}:\n[grant]\n{lines}", record.origin.file));
    }
    if !not_asked.is_empty() {
        hints.push(format!("its manifest does not ask for {}: remove it from `subscriptions`", list(&not_asked)));
    }
    let message = format!("`subscriptions` needs {}, which it may not", list(&patterns));
    Some(Reason::new("subscription-not-granted", message).hint(hints.join("\n")))
}

fn list(entries: &[Entry]) -> String {
    entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn decline_hint(record: &Record, entries: &[Entry]) -> String {
    let is_granted = entries.iter().any(|entry| record.spec.grant.permissions.names(entry));
    let first = if is_granted { "remove it from [grant] and write there" } else { "write in" };
    match is_granted {
        true => format!("{first}:\n{}", without_line(record, entries)),
        false => format!("{first} {}:\n[grant]\n{}", record.origin.file, without_line(record, entries)),
    }
}

/// A text as TOML writes it; one of JSON in single quotes, so that a person can read it.
fn quoted(text: &str) -> String {
    match text.contains(['"', '\\']) && !text.contains('\'') {
        true => format!("'{text}'"),
        false => toml::Value::from(text).to_string(),
    }
}

/// The line that declines the asks behind `entries`, complete with what is declined already.
fn without_line(record: &Record, entries: &[Entry]) -> String {
    let kinds: BTreeSet<Kind> = entries.iter().map(Entry::kind).collect();
    let ask = record.artifact.ask.entries().filter(|ask| kinds.contains(&ask.kind()));
    let asked = ask.filter(|ask| entries.iter().any(|entry| ask.covers(entry)));
    let grant = &record.spec.grant;
    let mut declined = grant.without.clone();
    declined.extend(asked.map(|ask| Declined::Entry(ask.clone())));
    let texts: Vec<String> = declined.iter().map(|declined| quoted(&declined.to_string())).collect();
    format!("without = [{}]", texts.join(", "))
}
