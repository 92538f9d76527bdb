//! Owns quarantine: which targets took the host down too often, and what a plan sees of that.

use std::collections::BTreeMap;

use super::{HeldTarget, Observed, Phase};
use crate::digest::Digest;
use crate::name::InstallationName;

/// How often a target may take the host down while it alone is starting; after that it is not started any more.
pub const MAX_DEATHS: u32 = 3;

/// Targets that are not started, by installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantined(BTreeMap<InstallationName, Digest>);

impl Quarantined {
    /// Those that took the host down often enough.
    pub fn of<'d>(deaths: impl IntoIterator<Item = (&'d InstallationName, u32, Digest)>) -> Self {
        let often = deaths.into_iter().filter(|(_, count, _)| *count >= MAX_DEATHS);
        Self(often.map(|(name, _, target)| (name.clone(), target)).collect())
    }

    /// Whether a target of an installation is not to be started.
    pub fn holds(&self, name: &InstallationName, target: &Digest) -> bool {
        self.0.get(name) == Some(target)
    }

    /// The target of an installation that is not to be started.
    pub fn get(&self, name: &InstallationName) -> Option<&Digest> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&InstallationName, &Digest)> {
        self.0.iter()
    }

    /// Lifts the quarantine of an installation; says whether there was one.
    pub fn lift(&mut self, name: &InstallationName) -> bool {
        self.0.remove(name).is_some()
    }

    /// Puts into what was observed what is not to be started: as a held target, and where it is what is committed, as what
    /// the installation does.
    pub fn put_into(&self, observed: &mut Observed) {
        for (name, target) in &self.0 {
            if let Some(installed) = observed.installed.get_mut(name).filter(|installed| installed.target == *target) {
                installed.phase = Phase::Quarantined;
            }
            let held = || HeldTarget { target: *target, reason: why() };
            observed.held.entry(name.clone()).or_insert_with(held);
        }
    }
}

/// Why a target is not started.
pub fn why() -> String {
    format!("it is quarantined: the host died {MAX_DEATHS} times while it alone was starting")
}
