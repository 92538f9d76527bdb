//! Owns the inputs of a plan, each by what tells it from another one, and how they are called when they moved.
//!
//! Values only; who reads files and policies brings them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::sources::SourceSettings;
use crate::digest::Digest;
use crate::escape::escape;
use crate::name::InstallationName;
use crate::observed::{Phase, RecentSet};
use crate::plan::PlanInput;
use crate::resolution::{Refusal, Resolution};
use crate::secret::SecretRules;
use crate::snapshot::CommitId;
use crate::trust::sshsig::SshKey;

/// Everything that a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The desired files.
    pub desired: DesiredInput,
    /// Digest of the trust policy's bytes.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub trust: Digest,
    /// Digest of those settings of `config.toml` that a plan depends on: secrets, sources, signers of commits.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub settings: Digest,
    /// What was committed.
    pub generation: GenerationInput,
    /// Whether a host ran the set; true as well when there was no set.
    pub is_live: bool,
    /// What was installed and did not run, though a host did.
    #[cfg_attr(feature = "runtime", schemars(with = "Vec<String>"))]
    pub down: BTreeSet<InstallationName>,
    /// Digest of what was paused.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub paused: Digest,
    /// Digest of the sequences that were accepted so far.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub floors: Digest,
    /// How the set shrank in the ten minutes before.
    pub recent: RecentInput,
    /// What came of each wanted artifact.
    #[cfg_attr(feature = "runtime", schemars(with = "BTreeMap<String, ArtifactInput>"))]
    pub artifacts: BTreeMap<InstallationName, ArtifactInput>,
    /// The secrets that desired files name, as `INSTALLATION PLACE`: the start of a keyed fingerprint, or why there is none.
    pub secrets: BTreeMap<String, String>,
}

/// The desired files, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DesiredInput {
    /// Files of a directory.
    Directory {
        /// Its absolute path.
        path: String,
        /// Whether it was listed completely.
        is_complete: bool,
        /// The digest of each file's bytes; none of a file that could not be read.
        #[cfg_attr(feature = "runtime", schemars(with = "BTreeMap<String, Option<String>>"))]
        files: BTreeMap<String, Option<Digest>>,
    },
    /// Files of a repository's commit.
    Repository {
        /// Its URL.
        url: String,
        /// `branch:NAME`, `tag:NAME` or `commit:ID`.
        at: String,
        /// The directory in the commit's tree.
        path: String,
        /// The commit in force; none when there was none that may be.
        #[cfg_attr(feature = "runtime", schemars(with = "Option<String>"))]
        commit: Option<CommitId>,
        /// Whether nothing stood against the newest commit.
        is_complete: bool,
    },
}

/// The committed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GenerationInput {
    /// Its number; 0 before the first one.
    pub number: u64,
    /// Its digest; none before the first one.
    #[cfg_attr(feature = "runtime", schemars(with = "Option<String>"))]
    pub digest: Option<Digest>,
}

/// What deletes are counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RecentInput {
    /// The size of the set ten minutes before.
    pub size: usize,
    /// How many of it were uninstalled since then.
    pub removed: usize,
}

/// What came of one wanted artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArtifactInput {
    /// It was verified.
    Ready {
        /// The signed version.
        #[cfg_attr(feature = "runtime", schemars(with = "String"))]
        version: semver::Version,
        /// Digest of manifest, signature and wasm.
        #[cfg_attr(feature = "runtime", schemars(with = "String"))]
        digest: Digest,
        /// What its source was, a commit id for instance.
        revision: Option<String>,
    },
    /// It was refused; the reason's code.
    Refused(String),
    /// It could not be had; the reason's code.
    Unavailable(String),
}

/// What inputs are put together from, besides what the planner takes.
#[derive(Debug)]
pub struct Made<'a> {
    /// The planner's inputs.
    pub input: &'a PlanInput<'a>,
    /// The desired files.
    pub desired: DesiredInput,
    /// Digest of the trust policy.
    pub trust: Digest,
    /// [`settings_digest`].
    pub settings: Digest,
}

/// The digest of those settings that a plan depends on.
pub fn settings_digest(secrets: &SecretRules, sources: &SourceSettings, signers: &[SshKey]) -> Digest {
    // How often sources are looked at makes no other plan.
    let SourceSettings { interval: _, allow, require_pin, hosts } = sources;
    let signers: Vec<String> = signers.iter().map(ToString::to_string).collect();
    let parts = ("airssys-settings-v1", secrets, allow, require_pin, hosts, signers);
    Digest::of(&serde_json::to_vec(&parts).expect("settings hold only texts, numbers and ordered maps"))
}

impl From<&Resolution> for ArtifactInput {
    fn from(resolution: &Resolution) -> Self {
        match resolution {
            Resolution::Ready(candidate) => {
                let artifact = &candidate.artifact;
                let parts = (artifact.manifest, artifact.signature, artifact.wasm);
                let digest = Digest::of(&serde_json::to_vec(&parts).expect("digests are JSON"));
                Self::Ready { version: artifact.version.clone(), digest, revision: candidate.revision.clone() }
            }
            Resolution::Refused(Refusal { code, .. }) => Self::Refused(code.clone()),
            Resolution::Unavailable(Refusal { code, .. }) => Self::Unavailable(code.clone()),
        }
    }
}

impl Inputs {
    /// The inputs of a plan that is made now.
    pub fn of(made: Made<'_>) -> Self {
        let Made { input, desired, trust, settings } = made;
        // What the host offers is part of this program: another one makes another plan.
        let PlanInput { desired: _, resolutions, secrets, observed, recent, floors, approvals: _, host: _ } = *input;
        let RecentSet { size, removed } = recent;
        let down = observed.installed.iter().filter(|(_, installed)| installed.phase == Phase::Stopped);
        let secrets = secrets.iter().flat_map(|(name, states)| {
            states.iter().map(move |(place, found)| {
                let found = found.as_ref().map_or_else(|refusal| refusal.code.clone(), ToString::to_string);
                (format!("{name} {place}"), found)
            })
        });
        Self {
            desired,
            trust,
            settings,
            generation: GenerationInput { number: observed.generation, digest: observed.generation_digest },
            is_live: !observed.installed.values().any(|installed| installed.phase == Phase::NotRunning),
            down: down.map(|(name, _)| name.clone()).collect(),
            paused: Digest::of(observed.paused.encode().as_bytes()),
            floors: floors.encode(observed.generation).digest,
            recent: RecentInput { size, removed },
            artifacts: resolutions.iter().map(|(name, found)| (name.clone(), found.into())).collect(),
            secrets: secrets.collect(),
        }
    }

    /// What is another input by `now`, each as the start of a sentence: `aggregator.toml changed`. Escaped.
    pub fn moved_to(&self, now: &Self) -> Vec<String> {
        let Self { desired, trust, settings, generation, is_live, down, paused, floors, recent, artifacts, secrets } =
            self;
        let mut moved = Vec::new();
        desired.compare(&now.desired, &mut moved);
        let mut say = |differs: bool, what: String| moved.extend(differs.then_some(what));
        say(*trust != now.trust, "the trust policy changed or --trust names another one".to_owned());
        say(*settings != now.settings, "config.toml changed or a host was started with another one".to_owned());
        let numbers = (generation.number, now.generation.number);
        let committed = if numbers.0 == numbers.1 {
            format!("generation {} became another one", numbers.0)
        } else {
            format!("generation {} was committed in place of {}", numbers.1, numbers.0)
        };
        say(*generation != now.generation, committed);
        let host = if now.is_live { "a host was started" } else { "the host was stopped" };
        // A set that was committed in between has no host yet, and had none.
        say(*is_live != now.is_live && numbers.0 == numbers.1, host.to_owned());
        for name in down.symmetric_difference(&now.down) {
            let what = if now.down.contains(name) { "stopped running" } else { "runs again" };
            say(true, format!("{name} {what}"));
        }
        say(*paused != now.paused, "what is paused changed".to_owned());
        // They are written with each generation, which is told already.
        say(*floors != now.floors && numbers.0 == numbers.1, "the accepted sequences changed".to_owned());
        compare(artifacts, &now.artifacts, &mut moved, |name, was, is| match (was, is) {
            (Some(was), Some(is)) => format!("the artifact of {name} changed from {} to {}", was.shown(), is.shown()),
            (None, _) => format!("an artifact of {name} came to be wanted"),
            (_, None) => format!("no artifact of {name} is wanted any more"),
        });
        compare(secrets, &now.secrets, &mut moved, |place, was, is| {
            let place = escape(place);
            let shown = |found: Option<&String>| found.map_or("none".to_owned(), |found| escape(found));
            format!("the secret {place} changed from {} to {}", shown(was), shown(is))
        });
        if *recent != now.recent && moved.is_empty() {
            moved.push("the count of what was removed in ten minutes changed".to_owned());
        }
        moved
    }
}

/// Tells of every key that has another value, or one on one side only.
fn compare<K: Ord, V: PartialEq>(
    before: &BTreeMap<K, V>,
    now: &BTreeMap<K, V>,
    moved: &mut Vec<String>,
    tell: impl Fn(&K, Option<&V>, Option<&V>) -> String,
) {
    let keys: BTreeSet<&K> = before.keys().chain(now.keys()).collect();
    for key in keys {
        let (was, is) = (before.get(key), now.get(key));
        if was != is {
            moved.push(tell(key, was, is));
        }
    }
}

impl ArtifactInput {
    fn shown(&self) -> String {
        match self {
            Self::Ready { version, digest, revision } => {
                let revision = revision.as_ref().map_or_else(String::new, |text| format!(" at {}", escape(text)));
                format!("{version} ({}{revision})", digest.short())
            }
            Self::Refused(code) => format!("refused ({})", escape(code)),
            Self::Unavailable(code) => format!("unavailable ({})", escape(code)),
        }
    }
}

impl DesiredInput {
    /// Where the files are, as a host calls it; escaped.
    pub fn place(&self) -> String {
        match self {
            Self::Directory { path, .. } => escape(path),
            Self::Repository { url, at, path, .. } => {
                let at = escape(&at.replacen(':', " ", 1));
                let path = if path == "." { String::new() } else { format!(", path {}", escape(path)) };
                format!("git {} {at}{path}", escape(url))
            }
        }
    }

    /// Whether both are of one repository, and of two commits.
    pub(super) fn is_of_another_commit(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Repository { commit, .. }, Self::Repository { commit: now, .. }) => commit != now,
            _ => false,
        }
    }

    fn compare(&self, now: &Self, moved: &mut Vec<String>) {
        if self.place() != now.place() {
            moved.push(format!("the desired files came to be those of {}, not of {},", now.place(), self.place()));
            return;
        }
        let (was_complete, is_complete) = match (self, now) {
            (Self::Directory { files, is_complete: was, .. }, Self::Directory { files: now, is_complete: is, .. }) => {
                compare(files, now, moved, |file, was, is| {
                    let what = match (was, is) {
                        (None, _) => "was added",
                        (_, None) => "was removed",
                        (Some(_), Some(None)) => "came to be unreadable",
                        (Some(_), Some(Some(_))) => "changed",
                    };
                    format!("{} {what}", escape(file))
                });
                (was, is)
            }
            (
                Self::Repository { commit, is_complete: was, .. },
                Self::Repository { commit: now, is_complete: is, .. },
            ) => {
                if commit != now {
                    let shown = |commit: &Option<CommitId>| commit.map_or("none".to_owned(), |commit| commit.short());
                    let (was, is) = (shown(commit), shown(now));
                    moved.push(format!("the commit of the desired files changed from {was} to {is}"));
                }
                (was, is)
            }
            _ => return,
        };
        if was_complete != is_complete {
            let what = if *is_complete { "could be read as a whole" } else { "could no longer be read as a whole" };
            moved.push(format!("the desired files {what}"));
        }
    }
}
