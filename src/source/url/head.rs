//! Decides what the head of an answer means. Pure, apart from reading the clock for `Retry-After`.

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};

use super::super::remote::FetchFailure;
use super::bounds::{MAX_ETAG_BYTES, MAX_HEADER_BYTES, MAX_SHOWN_BYTES};
use super::file::File;
use super::retry_after;
use crate::escape::escape;

/// Foreign text for a message: bounded and escaped.
pub(super) fn shown(text: &[u8]) -> String {
    let cut = &text[..text.len().min(MAX_SHOWN_BYTES)];
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", escape(&String::from_utf8_lossy(cut)))
}

/// Refuses a head that is too large or announces a body in a form that is not taken.
pub(super) fn check(host: &str, headers: &HeaderMap) -> Result<(), FetchFailure> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        let message = format!("`{host}` answers with a head of {bytes} bytes, at most {MAX_HEADER_BYTES} are taken");
        return Err(FetchFailure::new("bad-answer", message));
    }
    for (header, plain) in [(CONTENT_ENCODING, "identity"), (TRANSFER_ENCODING, "chunked")] {
        let is_other = |value: &&HeaderValue| !value.as_bytes().eq_ignore_ascii_case(plain.as_bytes());
        if let Some(value) = headers.get_all(&header).iter().find(is_other) {
            let message = format!("`{host}` sends the file in the encoding `{}`", shown(value.as_bytes()));
            return Err(FetchFailure::new("content-encoding", message)
                .hint("the server must send the bytes as they are, without compressing them"));
        }
    }
    Ok(())
}

/// The validator of an answer, where it has a plain one.
pub(super) fn validator(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(ETAG)?.to_str().ok()?;
    (!text.is_empty() && text.len() <= MAX_ETAG_BYTES).then(|| text.to_owned())
}

/// What any status but 200, 304 and the redirects leads to.
pub(super) fn failure(host: &str, file: File<'_>, status: StatusCode, headers: &HeaderMap) -> FetchFailure {
    let (what, number) = (file.in_words(), status.as_u16());
    match number {
        404 | 410 => FetchFailure::new(file.missing(), format!("`{host}` has no such file for {what} ({number})"))
            .hint(file.missing_hint()),
        401 | 403 => {
            FetchFailure::new("bad-credentials", format!("`{host}` does not let this host read {what} ({number})"))
                .hint(format!("set `user` and `password` in [credentials.\"{host}\"] of the host's config.toml"))
        }
        407 => proxy_refused(host),
        429 | 503 => {
            let wait = headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| retry_after::wait(text, Timestamp::now()));
            let message = format!("`{host}` asks to be left alone for now ({number})");
            let mut failure = FetchFailure::new("busy", message);
            failure.retry_after_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            failure
        }
        500.. => FetchFailure::new("server-error", format!("`{host}` fails to send {what} ({number})")),
        _ => FetchFailure::new("bad-answer", format!("`{host}` answers with {number} when asked for {what}")),
    }
}

/// What a proxy that wants no part in it leads to.
pub(super) fn proxy_refused(host: &str) -> FetchFailure {
    FetchFailure::new("proxy-refused", format!("the proxy does not connect to `{host}`"))
        .hint(format!("look at `proxy` in [credentials.\"{host}\"] of the host's config.toml"))
}
