//! Carries git's smart protocol over SSH, with libgit2's client on a short leash.
//!
//! No agent, no program, no file of the user's: host keys come from the host's settings and are judged here, the
//! private key is used from memory. The client would look names up by itself, so it is given a checked address in place
//! of the name. Between two bytes this client can't be interrupted: a server that goes on sending one at a time is
//! ended from outside, by whoever waits for the worker's progress.

use std::ffi::CString;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use git2::{CertificateCheckStatus, Cred, CredentialType, RemoteCallbacks};
use url::Url;

use crate::source::remote::{Access, FetchFailure};

use super::download::Reach;
use super::failure::{CREDENTIALS_HINT, of_disk};
use super::known_hosts::{HostKey, Verdict, judge, keys_of};
use super::meter::Meter;
use super::resolve;

/// The SSH client reads host keys from a place that is global to the process: one connection at a time is made.
static HOME: Mutex<()> = Mutex::new(());

/// A checked way to one host.
pub(super) struct Way<'a> {
    url: String,
    host: String,
    keys: Vec<HostKey>,
    access: &'a Access,
    _home: MutexGuard<'static, ()>,
}

impl<'a> Way<'a> {
    /// Finds the keys, the user and the address. Without a key that the host may show nothing is connected to.
    pub(super) fn open(reach: &Reach<'a>, place: &Path) -> Result<Self, FetchFailure> {
        let (access, host) = (reach.access, reach.url.host().unwrap_or_default().to_owned());
        if access.proxy.is_some() {
            return Err(FetchFailure::new("bad-settings", format!("`{host}` has a proxy, and SSH goes through none"))
                .hint("use the repository's https URL, or take `proxy` out of the settings of that host"));
        }
        let keys = keys_of(access.known_hosts.as_deref().unwrap_or_default(), &host, reach.url.port().unwrap_or(22));
        if keys.is_empty() {
            return Err(unknown_host(&host, "no line of `known-hosts` is for it"));
        }
        let url = Url::parse(reach.url.as_str()).map_err(|_| bad_settings(&host, "the URL can't be used"))?;
        let user = user(&url, access, &host)?;
        let wait = reach.meter.limits().connect;
        let addresses = resolve::addresses(reach.url, 22, access.allow_private, wait)?;
        let address = answering(&addresses, wait);
        let home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        write_home(&place.join("ssh"), address, &keys)?;
        Ok(Self { url: format!("ssh://{user}@{address}{}", url.path()), host, keys, access, _home: home })
    }

    /// The URL with the address in place of the name.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Judges the host's key, and logs in once.
    pub(super) fn callbacks<'s>(&'s self, meter: &'s Meter) -> RemoteCallbacks<'s> {
        let mut callbacks = RemoteCallbacks::new();
        let ended = |failure| {
            meter.fail(failure);
            git2::Error::from_str("the connection was ended")
        };
        callbacks.certificate_check(move |shown, _| {
            let key = shown.as_hostkey().and_then(|key| key.hostkey()).unwrap_or_default();
            match judge(&self.keys, key) {
                // Ours is the verdict: the library's own one is by the same lines.
                Verdict::Known => Ok(CertificateCheckStatus::CertificateOk),
                Verdict::Unknown => Err(ended(unknown_host(&self.host, "it shows one of another kind"))),
                Verdict::Changed => Err(ended(changed_host(&self.host))),
            }
        });
        let mut is_first = true;
        callbacks.credentials(move |_, user, allowed| {
            let cred = if std::mem::replace(&mut is_first, false) { self.credentials(user, allowed) } else { None };
            cred.ok_or_else(|| {
                let message = format!("`{}` does not accept the key or password, or none is set", self.host);
                ended(FetchFailure::new("bad-credentials", message).hint(CREDENTIALS_HINT))
            })
        });
        callbacks
    }

    fn credentials(&self, user: Option<&str>, allowed: CredentialType) -> Option<Cred> {
        let (user, access) = (user?, self.access);
        match (&access.ssh_key, &access.password) {
            (Some(key), _) if allowed.contains(CredentialType::SSH_MEMORY) => {
                Cred::ssh_key_from_memory(user, None, key, access.ssh_key_passphrase.as_deref()).ok()
            }
            (_, Some(password)) if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) => {
                Cred::userpass_plaintext(user, password).ok()
            }
            _ => None,
        }
    }
}

/// The user of the URL, else that of the settings.
fn user(url: &Url, access: &Access, host: &str) -> Result<String, FetchFailure> {
    let user = match (url.username(), &access.user) {
        ("", Some(user)) => user.as_str(),
        ("", None) => "git",
        (user, _) => user,
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if user.is_empty() || user.starts_with('-') || !user.chars().all(is_plain) {
        return Err(bad_settings(host, "the user's name holds something else than letters, digits, `.`, `_`, `-`"));
    }
    Ok(user.to_owned())
}

/// The first address that answers, where there are several.
fn answering(addresses: &[SocketAddr], wait: std::time::Duration) -> SocketAddr {
    match addresses {
        [only] => *only,
        several => {
            let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, wait).is_ok();
            *several.iter().take(3).find(answers).unwrap_or(&several[0])
        }
    }
}

/// Writes the keys where the client looks for them. They say which kinds it asks the host for; the verdict is ours.
fn write_home(home: &Path, address: SocketAddr, keys: &[HostKey]) -> Result<(), FetchFailure> {
    let directory = home.join(".ssh");
    let lines: String =
        keys.iter().map(|key| format!("[{}]:{} {} {}\n", address.ip(), address.port(), key.kind, key.text)).collect();
    let disk = |error: std::io::Error| of_disk("write the host keys beside the mirror", &error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(disk)?;
    std::fs::write(directory.join("known_hosts"), lines).map_err(disk)?;
    let home = CString::new(home.as_os_str().as_bytes())
        .map_err(|_| FetchFailure::new("mirror-unusable", "the mirror's path holds a zero byte"))?;
    // SAFETY: the option takes one C string, which it copies, and whoever reads the value holds `HOME`.
    match unsafe { libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_HOMEDIR as i32, home.as_ptr()) } {
        0 => Ok(()),
        _ => Err(FetchFailure::new("mirror-unusable", "the place for host keys can't be set")),
    }
}

fn unknown_host(host: &str, reason: &str) -> FetchFailure {
    FetchFailure::new("unknown-host-key", format!("the SSH key of `{host}` is not known: {reason}")).hint(format!(
        "compare what `ssh-keyscan {host}` prints with what the host's owner publishes, and add it to `known-hosts` in \
         [credentials.\"{host}\"] of the host's config.toml"
    ))
}

fn changed_host(host: &str) -> FetchFailure {
    let message = format!("the SSH key of `{host}` is not the one that `known-hosts` names");
    FetchFailure::new("host-key-changed", message)
        .hint("somebody may be in between; ask the host's owner before the new key is written down")
}

fn bad_settings(host: &str, fault: &str) -> FetchFailure {
    FetchFailure::new("bad-settings", format!("the settings for `{host}` are no good: {fault}"))
        .hint(format!("correct [credentials.\"{host}\"] in the host's config.toml"))
}
