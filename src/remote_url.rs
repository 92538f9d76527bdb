//! Owns the addresses of remote sources: which URLs may be named at all, and how they are shown.
//!
//! Pure. Which addresses a host name leads to is found out, and judged, when it is connected to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// HTTP inside TLS.
    Https,
    /// Plain HTTP, which is taken for a literal loopback address only.
    Http,
    /// SSH.
    Ssh,
    /// A repository on this machine.
    File,
}

/// A URL of a remote source. It carries no secret: what opens the door stands in the host's own settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RemoteUrl {
    text: String,
    transport: Transport,
    host: Option<String>,
    port: Option<u16>,
}

/// Why a text is no URL that may be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("it is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// A character that has no place in a URL: control characters, spaces, backslashes, anything but ASCII.
    #[error("it holds {0:?}, which no URL may hold unescaped")]
    Character(char),
    /// The form that the ssh program takes.
    #[error("it is written as for the ssh program; write `{0}`")]
    ScpForm(String),
    /// No URL.
    #[error("it is not a URL: {0}")]
    Syntax(&'static str),
    /// Another scheme.
    #[error("`{0}` URLs are not fetched; use https, ssh or file")]
    Scheme(String),
    /// Plain HTTP to a host that is not this machine.
    #[error("plain http is taken for a literal loopback address only; use https")]
    PlainHttp,
    /// A password, or a user where none belongs.
    #[error(
        "it carries a user name or password; credentials belong into [credentials.\"host\"] of the host's config.toml"
    )]
    Credentials,
    /// No host, or one that could be taken for an option.
    #[error("its host is not one that may be connected to")]
    Host,
    /// A query or a fragment.
    #[error("it carries a query or a fragment, where secrets hide; name the file by its path alone")]
    Query,
}

impl RemoteUrl {
    /// How the bytes travel.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The host in lower case, an IPv6 address without brackets; none for `file`.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The port, where it is not the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL of a file beside the one that this URL names. `name` must be one checked path segment.
    pub fn sibling(&self, name: &str) -> String {
        let parent = self.text.rfind('/').map_or(self.text.as_str(), |end| &self.text[..end]);
        format!("{parent}/{name}")
    }
}

impl FromStr for RemoteUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        if let Some(bad) = text
            .chars()
            .find(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}'))
        {
            return Err(UrlError::Character(bad));
        }
        if let Some(hint) = scp_form(text) {
            return Err(UrlError::ScpForm(hint));
        }
        let url = Url::parse(text)
            .map_err(|_| UrlError::Syntax("write a scheme, a host and a path, as in https://host/path"))?;
        let transport = match url.scheme() {
            "https" => Transport::Https,
            "http" if is_loopback(&url) => Transport::Http,
            "http" => return Err(UrlError::PlainHttp),
            "ssh" => Transport::Ssh,
            "file" => Transport::File,
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        check_parts(&url, transport)?;
        Ok(Self {
            host: url
                .host_str()
                .filter(|_| transport != Transport::File)
                .map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase()),
            port: url.port(),
            transport,
            text: url.into(),
        })
    }
}

fn check_parts(url: &Url, transport: Transport) -> Result<(), UrlError> {
    if url.password().is_some() || (transport != Transport::Ssh && !url.username().is_empty()) {
        return Err(UrlError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(UrlError::Query);
    }
    // `%2d` decodes to a hyphen: a user or host that starts with one could be taken for an option somewhere.
    if url.username().starts_with(['-', '%']) {
        return Err(UrlError::Credentials);
    }
    match (transport, url.host_str()) {
        (Transport::File, None | Some("")) => Ok(()),
        (Transport::File, Some(_)) => Err(UrlError::Host),
        (_, Some(host)) if !host.is_empty() && !host.starts_with(['-', '%']) && !host.ends_with('.') => Ok(()),
        _ => Err(UrlError::Host),
    }
}

/// `user@host:path` and `host:path`, which are no URLs; the URL that means the same.
fn scp_form(text: &str) -> Option<String> {
    if text.contains("://") {
        return None;
    }
    let (host, path) = text.split_once(':')?;
    let is_host = host.contains('@') && !host.contains('/') && !path.starts_with(':');
    is_host.then(|| format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<RemoteUrl> for String {
    fn from(url: RemoteUrl) -> Self {
        url.text
    }
}

impl TryFrom<String> for RemoteUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalised_and_know_their_host() {
        let url: RemoteUrl = "https://Example.COM/acme/app.git".parse().expect("valid");
        assert_eq!((url.as_str(), url.host()), ("https://example.com/acme/app.git", Some("example.com")));
        let url: RemoteUrl = "ssh://git@example.com:2222/app".parse().expect("valid");
        assert_eq!((url.transport(), url.port()), (Transport::Ssh, Some(2222)));
        let url: RemoteUrl = "file:///srv/app.git".parse().expect("valid");
        assert_eq!((url.transport(), url.host()), (Transport::File, None));
        let url: RemoteUrl = "http://[::1]:80/Component.toml".parse().expect("valid");
        assert_eq!((url.transport(), url.host()), (Transport::Http, Some("::1")));
        assert_eq!(url.sibling("a.wasm"), "http://[::1]/a.wasm");
    }

    #[test]
    fn what_may_not_be_named_is_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<RemoteUrl>().expect_err(text);
        assert_eq!(refused("http://example.com/x"), UrlError::PlainHttp);
        assert_eq!(refused("http://localhost/x"), UrlError::PlainHttp);
        assert_eq!(refused("https://user:pass@example.com/x"), UrlError::Credentials);
        assert_eq!(refused("https://example.com/x?token=1"), UrlError::Query);
        assert_eq!(
            refused("git@example.com:acme/app.git"),
            UrlError::ScpForm("ssh://git@example.com/acme/app.git".into())
        );
        assert_eq!(refused("ssh://-oProxyCommand=x/app"), UrlError::Host);
        assert_eq!(refused("git://example.com/app"), UrlError::Scheme("git".into()));
        assert_eq!(refused("file://example.com/app"), UrlError::Host);
        assert_eq!(refused("https://example.com/a\u{1b}[2K"), UrlError::Character('\u{1b}'));
    }

    /// What may be named, and how it is written afterwards.
    const GOOD: &[(&str, &str)] = &[
        ("https://example.com/a.git", "https://example.com/a.git"),
        ("HTTPS://EXAMPLE.com/A.git", "https://example.com/A.git"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("https://example.com", "https://example.com/"),
        ("https:///example.com/a", "https://example.com/a"),
        ("https://example.com/a/../b", "https://example.com/b"),
        ("https://example.com/a%20b", "https://example.com/a%20b"),
        ("https://192.0.2.7/a", "https://192.0.2.7/a"),
        ("https://[2001:db8::1]/a", "https://[2001:db8::1]/a"),
        ("https://xn--bcher-kva.example/a", "https://xn--bcher-kva.example/a"),
        ("https://0x7f.1/a", "https://127.0.0.1/a"),
        ("https://2130706433/a", "https://127.0.0.1/a"),
        ("http://127.0.0.1/a", "http://127.0.0.1/a"),
        ("http://127.1:8080/a", "http://127.0.0.1:8080/a"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("ssh://git@example.com/a.git", "ssh://git@example.com/a.git"),
        ("ssh://example.com/a.git", "ssh://example.com/a.git"),
        ("ssh://git@example.com:2222/~a/b", "ssh://git@example.com:2222/~a/b"),
        ("ssh://git@[::1]/a", "ssh://git@[::1]/a"),
        ("file:///srv/a.git", "file:///srv/a.git"),
        ("file:///srv/../a.git", "file:///a.git"),
        ("file:///", "file:///"),
    ];

    /// What may not.
    const BAD: &[&str] = &[
        "",
        "example.com/a",
        "/srv/a.git",
        "./a.git",
        "~/a.git",
        "git://example.com/a",
        "git+ssh://git@example.com/a",
        "ssh+git://git@example.com/a",
        "ftp://example.com/a",
        "gopher://example.com/a",
        "data:text/plain,a",
        "javascript:1",
        "ext::sh -c touch% /tmp/x",
        "ext::touch",
        "fd::17",
        "http::https://example.com/a",
        "http://example.com/a",
        "http://localhost/a",
        "http://127.0.0.1.example.com/a",
        "http://10.0.0.1/a",
        "http://169.254.169.254/latest",
        "http://[::ffff:127.0.0.1]/a",
        "git@example.com:a.git",
        "git@example.com:a:b",
        "-u@example.com:a.git",
        "ssh://-oProxyCommand=touch/a",
        "ssh://-oProxyCommand=touch@example.com/a",
        "ssh://%2doProxyCommand=touch/a",
        "ssh://%2dx@example.com/a",
        "ssh://git:s3cret@example.com/a",
        "https://user@example.com/a",
        "https://user:s3cret@example.com/a",
        "https://:s3cret@example.com/a",
        "http://user@127.0.0.1/a",
        "https://example.com/a?token=1",
        "https://example.com/a#b",
        "https://example.com/a?",
        "ssh:///a",
        "https://example.com./a",
        "https://exa mple.com/a",
        "https://example.com/a b",
        "https://example.com/a\nb",
        "https://example.com/a\r",
        "https://example.com/a\tb",
        "\u{1b}[2Khttps://example.com/a",
        "https://example.com/\u{202e}gpj",
        "https://ex\u{e4}mple.com/a",
        "https://example.com\\@other.example/a",
        "https://example.com/`touch x`",
        "https://example.com/{a}",
        "https://example.com:99999/a",
        "https://[::1/a",
        "https://256.256.256.256/a",
        "file://example.com/a",
        "file://~/a",
        "file:///srv/a?b",
        "file:///srv/a\0b",
    ];

    #[test]
    fn g1_what_may_be_named_is_written_in_one_way() {
        for (text, normal) in GOOD {
            let url = text.parse::<RemoteUrl>().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.as_str(), *normal);
            assert_eq!(normal.parse::<RemoteUrl>().as_ref(), Ok(&url), "{text}: it is not normal");
        }
    }

    #[test]
    fn g1_g2_what_may_not_be_named_is_refused_and_no_secret_is_shown() {
        for text in BAD {
            let error = text.parse::<RemoteUrl>().expect_err(text).to_string();
            assert!(!error.contains("s3cret") && !error.contains(char::is_control), "{text}: {error}");
        }
        let long = format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(long.parse::<RemoteUrl>(), Err(UrlError::TooLong));
        assert!(GOOD.len() + BAD.len() >= 60);
    }
}
