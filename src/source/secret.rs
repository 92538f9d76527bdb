//! Reads secrets: a private file, a variable of the host's environment, what a program prints.
//!
//! What may be read is decided by the host's own settings, because whoever writes desired files must not be
//! able to run programs or to read the host's environment otherwise. Messages name the place, never the value.

mod command;

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize as _, Zeroizing};

use crate::escape::escape;
use crate::resolution::Refusal;
use crate::safe_open::{Directory, FileError, Identity, Links, Rules, own_uid};
use crate::secret::{MAX_SECRET_BYTES, Secret, SecretReference, SecretRules};

pub use command::{COMMAND_TIME, MAX_COMMAND_OUTPUT_BYTES};

/// Largest environment of a process that is looked through, in bytes.
const MAX_ENVIRONMENT_BYTES: u64 = 4 << 20;

/// Whose environment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// That of this process.
    Own,
    /// That of a running host, for a plan that is made beside it.
    Of(u32),
}

/// Where secrets are read.
#[derive(Debug, Clone)]
pub struct SecretPlaces {
    /// The directory of the desired files; `None` when they come from a repository, which may name no file yet.
    pub directory: Option<PathBuf>,
    /// What the host's own settings allow.
    pub rules: SecretRules,
    /// Whose environment counts.
    pub environment: Environment,
    /// Directories and files that hold secrets of the host itself: no component gets them.
    pub own: Vec<PathBuf>,
}

/// A secret, and by what a later look sees that it is the same.
pub struct ReadSecret {
    /// The value.
    pub secret: Secret,
    /// The file's identity, when it was quiet.
    pub identity: Option<Identity>,
}

impl SecretPlaces {
    /// Reads one secret. A command runs for at most [`COMMAND_TIME`].
    pub fn read(&self, reference: &SecretReference) -> Result<ReadSecret, Refusal> {
        let (bytes, identity) = match reference {
            SecretReference::File(path) => self.read_file(path)?,
            SecretReference::Env(name) => (self.read_env(name)?, None),
            SecretReference::Command(argv) => (self.run(argv)?, None),
        };
        Ok(ReadSecret { secret: secret(bytes, reference)?, identity })
    }

    /// What is known of a secret's file without reading it.
    pub fn identity(&self, reference: &SecretReference) -> Option<Identity> {
        let SecretReference::File(path) = reference else { return None };
        let (directory, name) = split(&self.path(path).ok()?)?;
        Directory::open(&directory).ok()?.inspect(&name, &rules()).ok()
    }

    /// The directory in which a secret's file lies, to be watched.
    pub fn watched(&self, reference: &SecretReference) -> Option<PathBuf> {
        let SecretReference::File(path) = reference else { return None };
        Some(split(&self.path(path).ok()?)?.0)
    }

    fn path(&self, path: &str) -> Result<PathBuf, Refusal> {
        let Some(directory) = &self.directory else {
            let message =
                format!("the secret is in the file {}, and the desired files come from a repository", escape(path));
            let hint = "name it by secret-env or secret-command, which the host's config.toml must allow in [secrets]";
            return Err(Refusal::new("secret-refused", message).hint(hint));
        };
        Ok(directory.join(path))
    }

    fn read_file(&self, path: &str) -> Result<(Zeroizing<Vec<u8>>, Option<Identity>), Refusal> {
        let path = self.path(path)?;
        let shown = escape(&path.to_string_lossy());
        let no_name = || Refusal::new("secret-refused", format!("the secret's path {shown} names no file"));
        let (directory, name) = split(&path).ok_or_else(no_name)?;
        if self.is_own(&directory, &name) {
            let message = format!("{shown} belongs to the host itself, and no component gets it");
            return Err(
                Refusal::new("secret-refused", message).hint("keep secrets of components in files of their own")
            );
        }
        let opened = Directory::open(&directory).and_then(|directory| directory.open_file(&name, &rules()));
        let file = opened.map_err(|error| not_read(&error))?;
        if !file.is_private().map_err(|error| not_read(&error))? {
            let message = format!("the secret's file {shown} is refused: others can read or change it");
            return Err(Refusal::new("secret-refused", message).hint(format!("chmod 600 {shown}")));
        }
        let content = file.read().map_err(|error| not_read(&error))?;
        Ok((Zeroizing::new(content.bytes), content.was_quiet.then_some(content.identity)))
    }

    fn is_own(&self, directory: &Path, name: &str) -> bool {
        let Ok(path) = directory.canonicalize().map(|directory| directory.join(name)) else { return false };
        // The file may be a link, but only to something below its directory.
        let target = path.canonicalize().unwrap_or(path);
        let own = self.own.iter().map(|own| own.canonicalize().unwrap_or_else(|_| own.clone()));
        own.into_iter().any(|own| target.starts_with(own))
    }

    fn read_env(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if !self.rules.allow_env(name) {
            return Err(not_allowed(&format!("read the environment variable {name}"), "env", name));
        }
        let missing = || {
            Refusal::new(
                "secret-missing",
                format!("the environment variable {name} is not set in the host's environment"),
            )
            .hint("set it where the host is started, and start the host again")
        };
        match self.environment {
            Environment::Own => {
                std::env::var_os(name).map(|value| Zeroizing::new(value.into_vec())).ok_or_else(missing)
            }
            Environment::Of(process) => variable_of(process, name)?.ok_or_else(missing),
        }
    }

    fn run(&self, argv: &[String]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let program = argv.first().map_or("", String::as_str);
        if !self.rules.allow_command(program) {
            let shown = escape(program);
            return Err(not_allowed(&format!("run {shown}"), "commands", &shown));
        }
        command::run(argv)
    }
}

fn rules() -> Rules {
    Rules { max_bytes: MAX_SECRET_BYTES as u64, own_uid: own_uid(), links: Links::Beneath }
}

fn split(path: &Path) -> Option<(PathBuf, String)> {
    Some((path.parent()?.to_owned(), path.file_name()?.to_str()?.to_owned()))
}

fn not_read(error: &FileError) -> Refusal {
    let code = if matches!(error, FileError::Missing { .. }) { "secret-missing" } else { "secret-unreadable" };
    let hint = "a relative path starts at the directory of the desired file; the file must belong to the host's user or to root";
    Refusal::new(code, format!("the secret's file can't be read: {error}")).hint(hint)
}

fn not_allowed(what: &str, key: &str, value: &str) -> Refusal {
    Refusal::new("secret-refused", format!("desired files may not make this host {what}"))
        .hint(format!("to allow it, write in config.toml of the host's home:\n[secrets]\n{key} = [\"{value}\"]"))
}

/// One line end at the end is not part of a secret: editors and programs put it there.
fn secret(mut bytes: Zeroizing<Vec<u8>>, reference: &SecretReference) -> Result<Secret, Refusal> {
    let bad = |what: &str| Refusal::new("secret-unusable", format!("{reference} holds no usable secret: it {what}"));
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(bad(&format!("is larger than {MAX_SECRET_BYTES} bytes")));
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Secret::new(text).ok_or_else(|| bad("is empty")),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(bad("is no UTF-8 text"))
        }
    }
}

/// A variable as it was when the process started.
fn variable_of(process: u32, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| {
        Refusal::new("secret-unreadable", format!("the environment of the running host can't be read: {error}"))
            .hint("only the host itself knows this secret; its own status says what it makes of it")
    };
    let file = std::fs::File::open(format!("/proc/{process}/environ")).map_err(unreadable)?;
    let mut all = Zeroizing::new(Vec::with_capacity(64 << 10));
    file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut all).map_err(unreadable)?;
    let value = all.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    Ok(value.map(|value| Zeroizing::new(value.to_vec())))
}

#[cfg(test)]
mod tests;
