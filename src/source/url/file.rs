//! Owns what the three files of an artifact are called, in URLs, messages and codes.

use super::super::file::SIGNATURE_FILE;

/// One of the three files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File<'a> {
    /// What the URL names.
    Manifest,
    /// Beside it.
    Signature,
    /// Beside it, under a name that the manifest signs.
    Wasm(&'a str),
}

impl File<'_> {
    /// Its last path segment; none for the file that the URL names itself.
    pub(super) fn segment(&self) -> Option<&str> {
        match self {
            Self::Manifest => None,
            Self::Signature => Some(SIGNATURE_FILE),
            Self::Wasm(file) => Some(file),
        }
    }

    /// In words.
    pub(super) fn in_words(&self) -> &'static str {
        match self {
            Self::Manifest => "the manifest",
            Self::Signature => "the signature",
            Self::Wasm(_) => "the wasm",
        }
    }

    /// The code for a server that has no such file.
    pub(super) fn missing(&self) -> &'static str {
        match self {
            Self::Manifest => "no-manifest",
            Self::Signature => "unsigned",
            Self::Wasm(_) => "no-wasm",
        }
    }

    /// What to do about that.
    pub(super) fn missing_hint(&self) -> &'static str {
        match self {
            Self::Manifest => "`url` in `[source.url]` names the file Component.toml itself",
            Self::Signature => {
                "the publisher puts Component.toml.sig beside the manifest; `airssys-wasm sign` makes it"
            }
            Self::Wasm(_) => "if it is being copied, it is taken when the copy is complete",
        }
    }

    /// The code for a file with too many bytes.
    pub(super) fn too_large(&self) -> &'static str {
        match self {
            Self::Manifest => "manifest-too-large",
            Self::Signature => "signature-too-large",
            Self::Wasm(_) => "wrong-size",
        }
    }
}
