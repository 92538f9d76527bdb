//! What valid files mean, and that nothing else is accepted.

use proptest::prelude::*;
use serde_json::json;

use super::strategies;
use crate::desired::file::{MAX_DESIRED_FILE_BYTES, ParsedFile, WantedFile, parse};
use crate::desired::spec::{OnUninstall, RestartPolicy, Source, Spec, Supervision};
use crate::desired::write;
use crate::permission::Mode;
use crate::quantity::{ByteSize, Millis};
use crate::test_scale::cases;

const FULL: &str = r#"#:schema https://example.com/desired.json
name = "notifier-eu"
package = "acme:notifier"
enabled = false
depends-on = ["aggregator", "clock"]
moved-from = "notifier"

[require]
version = "^1.4"
signer = "ed25519:4242424242424242424242424242424242424242424242424242424242424242"

[source.file]
path = "../components/notifier"

[grant]
without = ["net.connect"]
send = [
    "alerter",
    "pager",
]

[links]
alerter = "alerter-prod"

[config]
greeting = "Grüße\n"
retry.max = 5
retry.factor = 1.5
hosts = ["a", { name = "b", weight = -1 }]
verbose = true

[limits]
memory = "32 MiB"
mailbox = 0x100
mailbox-bytes = "1MiB"
call = "250ms"

[supervision]
restart = "never"
max-restarts = 3
window = "2m"
backoff = "50ms"
backoff-max = "1m"

[deploy]
strategy = "blue-green"
on-uninstall = "purge"

[[trigger]]
every = "1s"

[[trigger]]
every = "24h"
"#;

const SMALLEST: &str = "package = \"acme:notifier\"\n[source.file]\npath = \"x\"\n";

pub fn wanted(file: &str, text: &str) -> std::sync::Arc<WantedFile> {
    match parse(file, text.as_bytes()).outcome {
        Ok(wanted) => wanted,
        Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<String>()),
    }
}

fn spec(text: &str) -> Spec {
    Spec::clone(&wanted("notifier.toml", text).spec)
}

fn problems(text: &str) -> Vec<String> {
    parse("notifier.toml", text.as_bytes()).outcome.expect_err(text).iter().map(|problem| problem.one_line()).collect()
}

#[test]
fn a_file_with_every_key_says_exactly_this() {
    let spec = spec(FULL);
    assert_eq!(spec.name.as_str(), "notifier-eu");
    assert_eq!(spec.package.as_str(), "acme:notifier");
    assert!(!spec.enabled);
    assert_eq!(spec.depends_on.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["aggregator", "clock"]);
    assert_eq!(spec.moved_from.unwrap().as_str(), "notifier");
    assert_eq!(spec.require.version.unwrap().to_string(), "^1.4");
    assert_eq!(spec.require.signer.unwrap().as_bytes(), &[0x42; 32]);
    assert_eq!(spec.source, Source::File { path: "../components/notifier".into() });
    let grants: Vec<String> = spec.grant.permissions.entries().map(ToString::to_string).collect();
    assert_eq!(grants, ["send \"alerter\"", "send \"pager\""]);
    assert_eq!(spec.grant.without.iter().map(ToString::to_string).collect::<Vec<_>>(), ["net.connect"]);
    assert_eq!(serde_json::to_value(&spec.links).unwrap(), json!({"alerter": "alerter-prod"}));
    let config = json!({
        "greeting": "Grüße\n",
        "retry": {"max": 5, "factor": 1.5},
        "hosts": ["a", {"name": "b", "weight": -1}],
        "verbose": true,
    });
    assert_eq!(serde_json::Value::Object(spec.config), config);
    assert_eq!(spec.limits.memory, Some(ByteSize(32 << 20)));
    assert_eq!(spec.limits.mailbox, Some(256));
    assert_eq!(spec.limits.mailbox_bytes, Some(ByteSize(1 << 20)));
    assert_eq!(spec.limits.call, Some(Millis(250)));
    assert_eq!(spec.on_uninstall, OnUninstall::Purge);
    let supervision = Supervision {
        restart: RestartPolicy::Never,
        max_restarts: 3,
        window: Millis(120_000),
        backoff: Millis(50),
        backoff_max: Millis(60_000),
    };
    assert_eq!(spec.supervision, supervision);
    assert_eq!(spec.triggers.iter().map(|trigger| trigger.every.0).collect::<Vec<_>>(), [1_000, 86_400_000]);
}

#[test]
fn a_file_with_package_and_source_alone_gets_the_defaults_and_its_stem_as_name() {
    let spec = spec(SMALLEST);
    assert_eq!(spec.name.as_str(), "notifier");
    assert!(spec.enabled);
    assert_eq!(spec.supervision, Supervision::default());
    assert_eq!(spec.limits, Default::default());
    assert_eq!(spec.grant, Default::default());
    assert!(spec.triggers.is_empty() && spec.links.is_empty() && spec.config.is_empty() && spec.depends_on.is_empty());
}

#[test]
fn the_same_wish_in_another_spelling_is_the_same_spec() {
    let reordered = "[source]\nfile = {path = 'x'} # here\r\n[limits]\r\n";
    let dotted = "enabled = true\npackage = 'acme:notifier'\nsource.file.path = 'x'\nsupervision = {}\n";
    assert_eq!(spec(dotted), spec(SMALLEST));
    assert_eq!(spec(&format!("\"package\" = \"acme:notifier\"\n{reordered}")), spec(SMALLEST));
}

#[test]
fn every_key_that_a_plan_cites_knows_its_line() {
    let origin = &wanted("notifier.toml", FULL).origin;
    for (key, line) in [
        ("name", 2),
        ("moved-from", 6),
        ("depends-on \"clock\"", 5),
        ("require.version", 9),
        ("source.file.path", 13),
        ("grant", 15),
        ("grant.without \"net.connect\"", 16),
        ("grant.send", 17),
        ("grant.send \"alerter\"", 18),
        ("grant.send \"pager\"", 19),
        ("links.alerter", 23),
        ("config.retry", 27),
        ("limits.call", 36),
        ("supervision", 38),
        ("trigger[1].every", 53),
    ] {
        assert_eq!(origin.lines.get(key), Some(&line), "{key}");
        assert_eq!(origin.locate(key), format!("notifier.toml:{line}"));
    }
    for entry in wanted("notifier.toml", FULL).spec.grant.permissions.entries() {
        assert!(origin.lines.contains_key(&format!("grant.{entry}")), "{entry}");
    }
}

#[test]
fn a_file_of_many_lines_keeps_a_bounded_number_of_them() {
    let hosts: String = (0..5_000).map(|n| format!("key-{n} = {n}\n")).collect();
    let origin = &wanted("notifier.toml", &format!("{SMALLEST}[config]\n{hosts}")).origin;
    assert!(origin.lines.len() <= crate::desired::origin::MAX_CONFIG_LINES + 10);
    assert_eq!(origin.lines.get("source.file.path"), Some(&3));
}

#[test]
fn a_float_in_the_config_comes_back_from_json_as_it_was() {
    let spec = spec(&format!("{SMALLEST}[config]\na = 1e23\nb = 123456.7890123456e-30\nc = 5e-324\nd = 0.1\n"));
    let json = serde_json::to_vec(&spec).unwrap();
    let back: Spec = serde_json::from_slice(&json).unwrap();
    assert_eq!(back, spec);
    assert_eq!(serde_json::to_vec(&back).unwrap(), json);
}

#[test]
fn a_file_above_the_size_limit_is_refused_unread() {
    let padding = "#".repeat(MAX_DESIRED_FILE_BYTES - SMALLEST.len());
    assert_eq!(spec(&format!("{SMALLEST}{padding}")).name.as_str(), "notifier");
    assert_eq!(problems(&format!("{SMALLEST}{padding}#")), ["notifier.toml: the file is larger than 256 KiB"]);
}

#[test]
fn lists_are_bounded() {
    let list = |count: usize| (0..count).map(|n| format!("\"n{n}\"")).collect::<Vec<_>>().join(",");
    spec(&format!("depends-on = [{}]\n{SMALLEST}", list(256)));
    assert_eq!(
        problems(&format!("depends-on = [{}]\n{SMALLEST}", list(257))),
        ["notifier.toml:1:1: `depends-on` has 257 items; at most 256 are allowed"]
    );
    let links = |count: usize| (0..count).map(|n| format!("n{n} = \"x\"\n")).collect::<String>();
    spec(&format!("{SMALLEST}[links]\n{}", links(256)));
    assert_eq!(
        problems(&format!("{SMALLEST}[links]\n{}", links(257))),
        ["notifier.toml:4:2: `links` has 257 entries; at most 256 are allowed"]
    );
}

#[test]
fn a_long_key_above_a_long_list_does_not_multiply() {
    // A path for each of 60,000 items, each 130 KB long, would be 8 GB.
    let text = format!("{SMALLEST}[config]\n{} = [{}]\n", "k".repeat(130_000), "1,".repeat(60_000));
    assert_eq!(spec(&text).config.len(), 1);
    let bad = format!("{SMALLEST}[config]\n{} = [{}]\n", "k".repeat(100_000), "nan,".repeat(30_000));
    assert_eq!(problems(&bad).len(), 51);
}

#[test]
fn a_line_with_an_error_in_every_byte_is_answered_once() {
    // Work for each error over the whole line would be 10,000,000,000 steps.
    for text in
        [format!("a = \"{}\"", "\\q".repeat(100_000)), format!("a = [{}]", ",".repeat(100_000)), "=".repeat(100_000)]
    {
        assert_eq!(problems(&text).len(), 1);
    }
    assert_eq!(problems(&"a b\n".repeat(50_000)).len(), 51);
}

#[test]
fn the_name_of_a_bad_file_is_only_told_when_it_is_certain() {
    let hint = |text: &str| parse("stem.toml", text.as_bytes()).name_hint.map(|name| name.to_string());
    let source = "[source.file]\npath = \"x\"\n";
    for (text, expected) in [
        // The name is there, and something else is wrong.
        (format!("name = \"real\"\npackage = 1\n{source}"), Some("real")),
        (format!("name = \"real\"\npackage = oops\n{source}"), Some("real")),
        (format!("package = 1\n{source}"), Some("stem")),
        // The name itself is bad, cut off, misspelt, or behind something that was not understood.
        (format!("name = \"Real\"\npackage = 1\n{source}"), None),
        ("name = \"re".to_owned(), None),
        ("package = \"a:b\"\n".to_owned(), None),
        (String::new(), None),
        (format!("nmae = \"real\"\npackage = \"a:b\"\n{source}"), None),
        (format!("package = oops\nname = \"real\"\n{source}"), None),
        (format!("package = \"a:b\"\ntext = \"\"\"\nname = \"real\"\n{source}"), None),
        (format!("[config\nname = \"other\"\n{source}"), None),
    ] {
        assert_eq!(hint(&text).as_deref(), expected, "{text}");
        assert!(parse("stem.toml", text.as_bytes()).outcome.is_err());
    }
}

#[test]
fn a_text_that_is_broken_is_not_said_to_lack_what_may_be_in_the_broken_part() {
    let found = problems("package = \"acme:notifier\"\n[source.file]\npath = \"../x\nreplicas = 1\n");
    assert_eq!(
        found,
        ["notifier.toml:3:13: the string is not closed", "notifier.toml:4:1: unknown key `source.file.replicas`"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1_000)))]

    #[test]
    fn what_is_written_reads_back_as_the_same_spec(spec in strategies::spec()) {
        let text = write(&spec);
        let ParsedFile { digest: _, outcome, name_hint, moved_from_hint } = parse("other.toml", text.as_bytes());
        let read = outcome.map_err(|problems| TestCaseError::fail(format!("{problems:#?}\n{text}")))?;
        prop_assert_eq!(read.spec.as_ref(), &spec, "{}", text);
        prop_assert_eq!(name_hint.as_ref(), Some(&spec.name));
        prop_assert_eq!(&moved_from_hint, &spec.moved_from);
    }

    #[test]
    fn a_spec_survives_the_json_of_a_record(spec in strategies::spec()) {
        let json = serde_json::to_vec(&spec).unwrap();
        let back: Spec = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(&back, &spec);
        prop_assert_eq!(serde_json::to_vec(&back).unwrap(), json);
    }
}

/// Pieces that TOML gives a meaning to, so that random files get beyond the first error.
fn toml_soup() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "name = \"a\"\n",
        "package = \"a:b\"\n",
        "[source.file]\n",
        "path = \"x\"\n",
        "[grant]\n",
        "send = [\"a\"]\n",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\"\"\"",
        "'''",
        "'",
        "\n",
        "\r\n",
        "\r",
        "=",
        ".",
        ",",
        "#",
        "\\",
        "\\u",
        "[config]\n",
        "a.b = 1\n",
        "x = {y = [1, 2]}\n",
        "[[trigger]]\n",
        "every = \"1s\"\n",
        "[limits]\n",
        "memory = 1\n",
        "é",
        "大",
        "\u{202e}",
        "\u{0}",
        "1e999",
        "nan",
        "2024-01-01",
        "0x",
        "-",
        "<<<<<<< a\n",
        ": ",
        "//",
    ];
    proptest::collection::vec(proptest::sample::select(PIECES).prop_map(str::to_owned), 0..40)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(10_000)))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse("a.toml", &bytes);
    }

    #[test]
    fn arbitrary_toml_never_panics_and_is_either_good_or_explained(text in toml_soup()) {
        if let Err(problems) = parse("a.toml", text.as_bytes()).outcome {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                let shown = problem.to_string();
                prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
            }
        }
    }

    #[test]
    fn a_valid_file_with_a_few_bytes_changed_never_panics(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..3, any::<u8>()), 1..4),
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let ParsedFile { outcome, name_hint, .. } = parse("a.toml", &bytes);
        match outcome {
            Ok(wanted) => {
                prop_assert_eq!(name_hint.as_ref(), Some(&wanted.spec.name));
                let again = parse("b.toml", write(&wanted.spec).as_bytes());
                prop_assert_eq!(&again.outcome.unwrap().spec, &wanted.spec);
            }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}

#[test]
fn who_observes_says_so_at_the_top_of_the_file() {
    let with = |line: &str| {
        format!("package = \"acme:a\"\n{line}\n\n[source.file]\npath = \"x\"\n\n[grant]\nsend = [\"b\"]\n")
    };
    for (line, mode) in [
        ("", Mode::Enforce),
        ("permissions = \"enforce\"", Mode::Enforce),
        ("permissions = \"observe\"", Mode::Observe),
    ] {
        let wanted = spec(&with(line));
        assert_eq!(wanted.grant.mode, mode, "{line}");
        assert_eq!(wanted.grant.permissions.entries().count(), 1);
        let written = write::write(&wanted);
        assert_eq!(spec(&written), wanted, "{written}");
    }
}
