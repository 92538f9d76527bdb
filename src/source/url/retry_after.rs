//! Decides how long a server that asks to be left alone is left alone.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::bounds::MAX_RETRY_AFTER;

static DATES: DateTimeParser = DateTimeParser::new();

/// The wait that a `Retry-After` asks for: seconds, or a date. None for any other text.
pub(super) fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are more than the longest wait.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let at = DATES.parse_timestamp(text).ok()?;
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u10_seconds_and_dates_are_understood_and_never_more_than_an_hour() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().expect("a time");
        let seconds = |text| wait(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("3601"), Some(3_600));
        assert_eq!(seconds("99999999999999999999999999"), Some(3_600));
        assert_eq!(seconds("Mon, 02 Mar 2026 12:01:30 GMT"), Some(90));
        assert_eq!(seconds("Tue, 02 Mar 2027 12:01:30 GMT"), Some(3_600));
        assert_eq!(seconds("Mon, 02 Mar 2026 11:00:00 GMT"), Some(0));
        for text in ["", "-1", "1.5", "soon", "1e9", "Mon, 99 Mar 2026 12:00:00 GMT", "\u{0661}"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
