//! Texts with a form of their own, for schemas: the pattern that the reader's rules come to.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! word {
    ($($(#[doc = $doc:literal])+ $type:ident = $pattern:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy)]
        pub struct $type;

        impl $type {
            /// The pattern.
            pub const PATTERN: &'static str = $pattern;
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": concat!($($doc),+).trim(),
                    "pattern": Self::PATTERN,
                })
            }
        }
    )+};
}

word! {
    /// A name: a-z, 0-9 and inner hyphens, at most 64 characters.
    Name = "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$";
    /// The publisher's name of a package, `namespace:name`.
    Package = "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?:[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$";
    /// A package, or `*` in place of a whole part.
    PackagePattern = "^([a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?|\\*):([a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?|\\*)$";
    /// A length of time with its unit, as `250ms`, `5s`, `2m`, `1h`.
    Time = "^[0-9]+ ?(ms|s|m|h)$";
    /// A size with its unit, as `64MiB`.
    Size = "^[0-9]+ ?(B|KiB|MiB|GiB)$";
    /// A public key.
    Key = "^ed25519:[0-9a-f]{64}$";
    /// A SHA-256 digest with its prefix.
    PrefixedDigest = "^sha256:[0-9a-f]{64}$";
    /// A SHA-256 digest in lower-case hex, with or without its prefix.
    Digest = "^(sha256:)?[0-9a-f]{64}$";
    /// A SHA-256 digest in lower-case hex.
    HexDigest = "^[0-9a-f]{64}$";
    /// A commit of Git, in full.
    CommitId = "^[0-9a-f]{40}$";
    /// The name of a codec.
    Codec = "^(raw|json|msgpack|messagepack|borsh|cbor|protobuf|bincode|yaml)$";
    /// The name of a wasm file beside the manifest.
    WasmFile = "^[A-Za-z0-9][A-Za-z0-9._-]*\\.wasm$";
    /// The only form of file that this version reads.
    WorldName = "^airssys:component/actor@0\\.1\\.0$";
}
