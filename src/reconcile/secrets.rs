//! Looks at the secrets that desired files name, and reads them for components that start.
//!
//! Between passes only fingerprints are kept. A value is read when its component is made ready, and is then the
//! instance's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::desired::config;
use crate::desired::spec::Spec;
use crate::desired::{DesiredState, Entry};
use crate::host::GuestConfig;
use crate::name::InstallationName;
use crate::record::Record;
use crate::resolution::Refusal;
use crate::safe_open::Identity;
use crate::secret::{AllSecrets, Fingerprint, Fingerprints, Secret, SecretReference};
use crate::source::secret::SecretPlaces;
use crate::state::SecretKey;

use super::observe::Targeted;

/// How long what a command printed counts before it is run again.
const COMMAND_HOLDS: Duration = Duration::from_secs(300);
/// How long a command that failed is left alone.
const COMMAND_RESTS: Duration = Duration::from_secs(60);
/// Longest time that one look spends on commands; what is left is looked at with the next one.
const COMMANDS_TIME: Duration = Duration::from_secs(30);

/// Whether a secret must be what was seen when the record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It must: a plan is carried out, and that is what the plan says.
    AsRecorded,
    /// Whatever it is now: what was committed starts, and the next pass notes what changed.
    AsItIs,
}

/// Looks at secrets again and again.
pub struct Secrets {
    places: SecretPlaces,
    /// None before a host made one: nothing is committed yet, and nothing has to be told apart.
    key: Option<SecretKey>,
    seen: BTreeMap<SecretReference, Seen>,
    named: Named,
    states: AllSecrets,
}

struct Seen {
    found: Result<Fingerprint, Refusal>,
    /// The file, if a later look may go by it.
    identity: Option<Identity>,
    at: Duration,
}

/// The secrets that specs name.
#[derive(Default)]
struct Named {
    /// In the order of their installations' names.
    specs: Vec<Arc<Spec>>,
    /// Each with its installation and its place in the config.
    secrets: Vec<(InstallationName, String, SecretReference)>,
}

impl Named {
    /// Those of a desired state. Where every spec is the same one as before, none is read.
    fn in_state(self, desired: &DesiredState) -> Self {
        let specs = || {
            desired.entries.values().filter_map(|entry| match entry {
                Entry::Wanted { spec, .. } => Some(spec),
                Entry::Held(_) => None,
            })
        };
        if specs().map(Arc::as_ptr).eq(self.specs.iter().map(Arc::as_ptr)) {
            return self;
        }
        let of = |spec: &Arc<Spec>| {
            let name = spec.name.clone();
            config::secrets(&spec.config).into_iter().map(move |(place, reference)| (name.clone(), place, reference))
        };
        Self { specs: specs().cloned().collect(), secrets: specs().flat_map(of).collect() }
    }
}

impl Secrets {
    /// Nothing was looked at yet.
    pub fn new(places: SecretPlaces, key: Option<SecretKey>) -> Self {
        Self { places, key, seen: BTreeMap::new(), named: Named::default(), states: AllSecrets::new() }
    }

    /// Looks at every secret that a file names. Files are read when they changed, commands run now and then.
    pub fn look(&mut self, desired: &DesiredState, now: Duration) -> &AllSecrets {
        self.states.clear();
        let begun = Instant::now();
        let named = std::mem::take(&mut self.named).in_state(desired);
        for (name, place, reference) in &named.secrets {
            let found = self.look_at(reference, now, begun);
            self.states.entry(name.clone()).or_default().insert(place.clone(), found);
        }
        let used: BTreeSet<_> = named.secrets.iter().map(|(_, _, reference)| reference).collect();
        self.seen.retain(|reference, _| used.contains(reference));
        self.named = named;
        &self.states
    }

    fn look_at(&mut self, reference: &SecretReference, now: Duration, begun: Instant) -> Result<Fingerprint, Refusal> {
        let is_command = matches!(reference, SecretReference::Command(_));
        if let Some(seen) = self.seen.get(reference) {
            let holds = if seen.found.is_ok() { COMMAND_HOLDS } else { COMMAND_RESTS };
            let is_same = match is_command {
                true => now.saturating_sub(seen.at) < holds,
                false => seen.identity.is_some() && self.places.identity(reference) == seen.identity,
            };
            if is_same {
                return seen.found.clone();
            }
        }
        if is_command && begun.elapsed() > COMMANDS_TIME {
            let why = format!(
                "{reference} was not run yet: the commands of other secrets took {} s",
                COMMANDS_TIME.as_secs()
            );
            return Err(Refusal::new("secret-not-read-yet", why).hint("the next pass goes on with it"));
        }
        let read = self.places.read(reference);
        let identity = read.as_ref().ok().and_then(|read| read.identity);
        let found = read.map(|read| self.fingerprint(&read.secret));
        self.seen.insert(reference.clone(), Seen { found: found.clone(), identity, at: now });
        found
    }

    fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        self.key.as_ref().map_or(Fingerprint::of_mac(&[0; 32]), |key| key.fingerprint(secret))
    }

    /// The fingerprints of a record's secrets, read now.
    pub fn fingerprints(&self, record: &Record) -> Result<Fingerprints, Refusal> {
        let read = |reference: SecretReference| -> Result<_, Refusal> {
            Ok(self.fingerprint(&self.places.read(&reference)?.secret))
        };
        config::secrets(&record.spec.config).into_iter().map(|(place, at)| Ok((place, read(at)?))).collect()
    }

    /// The directories in which secrets lie, as far as they were looked at.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        self.seen.keys().filter_map(|reference| self.places.watched(reference)).collect()
    }

    /// A record's config with the values of its secrets, read now.
    pub fn config(&self, record: &Record, expect: Expect) -> Result<GuestConfig, Refusal> {
        let config = &record.spec.config;
        let mut values = BTreeMap::new();
        for (place, reference) in config::secrets(config) {
            let secret = self.places.read(&reference)?.secret;
            if expect == Expect::AsRecorded && record.secrets.get(&place) != Some(&self.fingerprint(&secret)) {
                let message = format!("the secret {place} changed since the plan was made");
                return Err(Refusal::new("secret-changed", message).hint("the next pass takes the new value"));
            }
            values.insert(place, secret);
        }
        let table = config::with_values(config, &values);
        let missing = || Refusal::new("secret-missing", "a secret of its config was not read");
        Ok(GuestConfig::new(table.ok_or_else(missing)?, values.into_values().collect()))
    }
}

/// What a look would find if no secret had another content than when it was committed: for plans that are made where
/// the secrets are not. One that is named anew, or in another place, differs from every committed one.
pub fn as_recorded(desired: &DesiredState, committed: &BTreeMap<InstallationName, Targeted>) -> AllSecrets {
    let mut states = AllSecrets::new();
    for (name, entry) in &desired.entries {
        let Entry::Wanted { spec, .. } = entry else { continue };
        let before = committed.get(name).or_else(|| committed.get(spec.moved_from.as_ref()?));
        let named = before.map(|before| config::secrets(&before.record.spec.config)).unwrap_or_default();
        for (place, reference) in config::secrets(&spec.config) {
            let is_same = named.get(&place) == Some(&reference);
            let recorded = before.filter(|_| is_same).and_then(|before| before.record.secrets.get(&place));
            let found = recorded.copied().unwrap_or(Fingerprint::of_mac(&[0; 32]));
            states.entry(name.clone()).or_default().insert(place, Ok(found));
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{self, DesiredFile, file};
    use crate::secret::SecretRules;
    use crate::source::secret::Environment;

    fn parsed(name: &str, secret: &str) -> DesiredFile {
        let text = format!(
            "package = \"test:{name}\"\n[source.file]\npath = \"../{name}\"\n[config]\nkey = {{ secret-env = \"{secret}\" }}\n"
        );
        DesiredFile::Parsed(Arc::new(file::parse(&format!("{name}.toml"), text.as_bytes())))
    }

    #[test]
    fn a_secret_is_named_as_long_as_a_spec_names_it_however_often_the_same_specs_are_looked_at() {
        let names = |named: &Named| {
            named.secrets.iter().map(|(name, place, at)| format!("{name} {place} {at}")).collect::<Vec<_>>()
        };
        let files = |second: &str| {
            let a = parsed("a", "ONE");
            BTreeMap::from([("a.toml".to_owned(), a), ("b.toml".to_owned(), parsed("b", second))])
        };
        let (rules, environment) = (SecretRules::default(), Environment::Own);
        let places = SecretPlaces { directory: None, rules, environment, own: Vec::new() };
        let mut secrets = Secrets::new(places, None);
        for second in ["TWO", "THREE"] {
            let state = desired::assemble(&files(second), &BTreeMap::new());
            let first = Named::default().in_state(&state);
            assert_eq!(names(&first).len(), 2, "{:?}", state.entries);
            assert!(names(&first)[1].contains(second), "{:?}", names(&first));
            for look in 0..2 {
                assert_eq!(secrets.look(&state, Duration::ZERO).len(), 2, "look {look}");
                assert_eq!(names(&secrets.named), names(&first), "look {look}");
                assert_eq!(secrets.seen.len(), 2, "look {look}: what no spec names any more is forgotten");
            }
        }
        assert!(secrets.look(&DesiredState::default(), Duration::ZERO).is_empty());
        assert!(secrets.seen.is_empty());
    }
}
