//! Owns the three kinds of names and their one grammar, and the names of operations, which have none.
//!
//! A part is 1 to 64 of `a-z`, `0-9` and `-`, and neither starts nor ends with a hyphen. Case,
//! Unicode look-alikes, dots and slashes are out by grammar, so a name can stand in a path, a log
//! line or a terminal as it is.

use std::fmt;
use std::str::FromStr;

use crate::text_serde::serde_as_text;

/// Longest part of a name, in bytes.
pub const MAX_NAME_PART_BYTES: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// There is nothing between the separators.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_NAME_PART_BYTES`].
    #[error("it is longer than {MAX_NAME_PART_BYTES} characters")]
    TooLong,
    /// A character outside the grammar.
    #[error("only a-z, 0-9 and hyphens are allowed, not {0:?}{code}", code = code_point(*.0))]
    Character(char),
    /// A hyphen at an end.
    #[error("it starts or ends with a hyphen")]
    OuterHyphen,
    /// A package without exactly one colon.
    #[error("a package is written `namespace:name`")]
    NotTwoParts,
}

/// Tells look-alikes of other scripts from the letters that they look like.
fn code_point(c: char) -> String {
    // One that can't be seen is shown by its number already.
    let is_seen = c.escape_debug().eq([c]);
    if is_seen && !c.is_ascii() { format!(" (U+{:04X})", u32::from(c)) } else { String::new() }
}

fn check_part(part: &str) -> Result<(), ParseNameError> {
    if part.is_empty() {
        return Err(ParseNameError::Empty);
    }
    if let Some(c) = part.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(ParseNameError::Character(c));
    }
    if part.len() > MAX_NAME_PART_BYTES {
        return Err(ParseNameError::TooLong);
    }
    if part.starts_with('-') || part.ends_with('-') {
        return Err(ParseNameError::OuterHyphen);
    }
    Ok(())
}

fn check_one_part(text: &str) -> Result<(), ParseNameError> {
    check_part(text)
}

fn check_two_parts(text: &str) -> Result<(), ParseNameError> {
    let (namespace, name) = text.split_once(':').ok_or(ParseNameError::NotTwoParts)?;
    if name.contains(':') {
        return Err(ParseNameError::NotTwoParts);
    }
    check_part(namespace)?;
    check_part(name)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        serde_as_text!($type);
    };
}

name! {
    /// The operator's name for one installation: what messages, logs, status and commands use.
    InstallationName, check_one_part
}

name! {
    /// The word by which a guest and its manifest speak of another component.
    LinkName, check_one_part
}

name! {
    /// The publisher's name, `namespace:name`: signed in the manifest, scoped by trust rules.
    PackageName, check_two_parts
}

impl PackageName {
    /// The part before the colon.
    pub fn namespace(&self) -> &str {
        self.0.split_once(':').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the colon.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, name)| name)
    }
}

/// Longest name of an operation, in bytes.
pub const MAX_OPERATION_NAME_BYTES: usize = 128;

/// The name of an operation of a component, which chooses it freely. Shown escaped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationName(std::sync::Arc<str>);

/// Why a text is no name of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseOperationNameError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_OPERATION_NAME_BYTES`].
    #[error("it is longer than {MAX_OPERATION_NAME_BYTES} bytes")]
    TooLong,
    /// It has a control character.
    #[error("it has a control character")]
    Control,
}

impl OperationName {
    /// The name as the component gets it.
    pub fn text(&self) -> std::sync::Arc<str> {
        std::sync::Arc::clone(&self.0)
    }
}

impl FromStr for OperationName {
    type Err = ParseOperationNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err(ParseOperationNameError::Empty),
            _ if text.len() > MAX_OPERATION_NAME_BYTES => Err(ParseOperationNameError::TooLong),
            _ if text.chars().any(char::is_control) => Err(ParseOperationNameError::Control),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crate::escape::escape(&self.0))
    }
}

impl From<&LinkName> for InstallationName {
    /// An unbound link means the installation of the same word; both have one grammar.
    fn from(link: &LinkName) -> Self {
        Self(link.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_has_a_short_name_on_one_line() {
        for name in ["reset", "GET /x?y=1", "données", &"x".repeat(MAX_OPERATION_NAME_BYTES)] {
            assert_eq!(&*name.parse::<OperationName>().unwrap().text(), name);
        }
        assert_eq!("".parse::<OperationName>(), Err(ParseOperationNameError::Empty));
        assert_eq!("é".repeat(65).parse::<OperationName>(), Err(ParseOperationNameError::TooLong));
        for name in ["a\nb", "\u{1b}[0m", "a\0", "\u{9b}"] {
            assert_eq!(name.parse::<OperationName>(), Err(ParseOperationNameError::Control), "{name:?}");
        }
        assert_eq!("a\u{202e}b".parse::<OperationName>().unwrap().to_string(), r"a\u{202e}b");
    }

    #[test]
    fn names_of_the_grammar_are_accepted() {
        let longest = "a".repeat(MAX_NAME_PART_BYTES);
        for good in ["a", "0", "a-b", "a--b", "eu-1", &longest] {
            assert!(good.parse::<InstallationName>().is_ok(), "{good}");
            assert!(format!("{good}:{good}").parse::<PackageName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(MAX_NAME_PART_BYTES + 1);
        let hostile = [
            "",
            "-",
            "-a",
            "a-",
            "A",
            "ä",
            "а",
            "a b",
            "a\n",
            "\u{1b}[2J",
            "a/b",
            "../a",
            ".",
            "..",
            ".a",
            "a.b",
            "a:b",
            "a\0",
            "a\u{202e}b",
            "CON ",
            "a_b",
            "%2e",
            "~",
            "$HOME",
            &long,
        ];
        for bad in hostile {
            assert!(bad.parse::<InstallationName>().is_err(), "{bad:?}");
            assert!(format!("{bad}:ok").parse::<PackageName>().is_err(), "{bad:?}");
            assert!(format!("ok:{bad}").parse::<PackageName>().is_err(), "{bad:?}");
        }
        for bad in ["a", "a:b:c", ":", "a:", ":a"] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad:?}");
        }
    }
}
