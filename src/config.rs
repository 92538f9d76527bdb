//! Owns the host's own settings, `config.toml` in the home: their names and rules.
//!
//! Reads text; where the file is and who may write it is the caller's business.

pub mod from_git;
pub mod host;
pub mod sources;

use self::host::MemorySettings;
use self::sources::SourceSettings;
use crate::config::from_git::FromGitSettings;
use crate::diagnostic::Diagnostic;
use crate::document::{self, Report, Table};
use crate::manifest::MAX_WASM_BYTES;
use crate::quantity::ByteSize;
use crate::secret::{SecretRules, is_env_name};

/// Largest settings file, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// Most rules of one kind in `[secrets]`.
pub const MAX_SECRET_RULES: usize = 256;

/// The host's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The desired directory, absolute or relative to the home.
    pub desired: Option<String>,
    /// The signing key file, absolute or relative to the home.
    pub keypair: Option<String>,
    /// What desired files may name as secrets: `[secrets]`.
    pub secrets: SecretRules,
    /// What holds for remote sources: `[sources]` and `[credentials."host"]`.
    pub sources: SourceSettings,
    /// How much of the past is kept: `[state]`.
    pub state: StateSettings,
    /// How much memory all instances share: `[host]`.
    pub memory: MemorySettings,
    /// What is asked of a repository of desired files: `[from-git]`.
    pub from_git: FromGitSettings,
}

/// Generations that are kept however old they are, unless `keep-generations` says otherwise.
pub const KEPT_GENERATIONS: usize = 10;
/// How long a generation is kept unless `keep-days` says otherwise, in days.
pub const KEPT_DAYS: u64 = 7;
/// Most bytes of objects that are kept for older generations unless `objects-max` says otherwise.
pub const MAX_KEPT_OBJECT_BYTES: u64 = 10 << 30;
/// Most bytes of mirrors of repositories that are kept unless `mirrors-max` says otherwise.
pub const MAX_MIRRORS_BYTES: u64 = 10 << 30;
/// Most bytes of artifacts that may be on their way into the content store at a time unless `scratch-max` says
/// otherwise.
pub const MAX_SCRATCH_BYTES: u64 = 4 << 30;
/// Ceilings of the settings: generations, days, bytes.
const MAX_STATE_SETTINGS: (u64, u64, u64) = (4096, 3650, 1 << 50);

/// How much of the past a host keeps. The current generation and the last good one stay whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSettings {
    /// Generations that are kept however old they are.
    pub keep_generations: usize,
    /// How long younger generations are kept, in days.
    pub keep_days: u64,
    /// Up to which size objects of older generations are kept.
    pub objects_max: ByteSize,
    /// Up to which size mirrors of repositories are kept.
    pub mirrors_max: ByteSize,
    /// How much may be on its way into the content store at a time.
    pub scratch_max: ByteSize,
    /// In what kind of store components keep things.
    pub storage_backend: StorageSetting,
}

/// The kinds of stores that the settings can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageSetting {
    /// `fjall`: made for many small writes.
    #[default]
    Fjall,
    /// `redb`: one file, little memory, slower writes.
    Redb,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self {
            keep_generations: KEPT_GENERATIONS,
            keep_days: KEPT_DAYS,
            objects_max: ByteSize(MAX_KEPT_OBJECT_BYTES),
            mirrors_max: ByteSize(MAX_MIRRORS_BYTES),
            scratch_max: ByteSize(MAX_SCRATCH_BYTES),
            storage_backend: StorageSetting::default(),
        }
    }
}

impl Config {
    /// Reads the settings; all problems at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut report = Report::new(file, text);
        let tree = document::parse(text, &mut report);
        let mut table = Table::document(&tree);
        let config = Self {
            desired: path(&mut table, "desired", &mut report),
            keypair: path(&mut table, "keypair", &mut report),
            secrets: secrets(&mut table, &mut report),
            sources: sources::read(&mut table, &mut report),
            state: state(&mut table, &mut report),
            memory: host::read(&mut table, &mut report),
            from_git: from_git::read(&mut table, &mut report),
        };
        table.finish(&mut report);
        if report.is_clean() { Ok(config) } else { Err(report.into_problems()) }
    }
}

fn state<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> StateSettings {
    let mut settings = StateSettings::default();
    let Some(mut table) = table.table("state", report) else { return settings };
    let (most_generations, most_days, most_bytes) = MAX_STATE_SETTINGS;
    let mut count = |key: &str, most: u64, report: &mut Report<'t>| {
        let value = table.take(key)?;
        let count = value.integer(report)?;
        value.within(count, 1..=most, report)
    };
    if let Some(generations) = count("keep-generations", most_generations, report) {
        settings.keep_generations = usize::try_from(generations).unwrap_or(KEPT_GENERATIONS);
    }
    if let Some(days) = count("keep-days", most_days, report) {
        settings.keep_days = days;
    }
    let mut size = |key: &str, least: u64, setting: &mut ByteSize| {
        let value = table.take(key);
        let size = value.and_then(|value| value.bytes(ByteSize(least)..=ByteSize(most_bytes), report));
        *setting = size.unwrap_or(*setting);
    };
    size("objects-max", 1 << 20, &mut settings.objects_max);
    size("mirrors-max", 1 << 20, &mut settings.mirrors_max);
    // One artifact of the largest size fits.
    size("scratch-max", MAX_WASM_BYTES, &mut settings.scratch_max);
    let backends = [("fjall", StorageSetting::Fjall), ("redb", StorageSetting::Redb)];
    if let Some(backend) = table.take("storage-backend").and_then(|value| value.word(&backends, &[], report)) {
        settings.storage_backend = backend;
    }
    table.finish(report);
    settings
}

fn secrets<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> SecretRules {
    let Some(mut table) = table.table("secrets", report) else { return SecretRules::default() };
    let is_variable = |text: &str| is_env_name(text.strip_suffix('*').unwrap_or(text));
    let is_program = |text: &str| text.starts_with('/') && !text.contains('\0');
    let rules = SecretRules {
        env: rules(&mut table, "env", is_variable, "the name of a variable, or its start and `*`: \"DB_*\"", report),
        commands: rules(&mut table, "commands", is_program, "the absolute path of a program", report),
    };
    table.finish(report);
    rules
}

fn rules<'t>(
    table: &mut Table<'_, 't>,
    key: &str,
    is_rule: impl Fn(&str) -> bool,
    wanted: &str,
    report: &mut Report<'t>,
) -> Vec<String> {
    let Some(items) = table.take(key).and_then(|value| value.items(MAX_SECRET_RULES, report)) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for item in items {
        match item.string(report) {
            Some(text) if is_rule(text) => rules.push(text.to_owned()),
            Some(_) => {
                let message = format!("`{}` allows nothing", crate::document::shown(&item.path));
                report.error_with_hint(item.span.clone(), message, format!("write {wanted}"));
            }
            None => {}
        }
    }
    rules
}

fn path<'t>(table: &mut Table<'_, 't>, key: &str, report: &mut Report<'t>) -> Option<String> {
    let value = table.take(key)?;
    let text = value.string(report)?;
    if text.is_empty() || text.contains('\0') {
        report.error(value.span.clone(), format!("`{key}` must be a path"));
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_unknown_keys_are_refused_with_a_suggestion() {
        let config = Config::parse("config.toml", "desired = \"/srv/desired\"\nkeypair = \"k.json\"\n").expect("valid");
        assert_eq!(config.desired.as_deref(), Some("/srv/desired"));
        assert_eq!(config.keypair.as_deref(), Some("k.json"));
        assert_eq!(Config::parse("config.toml", ""), Ok(Config::default()));

        let secrets = "[secrets]\nenv = [\"DB_*\", \"TOKEN\"]\ncommands = [\"/usr/bin/pass\"]\n";
        let config = Config::parse("config.toml", secrets).expect("valid").secrets;
        assert!(config.allow_env("DB_X") && config.allow_env("TOKEN") && config.allow_command("/usr/bin/pass"));
        for bad in
            ["env = [\"*\"]", "env = [\"A=B\"]", "env = [\"\"]", "commands = [\"pass\"]", "files = []", "env = 1"]
        {
            Config::parse("config.toml", &format!("[secrets]\n{bad}\n")).expect_err(bad);
        }

        let host = "[host]\nmemory = \"2GiB\"\novercommit = false\n";
        let host = Config::parse("config.toml", host).expect("valid").memory;
        assert_eq!(
            host,
            MemorySettings { budget: Some(ByteSize(2 << 30)), overcommit: false, ..MemorySettings::default() }
        );
        for bad in ["memory = 5", "memory = \"1KiB\"", "overcommit = 1", "maps = 1"] {
            Config::parse("config.toml", &format!("[host]\n{bad}\n")).expect_err(bad);
        }

        let state =
            "[state]\nobjects-max = \"2GiB\"\nkeep-generations = 3\nkeep-days = 1\nstorage-backend = \"redb\"\n";
        let state = Config::parse("config.toml", state).expect("valid").state;
        assert_eq!((state.objects_max, state.keep_generations, state.keep_days), (ByteSize(2 << 30), 3, 1));
        assert_eq!(state.storage_backend, StorageSetting::Redb);
        let quotas = Config::parse("config.toml", "[state]\nmirrors-max = \"1MiB\"\nscratch-max = \"64MiB\"\n");
        let quotas = quotas.expect("valid").state;
        assert_eq!((quotas.mirrors_max, quotas.scratch_max), (ByteSize(1 << 20), ByteSize(64 << 20)));
        Config::parse("config.toml", "[state]\nscratch-max = \"63MiB\"\n").expect_err("no artifact would fit");
        for bad in [
            "storage-backend = \"memory\"",
            "objects-max = 5",
            "objects-max = \"1B\"",
            "keep-days = 0",
            "keep-generations = 0",
            "keep = 1",
        ] {
            Config::parse("config.toml", &format!("[state]\n{bad}\n")).expect_err(bad);
        }

        let problems = Config::parse("config.toml", "desird = \"x\"\nkeypair = 3\n").expect_err("invalid");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean `desired`?"));
        assert!(problems[1].message.contains("must be a string"), "{problems:?}");
    }
}
