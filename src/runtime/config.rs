//! What a host is started with, and why one did not start.

use std::path::PathBuf;

use crate::config::StateSettings;
use crate::config::host::MemorySettings;
use crate::config::sources::SourceSettings;
use crate::home::{Home, HomeError};
use crate::reconcile::order::Refused;
use crate::reconcile::repository::FromGit;
use crate::secret::SecretRules;
use crate::source::trust_file::{TrustFileError, TrustLocation};
use crate::state::StateError;
use crate::worker::Workers;

/// What a host needs to know.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The per-user files.
    pub home: Home,
    /// The desired directory.
    pub desired: PathBuf,
    /// Where the desired files are instead, if they are in a repository.
    pub from_git: Option<FromGit>,
    /// The trust policy.
    pub trust: TrustLocation,
    /// When the file of accepted sequences is missing or damaged: make it anew from what is committed.
    /// Older sequences may then be accepted again, so only an operator may say so.
    pub rebuild_floors: bool,
    /// Where fetching and compiling happen. There is no default: a host that takes components from strangers
    /// wants processes, and only it knows a program that can be one.
    pub workers: Workers,
    /// What desired files may name as a secret.
    pub secrets: SecretRules,
    /// What the settings say about remote sources.
    pub sources: SourceSettings,
    /// Whether nothing is fetched from other machines: what is in the content store must do.
    pub offline: bool,
    /// How much of the past is kept.
    pub state: StateSettings,
    /// How much memory all instances share.
    pub memory: MemorySettings,
}

impl HostConfig {
    /// Where the desired files are, for people; escaped.
    pub(super) fn desired_shown(&self) -> String {
        match &self.from_git {
            Some(from) => from.repository.to_string(),
            None => crate::escape::escape(&self.desired.to_string_lossy()),
        }
    }
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The trust policy can't be used.
    #[error(transparent)]
    Trust(#[from] TrustFileError),
    /// The state can't be opened: another host runs, or the directory is not fit.
    #[error(transparent)]
    State(#[from] StateError),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl StartError {
    /// Why an order was refused, when that is why.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Other(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// Whether home, policy or state are at fault.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        if let Some(refused) = self.refused() {
            return refused.0.hint.clone();
        }
        match self {
            Self::Trust(error) => Some(error.hint()),
            Self::State(error) => error.hint().map(str::to_owned),
            Self::Home(_) | Self::Other(_) => None,
        }
    }
}
