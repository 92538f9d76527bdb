//! Owns the settings about remote hosts: `[sources]` and `[credentials."host"]`.
//!
//! Knows where secrets are and never what they are; reading them is `source::credentials`' work.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::desired::spec::Source;
use crate::document::{Report, Table, Value, shown};
use crate::quantity::Millis;
use crate::remote_url::{RemoteUrl, Transport};

/// How often branches, tags and URLs are looked at again where nothing else is set, in milliseconds.
pub const DEFAULT_INTERVAL_MS: u64 = 5 * 60 * 1_000;
/// Shortest interval, in milliseconds.
pub const MIN_INTERVAL_MS: u64 = 1_000;
/// Longest interval, in milliseconds.
pub const MAX_INTERVAL_MS: u64 = 24 * 60 * 60 * 1_000;
/// Most hosts with settings of their own.
const MAX_HOSTS: usize = 256;
/// Most patterns in `allow`.
const MAX_ALLOWED: usize = 256;

/// What holds for all remote sources, and for single hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// How often what can move is looked at again.
    pub interval: Millis,
    /// The hosts that sources may be on; none when all may.
    pub allow: Option<Vec<String>>,
    /// Whether what is behind a URL is taken only where its desired file pins the wasm's digest.
    pub require_pin: bool,
    /// Settings by `host` or `host:port`, as written.
    pub hosts: BTreeMap<String, HostSettings>,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self { interval: Millis(DEFAULT_INTERVAL_MS), allow: None, require_pin: false, hosts: BTreeMap::new() }
    }
}

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum SecretPlace {
    /// In a file, absolute or relative to the home.
    File(String),
    /// In an environment variable of the host.
    Variable(String),
}

/// What opens the door of one host. Paths are absolute or relative to the home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostSettings {
    /// User name.
    pub user: Option<String>,
    /// Where the password or token is.
    pub password: Option<SecretPlace>,
    /// An SSH private key.
    pub ssh_key_file: Option<String>,
    /// The file that holds the key's passphrase.
    pub ssh_key_passphrase_file: Option<String>,
    /// A `known_hosts` file.
    pub known_hosts_file: Option<String>,
    /// Certificates of authorities, PEM.
    pub ca_file: Option<String>,
    /// Whether its name may lead to private and loopback addresses.
    pub allow_private: bool,
    /// Whether redirects that stay on the host are followed.
    pub follow_redirects: bool,
    /// An HTTP proxy.
    pub proxy: Option<String>,
}

impl SourceSettings {
    /// Whether sources may be on the host of `url`. A repository on this machine has none.
    pub fn allow(&self, url: &RemoteUrl) -> bool {
        let (Some(allow), Some(host)) = (&self.allow, url.host()) else { return true };
        allow.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => pattern == host,
        })
    }

    /// Whether a source lacks the pin that these settings ask for. A repository has none: its commits are named by
    /// what they hold.
    pub fn misses_pin(&self, source: &Source) -> bool {
        self.require_pin && matches!(source, Source::Url { sha256: None, .. })
    }

    /// The settings for the host of `url`: those with its port come before those without.
    pub fn of(&self, url: &RemoteUrl) -> Option<&HostSettings> {
        let host = url.host()?;
        self.hosts.get(&host_and_port(url)?).or_else(|| self.hosts.get(host)).or_else(|| {
            let bracketed = format!("[{host}]");
            self.hosts.get(&bracketed)
        })
    }
}

/// `host:port` of what is connected to, an IPv6 address in brackets; none for a repository on this machine.
pub fn host_and_port(url: &RemoteUrl) -> Option<String> {
    let host = url.host()?;
    let port = url.port().unwrap_or(match url.transport() {
        Transport::Https => 443,
        Transport::Http => 80,
        Transport::Ssh => 22,
        Transport::File => return None,
    });
    Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// Reads both tables.
pub(super) fn read<'t>(root: &mut Table<'_, 't>, report: &mut Report<'t>) -> SourceSettings {
    let mut settings = SourceSettings::default();
    if let Some(mut table) = root.table("sources", report) {
        let range = Millis(MIN_INTERVAL_MS)..=Millis(MAX_INTERVAL_MS);
        if let Some(interval) = table.take("interval").and_then(|value| value.millis(range, report)) {
            settings.interval = interval;
        }
        if let Some(value) = table.take("allow") {
            settings.allow = read_allowed(&value, report);
        }
        settings.require_pin = flag(&mut table, "require-pin", report);
        table.finish(report);
    }
    if let Some(mut table) = root.table("credentials", report) {
        for (index, (host, value)) in table.take_rest().into_iter().enumerate() {
            if index == MAX_HOSTS {
                report.error(value.key_span.clone(), format!("there are more than {MAX_HOSTS} hosts with settings"));
            } else if index < MAX_HOSTS
                && let Some(one) = read_host(&host, &value, report)
            {
                settings.hosts.insert(host, one);
            }
        }
        table.finish(report);
    }
    settings
}

fn read_allowed<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<Vec<String>> {
    let mut allowed = Vec::new();
    for item in value.items(MAX_ALLOWED, report)? {
        let Some(text) = item.string(report) else { continue };
        let host = text.strip_prefix("*.").unwrap_or(text);
        if is_host(host) {
            allowed.push(text.to_owned());
        } else {
            let message = format!("`{}` can't be \"{}\"", shown(&item.path), shown(text));
            report.error_with_hint(item.span.clone(), message, HOST_HINT);
        }
    }
    Some(allowed)
}

const HOST_HINT: &str = "write a host in lower case, \"example.com\", or all below a domain, \"*.example.com\"";

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':'))
}

/// `host`, `host:port`, or an IPv6 address in brackets with or without a port.
fn is_host_key(key: &str) -> bool {
    let (host, port) = match key.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match key.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (key, None),
        },
    };
    is_host(host) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port))
}

fn read_host<'t>(key: &str, value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<HostSettings> {
    if !is_host_key(key) {
        let message = format!("`{}` names no host", shown(&value.path));
        let hint = "write [credentials.\"example.com\"] or [credentials.\"example.com:8443\"], in lower case";
        report.error_with_hint(value.key_span.clone(), message, hint);
        return None;
    }
    let mut table = value.table(report)?;
    let settings = HostSettings {
        user: text(&mut table, "user", report),
        password: read_password(&mut table, report),
        ssh_key_file: text(&mut table, "ssh-key-file", report),
        ssh_key_passphrase_file: text(&mut table, "ssh-key-passphrase-file", report),
        known_hosts_file: text(&mut table, "known-hosts-file", report),
        ca_file: text(&mut table, "ca-file", report),
        allow_private: flag(&mut table, "allow-private", report),
        follow_redirects: flag(&mut table, "follow-redirects", report),
        proxy: read_proxy(&mut table, report),
    };
    for key in ["password", "token", "passphrase"] {
        if let Some(value) = table.take(key) {
            let message = format!("`{}` has no place in the settings", shown(&value.path));
            report.error_unseen(value.key_span.clone(), message, "write the secret into a file: `password-file`");
        }
    }
    table.finish(report);
    Some(settings)
}

fn text<'t>(table: &mut Table<'_, 't>, key: &str, report: &mut Report<'t>) -> Option<String> {
    let value = table.take(key)?;
    let text = value.string(report)?;
    if text.is_empty() || text.contains(char::is_control) {
        report.error(value.span.clone(), format!("`{}` is empty or holds a control character", shown(&value.path)));
        return None;
    }
    Some(text.to_owned())
}

fn flag<'t>(table: &mut Table<'_, 't>, key: &str, report: &mut Report<'t>) -> bool {
    table.take(key).and_then(|value| value.boolean(report)).unwrap_or(false)
}

fn read_password<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> Option<SecretPlace> {
    let both = table.holds("password-file") && table.holds("password-env");
    let file = text(table, "password-file", report);
    let variable = table.take("password-env");
    if let (true, Some(value)) = (both, &variable) {
        let message = "there are `password-file` and `password-env`, and one password is sent";
        report.error_with_hint(value.key_span.clone(), message, "remove one of them");
    }
    match (file, variable) {
        (Some(file), _) => Some(SecretPlace::File(file)),
        (None, Some(value)) => {
            let name = value.string(report)?;
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || !name.bytes().all(is_name) {
                let message = format!("`{}` must be the name of an environment variable", shown(&value.path));
                report.error(value.span.clone(), message);
                return None;
            }
            Some(SecretPlace::Variable(name.to_owned()))
        }
        (None, None) => None,
    }
}

fn read_proxy<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> Option<String> {
    let value = table.take("proxy")?;
    let text = value.string(report)?;
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.contains(|c: char| !c.is_ascii_graphic() || c == '@')) {
        let message = format!("`{}` must be a URL such as http://proxy.example.com:3128", shown(&value.path));
        report.error_unseen(value.span.clone(), message, "user name and password have no place in it");
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn read(text: &str) -> SourceSettings {
        Config::parse("config.toml", text).expect("valid").sources
    }

    fn url(text: &str) -> RemoteUrl {
        text.parse().expect("a URL")
    }

    #[test]
    fn what_is_written_is_found_for_the_host_and_the_port_comes_first() {
        let settings = read(
            "[sources]\ninterval = \"30s\"\nallow = [\"example.com\", \"*.example.org\"]\n\
             [credentials.\"example.com\"]\nuser = \"u\"\npassword-file = \"p\"\nallow-private = true\n\
             [credentials.\"example.com:8443\"]\nuser = \"v\"\npassword-env = \"TOKEN\"\nfollow-redirects = true\n\
             [credentials.\"[::1]:80\"]\nuser = \"w\"\n",
        );
        assert_eq!(settings.interval, Millis(30_000));
        let user = |text: &str| settings.of(&url(text)).and_then(|host| host.user.clone());
        assert_eq!(user("https://example.com/x").as_deref(), Some("u"));
        assert_eq!(user("https://example.com:8443/x").as_deref(), Some("v"));
        assert_eq!(user("http://[::1]/x").as_deref(), Some("w"));
        assert_eq!(user("https://other.com/x"), None);
        for (text, is_allowed) in [
            ("https://example.com/x", true),
            ("https://a.example.org/x", true),
            ("https://example.org/x", false),
            ("https://evilexample.org/x", false),
            ("https://a.example.com/x", false),
            ("file:///srv/x.git", true),
        ] {
            assert_eq!(settings.allow(&url(text)), is_allowed, "{text}");
        }
        assert!(read("").allow(&url("https://anywhere.example/x")));
        assert_eq!(read("").interval, Millis(300_000));
    }

    #[test]
    fn every_problem_is_named_with_its_place() {
        crate::golden::check_each("config", |file, bytes| {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            let problems = Config::parse(file, text).expect_err("invalid");
            problems.iter().map(|problem| format!("{problem}\n")).collect()
        });
    }
}
