//! Owns the HTTP client: what it may do is decided here once, by what the host's settings say.

use std::sync::Arc;

use reqwest::{Certificate, Client, Proxy, redirect};

use super::super::remote::{Access, FetchFailure};
use super::Network;
use super::bounds::MAX_HEADERS;
use super::names::{CheckedNames, Leave};

/// A client for one host. Nothing of the environment counts: no proxies, and no redirects that it would follow itself.
pub(super) fn client(host: &str, access: &Access, network: &Network) -> Result<Client, FetchFailure> {
    let leave = match (&access.proxy, access.allow_private) {
        (Some(_), _) => Leave::Proxy,
        (None, true) => Leave::Private,
        (None, false) => Leave::Public,
    };
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        // A connection is not used again: what a server sends after the end of one file would be read as the head
        // of the next.
        .pool_max_idle_per_host(0)
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .connect_timeout(network.times.connect)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(CheckedNames { names: Arc::clone(&network.names), leave }));
    if let Some(pem) = &access.ca {
        builder = builder.tls_certs_merge(authorities(host, pem)?);
    }
    if let Some(proxy) = &access.proxy {
        // The proxy's text may hold a password and is not shown.
        let proxy = Proxy::all(proxy).map_err(|_| bad_settings(host, "`proxy` is not a URL of an HTTP proxy"))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|_| bad_settings(host, "they can't be used for a TLS client"))
}

fn authorities(host: &str, pem: &str) -> Result<Vec<Certificate>, FetchFailure> {
    match Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        _ => Err(bad_settings(host, "`ca` holds no certificate in PEM form, or a broken one")),
    }
}

fn bad_settings(host: &str, fault: &str) -> FetchFailure {
    FetchFailure::new("bad-settings", format!("the settings for `{host}` are no good: {fault}"))
        .hint(format!("correct [credentials.\"{host}\"] in the host's config.toml"))
}
