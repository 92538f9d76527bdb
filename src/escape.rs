//! Owns the one way in which foreign text reaches a terminal, a log or an error message.
//!
//! Guests, files and peers choose that text: control characters could move the cursor or recolour a
//! screen, bidirectional marks could make a line read as another.

use std::borrow::Cow;
use std::fmt;

/// Shows text on one line: control characters, line ends, bidirectional marks and other invisible
/// characters become `\n`, `\t`, `\u{202e}` and the like. Everything else is shown as it is.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clean_from = 0;
        for (at, c) in self.0.char_indices().filter(|(_, c)| is_hostile(*c)) {
            f.write_str(&self.0[clean_from..at])?;
            fmt::Display::fmt(&c.escape_default(), f)?;
            clean_from = at + c.len_utf8();
        }
        f.write_str(&self.0[clean_from..])
    }
}

/// [`Escaped`] as a string.
pub fn escape(text: &str) -> String {
    Escaped(text).to_string()
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with the user name and password of every URL in it as stars, one for each character: credentials have no
/// place in a URL, and where they are refused they must not be repeated.
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(text);
    let mut from = 0;
    while let Some(at) = masked[from..].find("://") {
        let start = from + at + 3;
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '\\') || c.is_whitespace();
        let end = masked[start..].find(ends).map_or(masked.len(), |end| start + end);
        // Over SSH a name is needed and says nothing; elsewhere it may be a token.
        let is_secret = |userinfo: &&str| userinfo.contains(':') || !masked[..start].ends_with("ssh://");
        if let Some(userinfo) = masked[start..end].rsplit_once('@').map(|(userinfo, _)| userinfo).filter(is_secret) {
            let userinfo = userinfo.len();
            let stars = "*".repeat(masked[start..start + userinfo].chars().count());
            masked.to_mut().replace_range(start..start + userinfo, &stars);
        }
        from = start;
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_script_stays() {
        for text in ["", "plain", "größer 大きい", "tab-free 'quotes' \"stay\" \\"] {
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn terminal_sequences_line_ends_and_bidirectional_marks_become_visible() {
        assert_eq!(escape("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(escape("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(escape("gr\u{202e}txt\u{9b}31m"), "gr\\u{202e}txt\\u{9b}31m");
    }

    #[test]
    fn credentials_in_urls_become_stars_of_the_same_length() {
        let cases = [
            ("url = \"https://user:pä@example.com/a@b\"", "url = \"https://*******@example.com/a@b\""),
            ("ssh://git@host, ssh://a:b@h and http://a@b@c/", "ssh://git@host, ssh://***@h and http://***@c/"),
            ("https://example.com/?a@b", "https://example.com/?a@b"),
            ("a@b", "a@b"),
            ("://@", "://@"),
            ("x://y", "x://y"),
        ];
        for (text, wanted) in cases {
            assert_eq!(without_userinfo(text), wanted);
        }
    }
}
