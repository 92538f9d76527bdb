//! Goes back to an earlier generation: gathers what the decision needs, from the state alone, and carries it out.
//!
//! Nothing is fetched and no desired file is read: what an earlier generation names is in the content store, or the
//! rollback is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::home::Home;
use crate::name::InstallationName;
use crate::observed::Phase;
use crate::plan::approval::Operator;
use crate::plan::notes;
use crate::plan::rollback::document::RollbackDocument;
use crate::plan::rollback::target::{self, Candidate};
use crate::plan::rollback::{Asked, Rollback, Then, ThenEntry, propose, substance};
use crate::record::Record;
use crate::resolution::Refusal;
use crate::secret::{Fingerprints, SecretRules};
use crate::source::secret::Environment;
use crate::source::trust_file::{self, TrustLocation};
use crate::state::{Reader, StateError};
use crate::trust::TrustPolicy;

use super::apply::Holds;
use super::observe::Committed;
use super::offline::secret_places;
use super::order::{Refused, check_digits};
use super::reconciler::{Reconciler, phase};
use super::secrets::Secrets;
use super::start::admit;
use super::turns;

/// Most generations that are looked through for one to go back to; an older one must be named.
pub const MAX_SEARCHED: usize = 200;

/// What to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackTarget {
    /// Which installations; all when there is none.
    pub names: BTreeSet<InstallationName>,
    /// The generation; without it the newest earlier one that differs.
    pub to: Option<u64>,
}

/// An order to go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackOrder {
    /// What to go back to.
    pub target: RollbackTarget,
    /// The digest of the rollback that it is for, or the first digits of it; any without.
    pub digest: Option<String>,
    /// Who gives it.
    pub by: Operator,
}

/// What came of an order to go back.
#[derive(Debug)]
pub enum WentBack {
    /// What it is, or why not.
    Is(RollbackDocument),
    /// Nothing was done: it waits for code that is compiled beside the passes. To be given again when a compilation ended,
    /// as this order, which fits nothing else.
    WaitsForCode(RollbackOrder),
}

/// What the decision is made of.
struct Grounds<'a> {
    reader: &'a Reader,
    committed: &'a Committed,
    last_good: Option<u64>,
    policy: &'a TrustPolicy,
    secrets: &'a Secrets,
    /// What the actors do: it makes no difference to what a rollback is, only to what becomes of what waits for them.
    phase: &'a dyn Fn(&InstallationName) -> Phase,
}

/// What a rollback would do, without a host and without the state's lock.
pub fn look(
    home: &Home,
    desired: Option<&Path>,
    trust: &TrustLocation,
    rules: &SecretRules,
    target: &RollbackTarget,
) -> anyhow::Result<RollbackDocument> {
    let loaded = trust_file::load(trust).map_err(|error| anyhow::anyhow!("{error}\n{}", error.hint()))?;
    let reader = Reader::new(home);
    let snapshot = reader.snapshot()?;
    let last_good = snapshot.last_good;
    let committed = Committed::from(snapshot);
    let places = secret_places(home, desired, rules, Environment::Own);
    let secrets = Secrets::new(places, reader.secret_key());
    let policy = &loaded.policy;
    let phase = &|_: &InstallationName| Phase::NotRunning;
    let grounds = Grounds { reader: &reader, committed: &committed, last_good, policy, secrets: &secrets, phase };
    Ok(grounds.propose(target)?.document(None))
}

impl Grounds<'_> {
    fn propose(&self, target: &RollbackTarget) -> anyhow::Result<Rollback> {
        let number = match target.to {
            Some(number) => number,
            None => self.choose(&target.names)?.ok_or_else(|| Refused(nothing_earlier(&target.names)))?,
        };
        let then = self.then(number)?;
        let observed = self.committed.observe(self.phase);
        let asked = Asked { observed: &observed, then: &then, names: &target.names, host: crate::host::SURFACE };
        let mut rollback = propose(&asked, &mut |record| self.check(record)).map_err(Refused)?;
        for action in &rollback.actions {
            if let Some(by) = self.committed.paused.holds(&action.name) {
                let refusal = Refusal::new("paused", format!("it is paused {by}"));
                let refusal = refusal.hint("`airssys-wasm resume` lifts a pause");
                rollback.refused.entry(action.name.clone()).or_insert(refusal);
            }
        }
        Ok(rollback)
    }

    fn choose(&self, names: &BTreeSet<InstallationName>) -> Result<Option<u64>, StateError> {
        let past = self.reader.walk(MAX_SEARCHED, Candidate::of)?;
        let mut known = BTreeMap::new();
        let mut substance_of = |digest: &crate::digest::Digest| {
            *known.entry(*digest).or_insert_with(|| self.reader.record(digest).ok().flatten().map(|r| substance(&r)))
        };
        let mut same = |a: &_, b: &_| substance_of(a).is_some_and(|a| substance_of(b) == Some(a));
        Ok(target::choose(&past, names, self.last_good, &mut same))
    }

    fn then(&self, number: u64) -> anyhow::Result<Then> {
        let current = self.committed.generation.number;
        if number == current {
            let message = format!("generation {number} is the current one");
            return Err(Refused(Refusal::new("is-current", message).hint(HISTORY)).into());
        }
        let kept = if number < current { self.reader.generation(number)? } else { None };
        let Some(decoded) = kept else {
            let message = format!("generation {number} is not kept here");
            return Err(Refused(Refusal::new("no-such-generation", message).hint(HISTORY)).into());
        };
        let mut entries = BTreeMap::new();
        for (name, slot) in decoded.generation.entries {
            let installed = self.committed.records.get(&name);
            let is_same = self.committed.generation.entries.get(&name).is_some_and(|now| now.record == slot.record);
            let record = match installed.filter(|_| is_same) {
                Some(targeted) => Some(targeted.record.clone()),
                None => self.reader.record(&slot.record).ok().flatten().map(Arc::new),
            };
            entries.insert(name, ThenEntry { digest: slot.record, record, storage_id: slot.storage_id });
        }
        Ok(Then { number, written_unix_s: decoded.generation.written_unix_s, entries })
    }

    /// Whether a record may run now and everything that it needs is here; gives its secrets of now.
    fn check(&self, record: &Record) -> Result<Fingerprints, Refusal> {
        admit(self.policy, &self.committed.floors, record)?;
        let artifact = &record.artifact;
        let objects = [("manifest", artifact.manifest), ("signature", artifact.signature), ("wasm", artifact.wasm)];
        if let Some((what, digest)) = objects.into_iter().find(|(_, digest)| !self.reader.has_object(digest)) {
            let (package, version) = (&artifact.package, &artifact.version);
            let message = format!("the {what} {digest} of {package} {version} is not in the content store any more");
            return Err(Refusal::new("object-missing", message)
                .hint("a rollback fetches nothing; pin the version in its desired file to fetch it again"));
        }
        self.secrets.fingerprints(record)
    }
}

const HISTORY: &str = "`airssys-wasm history` shows which generations there are";

fn nothing_earlier(names: &BTreeSet<InstallationName>) -> Refusal {
    let what = match names.len() {
        0 => "the installed set".to_owned(),
        _ => names.iter().map(InstallationName::as_str).collect::<Vec<_>>().join(", "),
    };
    Refusal::new("nothing-earlier", format!("no earlier generation that is kept has another state of {what}"))
        .hint(HISTORY)
}

impl Reconciler {
    /// What a rollback would do now.
    pub fn plan_rollback(&mut self, target: &RollbackTarget) -> anyhow::Result<RollbackDocument> {
        Ok(self.propose_rollback(target)?.document(None))
    }

    /// Goes back, all of it or nothing. What can't go back is in the document, and then nothing was done.
    ///
    /// # Errors
    ///
    /// A [`Refused`] when the order does not fit what is there; any other when it could not be carried out. What ran
    /// goes on then.
    pub fn roll_back(&mut self, order: &RollbackOrder) -> anyhow::Result<WentBack> {
        let begun = Instant::now();
        self.beside.note_ended();
        let rollback = self.propose_rollback(&order.target)?;
        if let Some(wanted) = &order.digest {
            check_digits("rollback", &rollback.digest(), wanted).map_err(Refused)?;
        }
        if !rollback.refused.is_empty() || rollback.actions.is_empty() {
            return Ok(WentBack::Is(rollback.document(None)));
        }
        let number = self.committed.generation.number;
        let holds = Holds {
            add: rollback.held_targets(&order.by),
            drop: rollback.released.clone(),
            order: Some(notes::rollback(rollback.to, order.by.clone())),
            is_whole: true,
            ..Holds::default()
        };
        let applied = self.carry_out(&rollback.actions, holds, begun);
        self.recorder.write(&self.parts.store, &self.parts.tell);
        let applied = applied?;
        if !applied.put_off.is_empty() {
            self.ways_back.extend(rollback.actions.iter().filter_map(turns::wasm_of));
            let target = RollbackTarget { to: Some(rollback.to), ..order.target.clone() };
            let digest = Some(rollback.digest().hex());
            return Ok(WentBack::WaitsForCode(RollbackOrder { target, digest, by: order.by.clone() }));
        }
        if let Some(failed) = applied.failed.into_iter().next() {
            let message = format!("{} can't go back: {}", failed.action.name, failed.why.message);
            let refusal = Refusal { message, ..failed.why };
            return Err(Refused(refusal).into());
        }
        let committed = self.committed.generation.number;
        if committed == number {
            anyhow::bail!("the host is stopping");
        }
        // What does not go now goes in the passes to come.
        match self.parts.runs {
            true => self.settle_purges(),
            false => drop(self.finish_purges()),
        }
        if self.parts.runs {
            self.mark_good()?;
        }
        Ok(WentBack::Is(rollback.document(Some(committed))))
    }

    /// Orders that waited for their code are given again now, or never.
    pub fn forget_ways_back(&mut self) {
        self.ways_back.clear();
    }

    fn propose_rollback(&mut self, target: &RollbackTarget) -> anyhow::Result<Rollback> {
        self.reload_trust();
        let runs = self.parts.runs;
        let grounds = Grounds {
            phase: &|name| if runs { phase(&self.parts.actors, name) } else { Phase::NotRunning },
            reader: self.parts.store.reader(),
            committed: &self.committed,
            last_good: self.good,
            policy: &self.policy,
            secrets: &self.secrets,
        };
        grounds.propose(target)
    }
}
