//! Reads what opens the door of a remote host, from where the host's settings say that it stands.
//!
//! Follows the rules of key files: a secret that others can read is refused. What is read goes into an
//! [`Access`], which is sent to a worker and to nobody else.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::remote::{Access, FetchFailure, Password};
use crate::config::sources::{HostSettings, SecretPlace};
use crate::escape::escape;

/// Largest file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Largest file of certificates or known hosts, in bytes.
const MAX_PUBLIC_BYTES: u64 = 512 * 1024;
const READABLE_BY_OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// How much others may do with a file.
#[derive(Clone, Copy)]
enum Kind {
    Secret,
    Public,
}

/// Reads everything that is set for a host. Relative paths are below `home`.
///
/// The code of a failure is `credentials-unreadable`: it may be mended without this host noticing.
pub fn access(settings: Option<&HostSettings>, home: &Path) -> Result<Access, FetchFailure> {
    let Some(settings) = settings else { return Ok(Access::default()) };
    let HostSettings {
        user,
        password,
        ssh_key_file,
        ssh_key_passphrase_file,
        known_hosts_file,
        ca_file,
        allow_private,
        follow_redirects,
        proxy,
    } = settings;
    let file = |path: &Option<String>, kind| path.as_deref().map(|path| read(&home.join(path), kind)).transpose();
    let password = match password {
        None => None,
        Some(SecretPlace::File(path)) => Some(first_line(&read(&home.join(path), Kind::Secret)?)),
        Some(SecretPlace::Variable(name)) => {
            let value = std::env::var(name).map(Zeroizing::new).map_err(|_| {
                failure(format!("the environment variable {name} is not set, or is not UTF-8"))
                    .hint("set it where the host is started, or use `password-file`")
            })?;
            Some(first_line(&value))
        }
    };
    Ok(Access {
        user: user.clone(),
        password,
        ssh_key: file(ssh_key_file, Kind::Secret)?.map(|text| text.as_str().into()),
        ssh_key_passphrase: file(ssh_key_passphrase_file, Kind::Secret)?.map(|text| first_line(&text)),
        known_hosts: file(known_hosts_file, Kind::Public)?.map(|text| text.to_string()),
        ca: file(ca_file, Kind::Public)?.map(|text| text.to_string()),
        allow_private: *allow_private,
        follow_redirects: *follow_redirects,
        proxy: proxy.clone(),
    })
}

/// A password without the line end that editors leave.
fn first_line(text: &str) -> Password {
    text.lines().next().unwrap_or_default().into()
}

fn failure(message: String) -> FetchFailure {
    FetchFailure::new("credentials-unreadable", message)
}

fn read(path: &Path, kind: Kind) -> Result<Zeroizing<String>, FetchFailure> {
    let shown = escape(&path.to_string_lossy());
    let unreadable = |error: io::Error| {
        failure(format!("{shown}, which the settings name, can't be read: {error}"))
            .hint("check [credentials] in config.toml; it is tried again")
    };
    // Non-blocking, so that a FIFO in the file's place can't hold the fetch up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?);
    let metadata = file.metadata().map_err(unreadable)?;
    let own = rustix::process::geteuid().as_raw();
    let (max_bytes, forbidden) = match kind {
        Kind::Secret => (MAX_SECRET_BYTES, READABLE_BY_OTHERS),
        Kind::Public => (MAX_PUBLIC_BYTES, WRITABLE_BY_OTHERS),
    };
    let refuse = |why: &str, remedy: String| Err(failure(format!("{shown} is not used: {why}")).hint(remedy));
    if !metadata.is_file() {
        return refuse("it is no regular file", "name a plain file in [credentials] of config.toml".to_owned());
    }
    if metadata.uid() != own && metadata.uid() != 0 {
        return refuse("it belongs to another user", format!("chown {own} {shown}"));
    }
    if metadata.mode() & forbidden != 0 {
        return match kind {
            Kind::Secret => refuse("it holds a secret and others may read or change it", format!("chmod 600 {shown}")),
            Kind::Public => refuse("others may change it", format!("chmod go-w {shown}")),
        };
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let size = usize::try_from(metadata.len().min(max_bytes)).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(size + 1));
    file.take(max_bytes + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > max_bytes {
        return refuse("it is too large", format!("it may have {max_bytes} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn world(mode: u32) -> (tempfile::TempDir, HostSettings) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("token"), "s3cret-canary\n").expect("written");
        std::fs::set_permissions(dir.path().join("token"), std::fs::Permissions::from_mode(mode)).expect("mode set");
        let password = Some(SecretPlace::File("token".to_owned()));
        (dir, HostSettings { user: Some("u".to_owned()), password, allow_private: true, ..HostSettings::default() })
    }

    #[test]
    fn a_secret_is_read_without_its_line_end_and_never_shown() {
        let (dir, settings) = world(0o600);
        let access = access(Some(&settings), dir.path()).expect("readable");
        assert_eq!((access.user.as_deref(), access.password.as_deref()), (Some("u"), Some("s3cret-canary")));
        assert!(access.allow_private && !access.follow_redirects);
        assert!(!format!("{access:?}{settings:?}").contains("canary"));
        assert_eq!(super::access(None, dir.path()), Ok(Access::default()));
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        for mode in [0o640, 0o604, 0o660, 0o644] {
            let (dir, settings) = world(mode);
            let failure = access(Some(&settings), dir.path()).expect_err("refused");
            assert_eq!(failure.code, "credentials-unreadable");
            assert!(failure.hint.as_deref().is_some_and(|hint| hint.starts_with("chmod 600 ")), "{failure:?}");
            assert!(!format!("{failure:?}").contains("canary"));
        }
    }

    #[test]
    fn links_fifos_and_missing_files_are_refused_without_waiting() {
        let (dir, mut settings) = world(0o600);
        std::os::unix::fs::symlink(dir.path().join("token"), dir.path().join("link")).expect("linked");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .expect("made");
        for name in ["link", "fifo", "nothing"] {
            settings.password = Some(SecretPlace::File(name.to_owned()));
            assert!(access(Some(&settings), dir.path()).is_err(), "{name}");
        }
        settings.password = Some(SecretPlace::Variable("AIRSSYS_NO_SUCH_VARIABLE".to_owned()));
        assert!(access(Some(&settings), dir.path()).is_err());
    }
}
