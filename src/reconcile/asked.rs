//! What an operator asks of a reconciler between two passes: pause, resume, look again.
//!
//! Each is durable before it is answered, and none of them carries out an action.

use std::time::Instant;

use crate::audit::{Entry, Kind};
use crate::name::InstallationName;
use crate::paused::{MAX_PAUSED, Paused, PausedBy};
use crate::plan::approval::Operator;
use crate::plan::notes::Order;
use crate::state::StateError;

use super::apply::Holds;
use super::reconciler::Reconciler;
use super::repository::Snapshots;

/// Why a pause or its end was not carried out. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// Neither installed nor in a desired file.
    #[error("there is no installation named {0}, and no desired file of that name")]
    Unknown(InstallationName),
    /// More than [`MAX_PAUSED`].
    #[error("{MAX_PAUSED} installations are paused already; pause everything instead")]
    TooMany,
    /// It could not be written down.
    #[error(transparent)]
    State(#[from] StateError),
    /// The hold could not be taken out of the committed set.
    #[error("{0:#}")]
    Commit(anyhow::Error),
}

/// What a resume lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifted {
    /// A pause.
    pub pause: bool,
    /// The hold of a target that failed or was rolled back.
    pub hold: bool,
}

impl Reconciler {
    /// From now on no action is carried out for one installation, or for any. What runs goes on.
    pub fn pause(&mut self, name: Option<&InstallationName>, by: PausedBy) -> Result<(), PauseError> {
        let mut paused = self.committed.paused.clone();
        match name {
            // Who paused first stays known.
            None => drop(paused.all.get_or_insert(by.clone())),
            Some(name) => {
                self.check_known(name)?;
                if paused.names.len() >= MAX_PAUSED && !paused.names.contains_key(name) {
                    return Err(PauseError::TooMany);
                }
                paused.names.entry(name.clone()).or_insert(by.clone());
            }
        }
        let changes = paused != self.committed.paused;
        self.set_paused(paused)?;
        if changes {
            self.record_of_operator(Kind::Pause, name, &by.by, "paused");
        }
        Ok(())
    }

    /// Lifts what holds one installation back (its pause, and the hold of a target that failed or was
    /// rolled back), or the pause of everything.
    pub fn resume(&mut self, name: Option<&InstallationName>, by: &Operator) -> Result<Lifted, PauseError> {
        let mut paused = self.committed.paused.clone();
        let Some(name) = name else {
            let lifted = Lifted { pause: paused.all.take().is_some(), hold: false };
            self.set_paused(paused)?;
            if lifted.pause {
                self.record_of_operator(Kind::Resume, None, by, "the pause is lifted");
            }
            return Ok(lifted);
        };
        let lifted = Lifted {
            pause: paused.names.remove(name).is_some(),
            hold: self.committed.generation.holds.contains_key(name) || self.quarantined.get(name).is_some(),
        };
        if lifted == (Lifted { pause: false, hold: false }) {
            self.check_known(name)?;
        }
        self.set_paused(paused)?;
        if lifted.pause {
            self.record_of_operator(Kind::Resume, Some(name), by, "the pause is lifted");
        }
        if self.lift_quarantine(name) {
            self.record_of_operator(Kind::Resume, Some(name), by, "the quarantine is lifted");
        }
        if self.committed.generation.holds.contains_key(name) {
            let order = Some(Order { what: format!("resume of {name}"), by: by.clone() });
            let holds = Holds { drop: vec![name.clone()], order, ..Holds::default() };
            self.carry_out(&[], holds, Instant::now()).map_err(PauseError::Commit)?;
        }
        Ok(lifted)
    }

    fn record_of_operator(&self, kind: Kind, name: Option<&InstallationName>, by: impl ToString, what: &str) {
        self.recorder.note(|now| {
            let entry = Entry::new(now, kind, what).by(by);
            match name {
                Some(name) => entry.about(name),
                None => Entry { what: format!("everything: {what}"), ..entry },
            }
        });
        self.recorder.write(&self.parts.store, &self.parts.tell);
    }

    /// The same without a host. Nobody has read the desired files yet, which say what a name may be.
    pub fn resume_once(&mut self, name: Option<&InstallationName>, by: &Operator) -> Result<Lifted, PauseError> {
        if self.snapshots.is_none() {
            let last_good = self.committed.last_good();
            self.reader.read_settled(self.committed.generation.number, &last_good);
        }
        self.resume(name, by)
    }

    /// What is paused.
    pub fn paused(&self) -> &Paused {
        &self.committed.paused
    }

    /// Makes the next pass look at every source afresh, and try at once what waits for another attempt.
    pub fn look_at_everything(&mut self) {
        self.resolver.forget_all();
        if let Some(snapshots) = &self.snapshots {
            snapshots.look_now();
        }
        self.sources.reset();
        self.aftermath.try_now();
    }

    /// Whether something is being fetched, or about to be: whoever waits is told by a look when it is not any more.
    pub fn is_fetching(&self) -> bool {
        // Both are asked, as both must tell.
        let (remote, snapshots) =
            (self.resolver.remote().is_fetching(), self.snapshots.as_ref().is_some_and(Snapshots::is_looking));
        remote || snapshots
    }

    fn desired_state(&self) -> &crate::desired::DesiredState {
        self.snapshots.as_ref().map_or_else(|| self.reader.state(), |snapshots| snapshots.state())
    }

    fn check_known(&self, name: &InstallationName) -> Result<(), PauseError> {
        let is_known =
            self.committed.generation.entries.contains_key(name) || self.desired_state().entries.contains_key(name);
        if is_known { Ok(()) } else { Err(PauseError::Unknown(name.clone())) }
    }

    fn set_paused(&mut self, paused: Paused) -> Result<(), PauseError> {
        if paused != self.committed.paused {
            self.parts.store.set_paused(paused.clone()).wait()?;
            self.committed.paused = paused;
        }
        Ok(())
    }
}
