//! What a manifest may say, and what it may not.

use super::*;
use expect_test::expect;

/// Every key there is, with a wasm of any digest.
pub(crate) const FULL: &str = r#"
schema = 1
min-runtime = "0.1.0"
not-before = 2026-01-01T00:00:00+01:00
expires = "2027-01-01T00:00:00Z"
codecs = ["messagepack", "json"]
stateless = true

[package]
name = "acme:notifier"
version = "1.4.2-rc.1"
sequence = 17
description = "Tells people."
license = "MIT"
authors = ["A", "B"]
repository = "https://example.com/notifier"
homepage = "https://example.com"
keywords = ["mail"]

[wasm]
file = "notifier-1.4.wasm"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
size = 41_213
world = "airssys:component/actor@0.1.0"

[permissions]
send = ["alerter"]

[limits]
memory = "32MiB"

[build]
language = "rust"
command = ["cargo", "build"]
artifact = "target/notifier.wasm"

[metadata]
released = 2026-01-01
inner = { list = [1, 2.5, inf] }
"#;

#[test]
fn every_key_is_read() {
    let manifest = Manifest::parse("Component.toml", FULL.as_bytes()).unwrap();
    let json = serde_json::to_string_pretty(&manifest).unwrap();
    expect![[r#"
        {
          "package": "acme:notifier",
          "version": "1.4.2-rc.1",
          "sequence": 17,
          "description": "Tells people.",
          "about": {
            "license": "MIT",
            "authors": [
              "A",
              "B"
            ],
            "repository": "https://example.com/notifier",
            "homepage": "https://example.com",
            "keywords": [
              "mail"
            ]
          },
          "wasm": {
            "file": "notifier-1.4.wasm",
            "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "size": 41213,
            "world": "airssys:component/actor@0.1.0"
          },
          "permissions": {
            "send": [
              "alerter"
            ]
          },
          "limits": {
            "memory": "32MiB"
          },
          "min_runtime": "0.1.0",
          "not_before": 1767222000,
          "expires": 1798761600,
          "codecs": [
            "msgpack",
            "json"
          ],
          "stateless": true,
          "build": {
            "language": "rust",
            "command": [
              "cargo",
              "build"
            ],
            "artifact": "target/notifier.wasm"
          },
          "metadata": {
            "inner": {
              "list": [
                1,
                2.5,
                "inf"
              ]
            },
            "released": "2026-01-01"
          }
        }"#]]
    .assert_eq(&json);
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}

#[test]
fn every_bad_manifest_is_told_all_its_problems_at_once() {
    crate::golden::check_each("manifest", |name, bytes| match Manifest::parse(name, bytes) {
        Ok(_) => panic!("{name} was accepted"),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    });
}

#[test]
fn a_wasm_file_is_one_plain_name_beside_the_manifest() {
    let longest = format!("{}.wasm", "a".repeat(MAX_WASM_FILE_BYTES - 5));
    for good in ["a.wasm", "0.wasm", "Notifier_v1.2-rc.wasm", &longest] {
        assert!(good.parse::<WasmFile>().is_ok(), "{good}");
    }
    let too_long = format!("a{longest}");
    let hostile = [
        "",
        ".wasm",
        "-a.wasm",
        "..wasm",
        "a..wasm",
        "a..b.wasm",
        "../a.wasm",
        "a/b.wasm",
        "/a.wasm",
        "a\\b.wasm",
        "a.wasm/",
        "a.wasm ",
        " a.wasm",
        "a\0.wasm",
        "a.WASM",
        "a.cwasm.so",
        "a.wasm\n",
        "ä.wasm",
        "a b.wasm",
        "~a.wasm",
        "C:a.wasm",
        "a*.wasm",
        "a.wat",
        &too_long,
    ];
    for bad in hostile {
        assert!(bad.parse::<WasmFile>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_release_that_is_never_valid_is_refused() {
    let with = |expires: &str| {
        let text = FULL.replace("2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00Z");
        text.replace("2027-01-01T00:00:00Z", expires)
    };
    assert!(Manifest::parse("Component.toml", with("2026-01-01T00:00:00Z").as_bytes()).is_err());
    assert!(Manifest::parse("Component.toml", with("2026-01-01T00:00:01Z").as_bytes()).is_ok());
}

#[test]
fn a_manifest_over_the_cap_is_not_even_looked_at() {
    let mut text = FULL.to_owned();
    text.push_str(&"#".repeat(MAX_MANIFEST_BYTES as usize + 1 - text.len()));
    let problems = Manifest::parse("Component.toml", text.as_bytes()).unwrap_err();
    assert_eq!(problems[0].message, "the file is 65537 bytes long; at most 65536 are read");
    assert!(Manifest::parse("Component.toml", &text.as_bytes()[..65_536]).is_ok());
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut bytes = FULL.as_bytes().to_vec();
    bytes[5] = 0xff;
    let problems = Manifest::parse("Component.toml", &bytes).unwrap_err();
    assert_eq!(problems[0].message, "the file is not UTF-8: byte 6 belongs to no character");
}
