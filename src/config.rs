//! Owns the host's own settings, `config.toml` in the home: their names and rules.
//!
//! Reads text; where the file is and who may write it is the caller's business.

use crate::diagnostic::Diagnostic;
use crate::document::{self, Report, Table};

/// Largest settings file, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// The host's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The desired directory, absolute or relative to the home.
    pub desired: Option<String>,
    /// The signing key file, absolute or relative to the home.
    pub keypair: Option<String>,
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
        };
        table.finish(&mut report);
        if report.is_clean() { Ok(config) } else { Err(report.into_problems()) }
    }
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

        let problems = Config::parse("config.toml", "desird = \"x\"\nkeypair = 3\n").expect_err("invalid");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean `desired`?"));
        assert!(problems[1].message.contains("must be a string"), "{problems:?}");
    }
}
