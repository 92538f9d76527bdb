//! Reads the trust policy's file, if its owner and mode say that only the host's user can change it.
//!
//! What the policy means is `trust`'s business. It is never read from a source or a desired directory.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::diagnostic::Diagnostic;
use crate::escape::escape;
use crate::trust::TrustPolicy;
use crate::trust::policy::MAX_POLICY_BYTES;

const GROUP_WRITABLE: u32 = 0o020;
const WORLD_WRITABLE: u32 = 0o002;

/// Where the trust policy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustLocation {
    /// `trust.toml` in the home: its absence means that nobody is trusted.
    Default(PathBuf),
    /// Named by the operator: it must be there.
    Named(PathBuf),
}

impl TrustLocation {
    /// The file's path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Default(path) | Self::Named(path) => path,
        }
    }
}

/// A policy and how it came.
#[derive(Debug)]
pub struct LoadedTrust {
    /// The policy; trusts nobody when there is no file.
    pub policy: TrustPolicy,
    /// What is allowed and should be mended.
    pub warning: Option<String>,
    /// The file, or that there is none, for people.
    pub shown: String,
}

/// Why the trust policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustFileError {
    /// The file can't be opened or read.
    #[error("the trust policy {path} can't be read: {error}")]
    Unreadable {
        /// The file, escaped.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// Someone else could change the file.
    #[error("the trust policy {path} is refused: {why}")]
    Unsafe {
        /// The file, escaped.
        path: String,
        /// Why, in words.
        why: String,
        /// The command that mends it.
        remedy: String,
    },
    /// The file does not say what a policy says.
    #[error("the trust policy {path} is not valid: {}", problems.first().map_or_else(String::new, Diagnostic::one_line))]
    Invalid {
        /// The file, escaped.
        path: String,
        /// All problems.
        problems: Vec<Diagnostic>,
    },
}

impl TrustFileError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => "check the path given with --trust".to_owned(),
            Self::Unsafe { remedy, .. } => remedy.clone(),
            Self::Invalid { problems, .. } => {
                let all: String = problems.iter().map(|problem| format!("\n{problem}")).collect();
                format!("mend these:\n{}", all.trim_end())
            }
        }
    }
}

/// Loads the policy.
pub fn load(location: &TrustLocation) -> Result<LoadedTrust, TrustFileError> {
    let path = location.path();
    let shown = escape(&path.display().to_string());
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && matches!(location, TrustLocation::Default(_)) => {
            return Ok(LoadedTrust {
                policy: TrustPolicy::none(),
                warning: None,
                shown: format!("none ({shown} is missing)"),
            });
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            let why = "it is a symbolic link".to_owned();
            let remedy =
                "name the file itself: a link could be pointed elsewhere by whoever owns its directory".to_owned();
            return Err(TrustFileError::Unsafe { path: shown, why, remedy });
        }
        Err(error) => return Err(TrustFileError::Unreadable { path: shown, error }),
    };
    let warning = check_owner(&file, location, &shown)?;
    let mut bytes = Vec::new();
    file.take(MAX_POLICY_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| TrustFileError::Unreadable { path: shown.clone(), error })?;
    if bytes.len() as u64 > MAX_POLICY_BYTES {
        let problem = Diagnostic::whole_file(&shown, format!("it is larger than {MAX_POLICY_BYTES} bytes"));
        return Err(TrustFileError::Invalid { path: shown, problems: vec![problem] });
    }
    match TrustPolicy::parse(&shown, &bytes) {
        Ok(policy) => Ok(LoadedTrust { policy, warning, shown }),
        Err(problems) => Err(TrustFileError::Invalid { path: shown, problems }),
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Non-blocking, so that a FIFO in the file's place can't hold the host up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn check_owner(file: &File, location: &TrustLocation, shown: &str) -> Result<Option<String>, TrustFileError> {
    let metadata = file.metadata().map_err(|error| TrustFileError::Unreadable { path: shown.to_owned(), error })?;
    let refuse =
        |why: &str, remedy: String| Err(TrustFileError::Unsafe { path: shown.to_owned(), why: why.to_owned(), remedy });
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        return refuse("it is no regular file", "put the policy into a plain file".to_owned());
    }
    if metadata.uid() != own && metadata.uid() != 0 {
        return refuse("it belongs to another user", format!("chown {own} {shown}"));
    }
    if metadata.mode() & WORLD_WRITABLE != 0 {
        return refuse("everybody may write to it", format!("chmod go-w {shown}"));
    }
    if metadata.mode() & GROUP_WRITABLE != 0 {
        if matches!(location, TrustLocation::Default(_)) {
            return refuse("its group may write to it", format!("chmod g-w {shown}"));
        }
        return Ok(Some(format!("the group may write to the trust policy {shown}; chmod g-w {shown}")));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn policy(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("trust.toml");
        std::fs::write(&path, "schema = 1\n").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode set");
        (dir, path)
    }

    #[test]
    fn t23_a_world_writable_policy_is_refused_everywhere() {
        let (_dir, path) = policy(0o666);
        for location in [TrustLocation::Default(path.clone()), TrustLocation::Named(path)] {
            assert!(matches!(load(&location), Err(TrustFileError::Unsafe { .. })));
        }
    }

    #[test]
    fn t23_a_group_writable_policy_is_refused_by_default_and_warned_about_when_named() {
        let (_dir, path) = policy(0o664);
        assert!(matches!(load(&TrustLocation::Default(path.clone())), Err(TrustFileError::Unsafe { .. })));
        let loaded = load(&TrustLocation::Named(path)).expect("usable");
        assert!(loaded.warning.is_some_and(|warning| warning.contains("chmod g-w")));
    }

    #[test]
    fn t23_a_symbolic_link_is_refused() {
        let (dir, path) = policy(0o644);
        let link = dir.path().join("link.toml");
        std::os::unix::fs::symlink(path, &link).expect("linked");
        assert!(matches!(load(&TrustLocation::Named(link)), Err(TrustFileError::Unsafe { .. })));
    }

    #[test]
    fn t23_a_policy_of_another_user_is_refused() {
        let (_dir, path) = policy(0o644);
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            println!("not run: needs root to give a file away");
            return;
        }
        assert!(matches!(load(&TrustLocation::Named(path)), Err(TrustFileError::Unsafe { .. })));
    }

    #[test]
    fn t23_a_fifo_does_not_block_the_host() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("trust.toml");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("made");
        assert!(load(&TrustLocation::Named(path)).is_err());
    }

    #[test]
    fn no_file_trusts_nobody_by_default_and_is_an_error_when_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("trust.toml");
        assert!(load(&TrustLocation::Default(path.clone())).is_ok_and(|loaded| loaded.shown.starts_with("none")));
        assert!(matches!(load(&TrustLocation::Named(path)), Err(TrustFileError::Unreadable { .. })));
    }
}
