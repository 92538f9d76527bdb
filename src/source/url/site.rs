//! Owns asking one server for the files of one artifact.

use std::net::IpAddr;

use reqwest::header::{ACCEPT_ENCODING, HeaderValue, IF_NONE_MATCH, LOCATION};
use reqwest::{Client, Response, StatusCode};
use url::{Host, Url};

use super::super::remote::{Access, FetchFailure, UrlJob};
use super::body::Body;
use super::bounds::{MAX_REDIRECTS, Times};
use super::file::File;
use super::{Network, client, fault, head, redirect};
use crate::address;
use crate::remote_url::Transport;

/// One server, with what opens its door.
pub(super) struct Site<'a> {
    client: Client,
    manifest: Url,
    host: &'a str,
    literal: Option<IpAddr>,
    access: &'a Access,
    times: Times,
}

/// What came of a question.
pub(super) enum Answer<'a> {
    /// The file follows.
    Body(Box<Body<'a>>),
    /// The validator that was sent along still holds.
    Unchanged,
}

impl<'a> Site<'a> {
    /// Connects to nothing yet.
    pub(super) fn new(job: &'a UrlJob, network: &Network) -> Result<Self, FetchFailure> {
        let (url, access) = (&job.url, &job.access);
        let protocol = || FetchFailure::new("worker-protocol", format!("`{url}` is not fetched over HTTP"));
        if !matches!(url.transport(), Transport::Https | Transport::Http) {
            return Err(protocol());
        }
        let host = url.host().ok_or_else(protocol)?;
        let manifest = Url::parse(url.as_str()).map_err(|_| protocol())?;
        let literal = match manifest.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        // An address that is written out is not looked up, so that nobody else would judge it.
        if let Some(literal) = literal {
            address::check(literal, Some(literal), access.allow_private)
                .map_err(|scope| fault::address_refused(host, &format!("it is {}", scope.in_words())))?;
        }
        let client = client::client(host, access, network)?;
        Ok(Self { client, manifest, host, literal, access, times: network.times })
    }

    /// Asks for a file that must be there.
    pub(super) async fn get_body<'f>(&self, file: File<'f>) -> Result<Body<'f>, FetchFailure>
    where
        'a: 'f,
    {
        match self.get(file, None).await? {
            Answer::Body(body) => Ok(*body),
            Answer::Unchanged => Err(self.unasked(file, StatusCode::NOT_MODIFIED)),
        }
    }

    /// Asks for a file, or whether the one with this validator is still the one.
    pub(super) async fn get<'f>(&self, file: File<'f>, validator: Option<&str>) -> Result<Answer<'f>, FetchFailure>
    where
        'a: 'f,
    {
        let validator = validator.and_then(|text| HeaderValue::from_str(text).ok());
        let mut url = self.url_of(file);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&url, file, validator.as_ref()).await?;
            self.check_peer(&response)?;
            head::check(self.host, response.headers())?;
            match response.status() {
                StatusCode::OK => return Ok(Answer::Body(Box::new(self.body(response, file)))),
                StatusCode::NOT_MODIFIED if validator.is_some() => return Ok(Answer::Unchanged),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
                    url = redirect::target(&url, location, self.access.follow_redirects)?;
                }
                status => return Err(head::failure(self.host, file, status, response.headers())),
            }
        }
        Err(redirect::too_many(&url))
    }

    async fn ask(&self, url: &Url, file: File<'_>, validator: Option<&HeaderValue>) -> Result<Response, FetchFailure> {
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(validator) = validator {
            request = request.header(IF_NONE_MATCH, validator);
        }
        // Redirects stay on the origin that the credentials are for.
        if self.access.user.is_some() || self.access.password.is_some() {
            let user = self.access.user.as_deref().unwrap_or_default();
            request = request.basic_auth(user, self.access.password.as_deref());
        }
        let limit = self.times.connect + self.times.header;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(fault::of_request(self.host, file.in_words(), error)),
            Err(_) => {
                let (what, ms) = (file.in_words(), limit.as_millis());
                let message = format!("`{}` has not begun to answer for {what} after {ms} ms", self.host);
                Err(FetchFailure::new("no-answer", message))
            }
        }
    }

    /// Looks at the address that the connection really has: behind a proxy it is the proxy's.
    fn check_peer(&self, response: &Response) -> Result<(), FetchFailure> {
        let peer = response.remote_addr().filter(|_| self.access.proxy.is_none());
        match peer.map(|peer| address::check(peer.ip(), self.literal, self.access.allow_private)) {
            Some(Err(scope)) => {
                Err(fault::address_refused(self.host, &format!("the connection leads to {}", scope.in_words())))
            }
            _ => Ok(()),
        }
    }

    fn body<'f>(&self, response: Response, file: File<'f>) -> Body<'f>
    where
        'a: 'f,
    {
        let revision = head::validator(response.headers());
        Body { response, host: self.host, file, times: self.times, revision }
    }

    fn url_of(&self, file: File<'_>) -> Url {
        let mut url = self.manifest.clone();
        if let (Some(segment), Ok(mut segments)) = (file.segment(), url.path_segments_mut()) {
            // Whatever the segment holds is escaped: it stays one segment.
            segments.pop().push(segment);
        }
        url
    }

    fn unasked(&self, file: File<'_>, status: StatusCode) -> FetchFailure {
        head::failure(self.host, file, status, &reqwest::header::HeaderMap::new())
    }
}
