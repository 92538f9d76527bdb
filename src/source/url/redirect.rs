//! Decides where a redirect may lead: nowhere, or to another path of the same server.

use url::Url;

use super::super::remote::FetchFailure;
use super::bounds::{MAX_LOCATION_BYTES, MAX_REDIRECTS};
use super::head::shown;

/// The URL that a redirect from `from` leads to. A `Location` may hold secrets: of what is refused only scheme and
/// host are told.
pub(super) fn target(from: &Url, location: Option<&[u8]>, is_allowed: bool) -> Result<Url, FetchFailure> {
    let host = from.host_str().unwrap_or_default();
    let to = location
        .filter(|location| location.len() <= MAX_LOCATION_BYTES)
        .and_then(|location| std::str::from_utf8(location).ok())
        .and_then(|location| from.join(location).ok());
    let Some(to) = to else {
        return Err(refused(host, "the redirect leads to something that is no URL"));
    };
    if to.origin() != from.origin() || !to.origin().is_tuple() {
        let there = format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default());
        return Err(refused(host, &format!("the redirect leads to another server, {}", shown(there.as_bytes())))
            .hint("name the final URL in the desired file"));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refused(host, "the redirect carries a user name or password"));
    }
    if !is_allowed {
        return Err(refused(host, "redirects are not followed").hint(format!(
            "name the final URL in the desired file, or set `follow-redirects = true` in [credentials.\"{host}\"] \
             of the host's config.toml"
        )));
    }
    Ok(to)
}

/// What more redirects than are followed lead to.
pub(super) fn too_many(from: &Url) -> FetchFailure {
    let host = from.host_str().unwrap_or_default();
    refused(host, &format!("more than {MAX_REDIRECTS} redirects one after the other"))
}

fn refused(host: &str, why: &str) -> FetchFailure {
    FetchFailure::new("redirect-refused", format!("`{host}` redirects: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "https://example.com/a/Component.toml";

    fn to(location: &str) -> Result<String, FetchFailure> {
        let from = Url::parse(FROM).expect("a URL");
        target(&from, Some(location.as_bytes()), true).map(Into::into)
    }

    #[test]
    fn u1_u2_redirects_leave_neither_the_server_nor_https() {
        for location in [
            "http://example.com/a/Component.toml",
            "file:///etc/passwd",
            "ftp://example.com/x",
            "data:text/plain,hello",
            "gopher://example.com/x",
            "javascript:alert(1)",
            "https://example.org/a",
            "https://sub.example.com/a",
            "https://example.com:8443/a",
            "https://example.com.evil.test/a",
            "//evil.test/a",
            "\\\\evil.test\\a",
            "https://example.com@evil.test/a",
            "https://169.254.169.254/",
            "https://user:secret@example.com/a",
            "https://user@example.com/a",
            "https://",
        ] {
            let failure = to(location).expect_err(location);
            assert_eq!(failure.code, "redirect-refused", "{location}");
            assert!(!failure.message.contains("secret"), "{}", failure.message);
        }
        let long = format!("/{}", "a".repeat(MAX_LOCATION_BYTES));
        assert_eq!(to(&long).expect_err("long").code, "redirect-refused");
    }

    #[test]
    fn u2_redirects_on_the_same_server_are_followed_where_that_is_allowed() {
        assert_eq!(to("b/x?token=1").as_deref(), Ok("https://example.com/a/b/x?token=1"));
        assert_eq!(to("https://EXAMPLE.com:443/b").as_deref(), Ok("https://example.com/b"));
        let from = Url::parse(FROM).expect("a URL");
        let failure = target(&from, Some(b"/b"), false).expect_err("not allowed");
        assert_eq!(failure.code, "redirect-refused");
        assert!(failure.hint.expect("a hint").contains("follow-redirects"));
        assert_eq!(target(&from, None, true).expect_err("nowhere").code, "redirect-refused");
    }
}
