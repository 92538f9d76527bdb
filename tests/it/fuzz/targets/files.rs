//! The files that people write: desired files and manifests.

use airssys_wasm::desired::file::{MAX_DESIRED_FILE_BYTES, parse};
use airssys_wasm::desired::spec::Spec;
use airssys_wasm::desired::write;
use airssys_wasm::digest::Digest;
use airssys_wasm::manifest::{MAX_MANIFEST_BYTES, MAX_WASM_BYTES, Manifest};
use airssys_wasm::trust::{SigningKey, sign_manifest};

use super::super::seen::{Seen, shown};
use super::{Target, filled};

pub const DESIRED: Target = Target {
    name: "desired",
    most: MAX_DESIRED_FILE_BYTES,
    words: include_str!("../words/desired"),
    run: desired,
    mend: None,
    largest: largest_desired,
};

/// Longest name of a file, in bytes: a path in a repository.
const MOST_NAME: usize = 4 << 10;

/// A first line `#: NAME` names the file: names come from whoever may write the directory.
fn desired(input: &[u8], seen: &mut Seen) {
    let first = input.split(|byte| *byte == b'\n').next().and_then(|line| line.strip_prefix(b"#: "));
    let file = first.filter(|name| name.len() <= MOST_NAME).map_or("fuzz.toml".into(), String::from_utf8_lossy);
    let parsed = parse(&file, input);
    assert_eq!(parsed.digest, Digest::of(input));
    match &parsed.outcome {
        Err(problems) => seen.problems(problems),
        Ok(wanted) => {
            seen.taken("desired");
            shown(&wanted.origin.file);
            let Spec { name, moved_from, .. } = wanted.spec.as_ref();
            assert!(parsed.name_hint.as_ref().is_none_or(|hint| hint == name), "{:?}", parsed.name_hint);
            assert!(parsed.moved_from_hint.is_none() || parsed.moved_from_hint == *moved_from);
            survives(&wanted.spec, parsed.digest);
        }
    }
}

/// A spec survives its own text and JSON, and a part of the text asks for nothing else.
fn survives(spec: &Spec, digest: Digest) {
    let text = write(spec);
    // Its own spelling may be a longer one.
    if text.len() > MAX_DESIRED_FILE_BYTES {
        return;
    }
    let again = parse("other.toml", text.as_bytes()).outcome;
    let again = again.unwrap_or_else(|problems| panic!("its own text is refused: {}", problems[0]));
    assert_eq!(again.spec.as_ref(), spec, "read from its own text");
    let json = serde_json::to_string(spec).expect("JSON");
    assert_eq!(&serde_json::from_str::<Spec>(&json).expect("its own JSON"), spec, "read from its own JSON");
    let cut = usize::from(digest.as_bytes()[0]) << 8 | usize::from(digest.as_bytes()[1]);
    let torn = parse("other.toml", &text.as_bytes()[..cut % text.len()]);
    assert!(torn.name_hint.is_none_or(|name| name == spec.name), "from a part of its text");
    if let Ok(torn) = torn.outcome {
        assert_eq!((&torn.spec.source, &torn.spec.package), (&spec.source, &spec.package), "from a part of its text");
        let mut granted = torn.spec.grant.permissions.entries();
        assert!(granted.all(|entry| spec.grant.permissions.names(entry)), "from a part of its text");
    }
}

const SMALLEST: &str = "package = \"a:b\"\nsource.file.path = \"../x\"\n";

fn largest_desired() -> Vec<Vec<u8>> {
    let numbered = |start: &str, piece: fn(usize) -> String, end: &str| {
        filled(MAX_DESIRED_FILE_BYTES, &format!("{SMALLEST}{start}"), piece, end)
    };
    vec![
        numbered("", |n| format!("k{n}=1\n"), ""),
        numbered("", |_| "x = [\n".to_owned(), ""),
        numbered("", |_| "\"\n".to_owned(), ""),
        numbered("", |_| "[\n".to_owned(), ""),
        numbered("x ", |_| "= ".to_owned(), ""),
        numbered("x = [", |_| "=".to_owned(), ""),
        numbered("", |_| "=\n".to_owned(), ""),
        numbered("", |_| "] ".to_owned(), ""),
        numbered("", |_| "a.b.c.d = 1\n".to_owned(), ""),
        numbered("x = \"", |_| "\\u0001".to_owned(), "\""),
        numbered("x = '''", |_| "\u{202e}".to_owned(), "'''"),
        numbered("[config]\n", |n| format!("k{n}=[[{n}]]\n"), ""),
        numbered("[config]\nx = [", |n| format!("{n}e9,"), "]"),
        numbered("", |n| format!("[[config.a{}]]\n", n % 7), ""),
        numbered("", |n| format!("[config.t{n}]\n"), ""),
        numbered("[links]\n", |n| format!("a{n}='b'\n"), ""),
        numbered("depends-on = [", |n| format!("'a{n}',"), "]"),
        numbered("[grant]\nsend = [", |n| format!("'a{n}',"), "]"),
        numbered("[grant]\nwithout = [", |n| format!("'send a{n}',"), "]\nsend = ['*']\nreceive = ['*']"),
        numbered("[grant]\ncustom.x = {", |n| format!("a{n} = 1,"), "}"),
        numbered("", |_| "[[trigger]]\nevery='1s'\n".to_owned(), ""),
    ]
}

pub const MANIFEST: Target = Target {
    name: "manifest",
    most: MAX_MANIFEST_BYTES as usize,
    words: include_str!("../words/manifest"),
    run: manifest,
    mend: None,
    largest: largest_manifests,
};

fn manifest(input: &[u8], seen: &mut Seen) {
    match Manifest::parse("Component.toml", input) {
        Err(problems) => seen.problems(&problems),
        Ok(manifest) => {
            seen.taken("manifest");
            assert!(manifest.wasm.size <= MAX_WASM_BYTES && !manifest.wasm.file.contains('/'));
            let json = serde_json::to_string(&manifest).expect("JSON");
            assert_eq!(
                serde_json::from_str::<Manifest>(&json).expect("its own JSON"),
                manifest,
                "read from its own JSON"
            );
        }
    }
    // Signing fills in what is missing; it costs more, so some are signed.
    if Digest::of(input).as_bytes()[0] < 16
        && let Ok(draft) = std::str::from_utf8(input)
    {
        sign(draft, seen);
    }
}

/// What is signed says digest and size of the wasm at hand, whatever the draft was.
fn sign(draft: &str, seen: &mut Seen) {
    let wasm = b"\0asm\x0d\0\x01\0";
    let Ok(signed) = sign_manifest(draft, wasm, None, &SigningKey::from_seed(&[7; 32])) else { return };
    seen.taken("signed");
    let manifest = Manifest::parse("Component.toml", signed.manifest.as_bytes()).expect("it was signed");
    assert_eq!((manifest.wasm.digest, manifest.wasm.size), (Digest::of(wasm), 8));
}

fn largest_manifests() -> Vec<Vec<u8>> {
    let start = "schema = 1\n[package]\nname='a:b'\nversion='1.0.0'\nsequence=1\n[wasm]\nfile='a'\n";
    let numbered = |more: &str, piece: fn(usize) -> String, end: &str| {
        filled(MAX_MANIFEST_BYTES as usize, &format!("{start}{more}"), piece, end)
    };
    vec![
        numbered("[metadata]\n", |n| format!("k{n}=[[1]]\n"), ""),
        numbered("[metadata]\n", |n| format!("a.b.c{n}.d=1979-05-27\n"), ""),
        numbered("[metadata]\na=[", |n| format!("{n}e9,"), "]"),
        numbered("", |n| format!("[a{n}]\n"), ""),
        numbered("", |_| "[[\n".to_owned(), ""),
        numbered("[permissions]\nsend=[", |n| format!("'a{n}',"), "]"),
        numbered("[permissions]\ncustom.a={", |n| format!("k{n}='\u{202e}',"), "}"),
    ]
}
