//! Decides what an error of the HTTP client means. Never shows a URL: it may have come from a redirect.

use std::error::Error;

use super::super::remote::FetchFailure;
use super::head::{proxy_refused, shown};
use super::names::NameError;

/// What the TLS library says about certificates, what that means, and what to do.
const CERTIFICATES: &[(&str, &str, &str)] = &[
    ("certificate has expired", "it has expired", "the server needs a new one; if it has, check this machine's clock"),
    (
        "certificate is not yet valid",
        "it is not valid yet",
        "check this machine's clock, then the server's certificate",
    ),
    ("hostname mismatch", "it is for another host", "use the name that the certificate is for, or renew it"),
    ("IP address mismatch", "it is for another address", "use the name that the certificate is for, or renew it"),
    ("self-signed certificate", UNKNOWN_ISSUER, TRUST_ISSUER),
    ("self signed certificate", UNKNOWN_ISSUER, TRUST_ISSUER),
    ("unable to get local issuer certificate", UNKNOWN_ISSUER, TRUST_ISSUER),
    ("unable to get issuer certificate", UNKNOWN_ISSUER, TRUST_ISSUER),
    ("unable to verify the first certificate", UNKNOWN_ISSUER, TRUST_ISSUER),
];
const UNKNOWN_ISSUER: &str = "no authority that this machine knows has issued it";
const TRUST_ISSUER: &str = "if it is a private authority's, name its certificate as `ca` in the settings of that host";

/// The failure of a question that got no answer.
pub(super) fn of_request(host: &str, what: &str, error: reqwest::Error) -> FetchFailure {
    let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
    let error = error.without_url();
    match find::<NameError>(&error) {
        Some(NameError::Refused(..)) => {
            let why = find::<NameError>(&error).map(ToString::to_string).unwrap_or_default();
            return address_refused(host, &why);
        }
        Some(NameError::Unknown(why)) => {
            let message = format!("cannot find the address of `{host}`: {}", shown(why.as_bytes()));
            return FetchFailure::new("no-such-host", message);
        }
        None => {}
    }
    let texts = texts(&error);
    if let Some(text) = texts.iter().find(|text| text.contains("certificate verify failed")) {
        return bad_certificate(host, text);
    }
    if texts.iter().any(|text| text.contains("tunnel") || text.contains("proxy auth")) {
        return proxy_refused(host);
    }
    let why = texts.last().map(|text| shown(text.as_bytes())).unwrap_or_default();
    if is_connect && is_timeout {
        FetchFailure::new("cannot-connect", format!("cannot connect to `{host}` in time"))
    } else if find::<openssl::error::ErrorStack>(&error).is_some() {
        FetchFailure::new("tls-failed", format!("cannot agree on a TLS connection with `{host}`: {why}"))
    } else if is_connect {
        FetchFailure::new("cannot-connect", format!("cannot connect to `{host}`: {why}"))
    } else {
        FetchFailure::new("bad-answer", format!("cannot read the answer of `{host}` for {what}: {why}"))
    }
}

/// The failure of a body that did not end as it should.
pub(super) fn of_body(host: &str, what: &str, error: reqwest::Error) -> FetchFailure {
    let error = error.without_url();
    let why = texts(&error).last().map(|text| shown(text.as_bytes())).unwrap_or_default();
    FetchFailure::new("connection-lost", format!("`{host}` stops in the middle of {what}: {why}"))
}

/// The failure of a name or address that may not be connected to.
pub(super) fn address_refused(host: &str, why: &str) -> FetchFailure {
    FetchFailure::new("address-refused", format!("`{host}` may not be connected to: {why}")).hint(format!(
        "if that is meant, set `allow-private = true` in [credentials.\"{host}\"] of the host's config.toml"
    ))
}

fn bad_certificate(host: &str, text: &str) -> FetchFailure {
    let known = CERTIFICATES.iter().find(|(says, ..)| text.contains(says));
    let (means, remedy) = known.map_or(("it does not hold", TRUST_ISSUER), |(_, means, remedy)| (*means, *remedy));
    FetchFailure::new("bad-certificate", format!("the certificate of `{host}` is not accepted: {means}")).hint(remedy)
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// What each error of a chain says, the cause last.
fn texts(error: &(dyn Error + 'static)) -> Vec<String> {
    chain(error).map(ToString::to_string).collect()
}
