//! Owns secrets as the host speaks of them: where one is kept, what it is, and its fingerprint.
//!
//! A value has no `Debug` and no `Display`, is wiped when dropped, and is never part of a plan, a record or
//! a status; the fingerprint is, and so tells when the value changed. Reading one is `source`'s work.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::escape::escape;
use crate::hex;
use crate::name::InstallationName;
use crate::resolution::Refusal;

/// Largest value, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// Length of a fingerprint, in bytes.
const FINGERPRINT_BYTES: usize = 16;
/// Bytes of a fingerprint that people see.
const SHOWN_BYTES: usize = 3;
/// Shorter values are not looked for in texts: they would be found everywhere.
const MIN_REDACTED_BYTES: usize = 4;

/// Where a secret is kept, as a desired file names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretReference {
    /// A file: absolute, or relative to the directory of the desired file.
    File(String),
    /// A variable in the host's environment.
    Env(String),
    /// What a program prints: its absolute path and its arguments, run without a shell.
    Command(Vec<String>),
}

impl fmt::Display for SecretReference {
    /// Escaped: the path, the variable, or the program without its arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", escape(path)),
            Self::Env(name) => write!(f, "the environment variable {}", escape(name)),
            Self::Command(argv) => {
                write!(f, "the command {}", escape(argv.first().map_or("", String::as_str)))
            }
        }
    }
}

/// A secret's value. Wiped from memory when dropped.
///
/// ```compile_fail,E0277
/// let secret = airssys_wasm::secret::Secret::new("hunter2".to_owned()).unwrap();
/// println!("{secret:?}");
/// ```
///
/// ```compile_fail,E0277
/// let secret = airssys_wasm::secret::Secret::new("hunter2".to_owned()).unwrap();
/// println!("{secret}");
/// ```
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A value of at least one byte and at most [`MAX_SECRET_BYTES`].
    pub fn new(value: String) -> Option<Self> {
        let value = Zeroizing::new(value);
        (1..=MAX_SECRET_BYTES).contains(&value.len()).then_some(Self(value))
    }

    /// The value itself, for whoever hands it to the component.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Values that are taken out of what a component writes and says. Whoever knows a secret can spell it otherwise: this
/// is for accidents. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactions(Arc<[Arc<Secret>]>);

impl Redactions {
    /// For these values; very short ones are left alone.
    pub fn of(secrets: Vec<Secret>) -> Self {
        Self(secrets.into_iter().filter(|secret| secret.0.len() >= MIN_REDACTED_BYTES).map(Arc::new).collect())
    }

    /// For the values of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(other.0.iter()).cloned().collect())
    }

    /// `text` with every occurrence of a value replaced.
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.0.iter() {
            if text.contains(secret.expose()) {
                text = Cow::Owned(text.replace(secret.expose(), "***"));
            }
        }
        text
    }
}

/// Tells two values apart without telling anything else of them: a MAC under a key of the host's state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    /// The start of a MAC.
    pub fn of_mac(mac: &[u8; 32]) -> Self {
        let mut bytes = [0; FINGERPRINT_BYTES];
        bytes.copy_from_slice(&mac[..FINGERPRINT_BYTES]);
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    /// `***(a1b2c3)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***({})", hex::encode(&self.0[..SHOWN_BYTES]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(&text).map(Self).ok_or_else(|| serde::de::Error::custom("a fingerprint is 32 hexadecimal digits"))
    }
}

/// Fingerprints of an installation's secrets, by the place of each in `[config]`.
pub type Fingerprints = BTreeMap<String, Fingerprint>;
/// What a look at an installation's secrets found, by the place of each in `[config]`.
pub type SecretStates = BTreeMap<String, Result<Fingerprint, Refusal>>;
/// What a look at all secrets found. Installations without secrets are not in it.
pub type AllSecrets = BTreeMap<InstallationName, SecretStates>;

/// What the host's own settings let desired files name. Files need no rule: only private ones of the host's own user
/// are read. Without rules nobody who writes desired files runs programs or reads the host's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecretRules {
    /// Names of variables; `*` at the end stands for any rest.
    pub env: Vec<String>,
    /// Absolute paths of programs. Their arguments are free.
    pub commands: Vec<String>,
}

impl SecretRules {
    /// Whether desired files may name this variable.
    pub fn allow_env(&self, name: &str) -> bool {
        self.env.iter().any(|rule| match rule.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => rule == name,
        })
    }

    /// Whether desired files may name this program.
    pub fn allow_command(&self, program: &str) -> bool {
        self.commands.iter().any(|rule| rule == program)
    }
}

/// Whether a text can name an environment variable.
pub fn is_env_name(text: &str) -> bool {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    (1..=128).contains(&text.len()) && text.bytes().all(is_word) && !text.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_with_a_star_allows_what_starts_like_it_and_any_other_rule_only_itself() {
        let rules = SecretRules { env: vec!["DB_*".into(), "TOKEN".into()], commands: vec!["/usr/bin/pass".into()] };
        for (name, allowed) in
            [("DB_PASSWORD", true), ("DB_", true), ("TOKEN", true), ("TOKEN2", false), ("PATH", false)]
        {
            assert_eq!(rules.allow_env(name), allowed, "{name}");
        }
        assert!(rules.allow_command("/usr/bin/pass"));
        for other in ["/usr/bin/pass2", "pass", "/usr/bin/../bin/pass", ""] {
            assert!(!rules.allow_command(other), "{other}");
        }
        assert!(!SecretRules::default().allow_env("DB_PASSWORD"));
    }

    #[test]
    fn only_the_start_of_a_fingerprint_is_shown_and_all_of_it_is_kept() {
        let mac: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap() + 0xa0);
        let fingerprint = Fingerprint::of_mac(&mac);
        assert_eq!(format!("{fingerprint} {fingerprint:?}"), "***(a0a1a2) ***(a0a1a2)");
        let text = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(text, "\"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\"");
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), fingerprint);
        assert!(serde_json::from_str::<Fingerprint>("\"a0\"").is_err());
    }

    #[test]
    fn a_value_is_taken_out_of_the_words_of_whoever_knows_it() {
        let secrets = ["hunter2", "a"].map(|value| Secret::new(value.to_owned()).unwrap());
        let redactions = Redactions::of(Vec::from(secrets));
        assert_eq!(redactions.apply("a bad token hunter2, really hunter2"), "a bad token ***, really ***");
        assert_eq!(redactions.apply("hunter"), "hunter");
        assert!(Secret::new(String::new()).is_none() && Secret::new("x".repeat(MAX_SECRET_BYTES + 1)).is_none());
    }

    #[test]
    fn a_reference_is_shown_without_the_arguments_of_its_command() {
        let command = SecretReference::Command(vec!["/usr/bin/pass".into(), "show".into(), "bank".into()]);
        assert_eq!(command.to_string(), "the command /usr/bin/pass");
        assert_eq!(SecretReference::File("a\u{1b}b".into()).to_string(), "the file a\\u{1b}b");
        assert!(is_env_name("A_1") && !is_env_name("1A") && !is_env_name("") && !is_env_name("A=B"));
    }
}
