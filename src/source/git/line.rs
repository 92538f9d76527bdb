//! Owns the HTTP client of one job: which addresses it connects to, what it sends, which answers it takes.

use std::error::Error as _;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, Proxy, RequestBuilder, Response, StatusCode, redirect};
use tokio::runtime::Runtime;
use url::Url;
use zeroize::Zeroizing;

use crate::remote_url::{RemoteUrl, Transport};
use crate::source::remote::{Access, FetchFailure};

use super::download::Reach;
use super::failure::{CREDENTIALS_HINT, foreign};
use super::meter::Meter;
use super::resolve;

/// Redirects that are followed where they are allowed.
const MAX_REDIRECTS: usize = 3;
/// Longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// Most header lines of an answer.
const MAX_HEADERS: usize = 64;
const LIST: &str = "info/refs";
const QUERY: &str = "service=git-upload-pack";
const PACK: &str = "git-upload-pack";
/// Some servers look for the first word.
const USER_AGENT: &str = concat!("git/2.0 (", env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), ")");

/// The HTTP client of one job.
pub(super) struct Line {
    runtime: Runtime,
    client: Client,
    authorization: Option<HeaderValue>,
    access: Access,
    meter: Arc<Meter>,
    host: String,
    /// The repository's URL with a slash at its end. A redirect moves it, on the host.
    base: Mutex<Url>,
}

impl Line {
    /// Finds and checks the addresses, and readies the client. Connects to nothing.
    pub(super) fn open(reach: &Reach<'_>) -> Result<Self, FetchFailure> {
        let host = reach.url.host().unwrap_or_default().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| FetchFailure::new("not-started", format!("no runtime: {error}")))?;
        let base = Url::parse(&format!("{}/", reach.url.as_str().trim_end_matches('/')));
        Ok(Self {
            runtime,
            client: client(reach, &host)?,
            authorization: authorization(reach.access, &host)?,
            access: reach.access.clone(),
            meter: Arc::clone(&reach.meter),
            base: Mutex::new(base.map_err(|_| bad_settings(&host, "the URL can't be used"))?),
            host,
        })
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Asks for the references.
    pub(super) fn list(&self) -> Result<Response, FetchFailure> {
        let mut url = self.join(LIST)?;
        url.set_query(Some(QUERY));
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(self.client.get(url.clone()).header("git-protocol", "version=0"))?;
            if !answer.status().is_redirection() {
                return self.judge(answer, "application/x-git-upload-pack-advertisement");
            }
            url = self.redirected(&url, &answer)?;
            let mut base = url.clone();
            base.set_query(None);
            let path = base.path().strip_suffix(LIST).map(str::to_owned);
            base.set_path(&path.ok_or_else(|| self.redirect_refused("it leads to something else"))?);
            *self.base.lock().unwrap_or_else(PoisonError::into_inner) = base;
        }
        Err(self.redirect_refused("there are too many in a row"))
    }

    /// Asks for a pack, or agrees on what it shall hold.
    pub(super) fn ask(&self, request: Vec<u8>) -> Result<Response, FetchFailure> {
        let asked = self.client.post(self.join(PACK)?).body(request);
        let answer = self.send(asked.header(CONTENT_TYPE, "application/x-git-upload-pack-request"))?;
        if answer.status().is_redirection() {
            return Err(self.redirect_refused("it comes after the references were listed"));
        }
        self.judge(answer, "application/x-git-upload-pack-result")
    }

    /// The next bytes of an answer; none at its end.
    pub(super) fn next_piece(&self, answer: &mut Response) -> Result<Vec<u8>, FetchFailure> {
        match self.wait(self.meter.limits().stall, answer.chunk())? {
            Ok(piece) => Ok(piece.map(|piece| piece.to_vec()).unwrap_or_default()),
            Err(error) => Err(self.lost(error)),
        }
    }

    fn join(&self, part: &str) -> Result<Url, FetchFailure> {
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        base.join(part).map_err(|_| bad_settings(&self.host, "the URL can't be used"))
    }

    fn send(&self, mut request: RequestBuilder) -> Result<Response, FetchFailure> {
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let limits = self.meter.limits();
        match self.wait(limits.connect + limits.stall, request.send())? {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Waits for at most `limit`, and no longer than the whole fetch may take.
    fn wait<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T, FetchFailure> {
        let left = self.meter.remaining()?;
        let waited = async { tokio::time::timeout(limit.min(left), future).await };
        self.runtime.block_on(waited).map_err(|_| match self.meter.remaining() {
            Ok(_) => self.meter.stalled(),
            Err(too_long) => too_long,
        })
    }

    fn redirected(&self, from: &Url, answer: &Response) -> Result<Url, FetchFailure> {
        let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let to = to.and_then(|to| from.join(to).ok()).ok_or_else(|| self.redirect_refused("it leads nowhere"))?;
        if !self.access.follow_redirects {
            return Err(self.redirect_refused("none is followed"));
        }
        let place = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
        if place(&to) != place(from) || !to.username().is_empty() || to.password().is_some() {
            return Err(self.redirect_refused("it leads away from the host"));
        }
        match to.query() {
            Some(QUERY) => Ok(to),
            _ => Err(self.redirect_refused("it leads to something else")),
        }
    }

    fn redirect_refused(&self, reason: &str) -> FetchFailure {
        FetchFailure::new("redirect-refused", format!("`{}` answers with a redirect: {reason}", self.host)).hint(format!(
            "write the URL that it leads to; follow-redirects = true in [credentials.\"{}\"] allows those on the host",
            self.host
        ))
    }

    /// Takes an answer of the right kind, and says what is wrong with any other.
    fn judge(&self, answer: Response, kind: &str) -> Result<Response, FetchFailure> {
        let status = answer.status();
        let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let said = |code, words: &str| FetchFailure::new(code, format!("`{}` answers {status}: {words}", self.host));
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let words = if self.authorization.is_some() { "it takes no such credentials" } else { "it wants some" };
                return Err(said("bad-credentials", words).hint(CREDENTIALS_HINT));
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(said("no-repository", "there is no such repository, or none that may be seen")
                    .hint("check the URL, and the credentials of this host"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let mut failure = said("server-busy", "it asks to be left alone for a while");
                failure.retry_after_ms = text(RETRY_AFTER).and_then(|text| text.parse().ok()).map(retry_after);
                return Err(failure);
            }
            _ if status.is_server_error() => return Err(said("server-error", "it has a fault of its own")),
            _ => return Err(said("bad-answer", "no repository answers like that")),
        }
        if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(said("content-encoding", "it compresses what was asked for plainly"));
        }
        if text(CONTENT_TYPE) != Some(kind) {
            return Err(said("bad-answer", "it does not speak git's smart protocol").hint("check the URL"));
        }
        Ok(answer)
    }

    /// What came instead of an answer. The error's own text may hold a URL and is not shown.
    fn lost(&self, error: reqwest::Error) -> FetchFailure {
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        let texts: Vec<String> =
            std::iter::successors(error.source(), |error| (*error).source()).map(ToString::to_string).collect();
        let last = foreign(texts.last().map_or("no reason is known", String::as_str), &self.access);
        if let Some(verdict) = texts.iter().find_map(|text| text.split("certificate verify failed").nth(1)) {
            let reason =
                verdict.rsplit_once('(').map_or("it does not hold", |(_, reason)| reason.trim_end_matches(')'));
            let message =
                format!("the certificate of `{}` is not accepted: {}", self.host, foreign(reason, &self.access));
            return FetchFailure::new("bad-certificate", message)
                .hint("renew it; name the certificate of a private authority as `ca` in the settings of that host");
        }
        match (is_connect, is_timeout) {
            (true, true) => FetchFailure::new("cannot-connect", format!("cannot connect to `{}` in time", self.host)),
            (true, false) => FetchFailure::new("cannot-connect", format!("cannot connect to `{}`: {last}", self.host)),
            _ => FetchFailure::new("connection-lost", format!("lost the connection to `{}`: {last}", self.host)),
        }
    }
}

fn retry_after(seconds: u64) -> u64 {
    let wait = Duration::from_secs(seconds).min(MAX_RETRY_AFTER);
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing of the environment counts: no proxies, no redirects that the client would follow by itself.
fn client(reach: &Reach<'_>, host: &str) -> Result<Client, FetchFailure> {
    let (access, connect) = (reach.access, reach.meter.limits().connect);
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .connect_timeout(connect)
        .user_agent(USER_AGENT);
    if let Some(pem) = &access.ca {
        let authorities = Certificate::from_pem_bundle(pem.as_bytes()).ok().filter(|found| !found.is_empty());
        let authorities = authorities.ok_or_else(|| bad_settings(host, "`ca` holds no certificate in PEM form"))?;
        builder = builder.tls_certs_merge(authorities);
    }
    match &access.proxy {
        // The proxy's text may hold a password and is not shown. Names are looked up by the proxy.
        Some(proxy) => {
            let proxy = Proxy::all(proxy).map_err(|_| bad_settings(host, "`proxy` is not the URL of a proxy"))?;
            builder = builder.proxy(proxy);
        }
        None => {
            let addresses = resolve::addresses(reach.url, default_port(reach.url), access.allow_private, connect)?;
            builder = builder.resolve_to_addrs(host, &addresses);
        }
    }
    builder.build().map_err(|_| bad_settings(host, "they can't be used for a TLS client"))
}

fn default_port(url: &RemoteUrl) -> u16 {
    if url.transport() == Transport::Http { 80 } else { 443 }
}

/// The one attempt to log in, sent along with each request.
fn authorization(access: &Access, host: &str) -> Result<Option<HeaderValue>, FetchFailure> {
    let Some(password) = &access.password else { return Ok(None) };
    let user = access.user.as_deref().unwrap_or("git");
    let both = Zeroizing::new(format!("{user}:{}", &**password));
    let encoded = Zeroizing::new(openssl::base64::encode_block(both.as_bytes()));
    let mut value = HeaderValue::from_str(&Zeroizing::new(format!("Basic {}", encoded.replace('\n', ""))))
        .map_err(|_| bad_settings(host, "user and password can't be sent"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn bad_settings(host: &str, fault: &str) -> FetchFailure {
    FetchFailure::new("bad-settings", format!("the settings for `{host}` are no good: {fault}"))
        .hint(format!("correct [credentials.\"{host}\"] in the host's config.toml"))
}
