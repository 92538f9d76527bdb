//! The schemas against the readers: the same keys, and no example that one takes and the other refuses.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{KINDS, Kind};
use crate::diagnostic::Diagnostic;

/// No format has such a key, and none has one that is near to it.
const UNKNOWN: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzz";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn schema(name: &str) -> Value {
    serde_json::from_str(&Kind::of_name(name).expect("a kind").text()).expect("JSON")
}

/// Why `value` does not fit; `strict` refuses properties that the schema does not name.
fn misfit(root: &Value, schema: &Value, value: &Value, at: &str, strict: bool) -> Option<String> {
    let Value::Object(rules) = schema else {
        return (schema == &Value::Bool(false)).then(|| format!("{at}: nothing fits here"));
    };
    let fits = |schema: &Value| misfit(root, schema, value, at, strict).is_none();
    for (keyword, rule) in rules {
        let items = || rule.as_array().expect("a list");
        let problem = match keyword.as_str() {
            "$ref" => {
                let path = rule.as_str().expect("text").strip_prefix('#').expect("of this document");
                misfit(root, root.pointer(path).expect("defined"), value, at, strict)
            }
            "anyOf" => (!items().iter().any(fits)).then(|| format!("{at}: fits none of anyOf")),
            "oneOf" => {
                let count = items().iter().filter(|schema| fits(schema)).count();
                (count != 1).then(|| format!("{at}: fits {count} of oneOf"))
            }
            "allOf" => items().iter().find_map(|schema| misfit(root, schema, value, at, strict)),
            "type" => (!has_type(rule, value)).then(|| format!("{at}: is no {rule}")),
            "const" => (rule != value).then(|| format!("{at}: is not {rule}")),
            "enum" => (!items().contains(value)).then(|| format!("{at}: is none of {rule}")),
            "required" => value.as_object().and_then(|object| {
                let missing = items().iter().find(|key| !object.contains_key(key.as_str().expect("text")));
                missing.map(|key| format!("{at}: lacks {key}"))
            }),
            "properties" | "additionalProperties" => object_misfit(root, rules, value, at, strict),
            "items" => value.as_array().and_then(|items| {
                let item = |(index, item)| misfit(root, rule, item, &format!("{at}[{index}]"), strict);
                items.iter().enumerate().find_map(item)
            }),
            "minimum" => value
                .as_f64()
                .filter(|number| *number < rule.as_f64().expect("a number"))
                .map(|_| format!("{at}: too small")),
            "maximum" => value
                .as_f64()
                .filter(|number| *number > rule.as_f64().expect("a number"))
                .map(|_| format!("{at}: too large")),
            "minItems" => value
                .as_array()
                .filter(|items| (items.len() as u64) < rule.as_u64().expect("a number"))
                .map(|_| format!("{at}: too few")),
            "maxItems" => value
                .as_array()
                .filter(|items| items.len() as u64 > rule.as_u64().expect("a number"))
                .map(|_| format!("{at}: too many")),
            "minLength" => value
                .as_str()
                .filter(|text| (text.len() as u64) < rule.as_u64().expect("a number"))
                .map(|_| format!("{at}: too short")),
            "maxLength" => value
                .as_str()
                .filter(|text| text.len() as u64 > rule.as_u64().expect("a number"))
                .map(|_| format!("{at}: too long")),
            "pattern" => value
                .as_str()
                .filter(|text| !matches(rule.as_str().expect("text"), text))
                .map(|_| format!("{at}: is not {rule}")),
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => None,
            other => panic!("{at}: the test does not know the keyword {other}"),
        };
        if problem.is_some() {
            return problem;
        }
    }
    None
}

fn object_misfit(root: &Value, rules: &Map<String, Value>, value: &Value, at: &str, strict: bool) -> Option<String> {
    let object = value.as_object()?;
    let none = Map::new();
    let known = rules.get("properties").and_then(Value::as_object).unwrap_or(&none);
    // Flattened parts of a document have their properties beside these.
    let is_closed =
        |rules: &Map<String, Value>| strict && rules.contains_key("properties") && !rules.contains_key("anyOf");
    object.iter().find_map(|(key, value)| {
        let at = format!("{at}.{key}");
        match (known.get(key), rules.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => misfit(root, schema, value, &at, strict),
            (None, None) => is_closed(rules).then(|| format!("{at}: unknown")),
        }
    })
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    match rule {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().expect("text"))),
        _ => panic!("no type: {rule}"),
    }
}

/// Whether `text` matches one of our patterns: literals, classes, groups with alternatives, `?`, `*`, `+`, `{m,n}`.
fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix('^').and_then(|pattern| pattern.strip_suffix('$')).expect("anchored");
    ends(inner, text, &BTreeSet::from([0])).contains(&text.len())
}

/// Where a match of all of `pattern` can end that starts at one of `starts`.
fn ends(pattern: &str, text: &str, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut at = starts.clone();
    let mut rest = pattern;
    while !rest.is_empty() {
        let (atom, after) = rest.split_at(atom_length(rest));
        let (least, most, after) = repeat(after);
        let mut reached = if least == 0 { at.clone() } else { BTreeSet::new() };
        for count in 1..=most.min(text.len() + 1) {
            at = step(atom, text, &at);
            if at.is_empty() {
                break;
            }
            if count >= least {
                reached.extend(&at);
            }
        }
        at = reached;
        rest = after;
    }
    at
}

fn atom_length(pattern: &str) -> usize {
    let close = |close: char| pattern.find(close).expect("closed") + 1;
    match pattern.as_bytes()[0] {
        b'\\' => 2,
        b'[' => close(']'),
        b'(' => {
            let mut depth = 0;
            let end = pattern.char_indices().find(|(_, c)| {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                depth == 0
            });
            end.expect("closed").0 + 1
        }
        _ => 1,
    }
}

fn repeat(pattern: &str) -> (usize, usize, &str) {
    match pattern.as_bytes().first() {
        Some(b'?') => (0, 1, &pattern[1..]),
        Some(b'*') => (0, usize::MAX, &pattern[1..]),
        Some(b'+') => (1, usize::MAX, &pattern[1..]),
        Some(b'{') => {
            let (counts, rest) = pattern[1..].split_once('}').expect("closed");
            let (least, most) = counts.split_once(',').unwrap_or((counts, counts));
            (least.parse().expect("a number"), most.parse().expect("a number"), rest)
        }
        _ => (1, 1, pattern),
    }
}

fn step(atom: &str, text: &str, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
    if let Some(group) = atom.strip_prefix('(').and_then(|atom| atom.strip_suffix(')')) {
        return alternatives(group).into_iter().flat_map(|one| ends(one, text, starts)).collect();
    }
    let fits = |byte: u8| match atom.as_bytes() {
        [b'[', class @ .., b']'] => in_class(class, byte),
        [b'\\', escaped] => *escaped == byte,
        literal => literal == [byte],
    };
    starts.iter().filter(|at| text.as_bytes().get(**at).is_some_and(|byte| fits(*byte))).map(|at| at + 1).collect()
}

fn alternatives(group: &str) -> Vec<&str> {
    let mut depth = 0;
    group
        .split(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == '|' && depth == 0
        })
        .collect()
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let mut rest = class;
    while let [first, tail @ ..] = rest {
        match tail {
            [b'-', last, after @ ..] => {
                if (*first..=*last).contains(&byte) {
                    return true;
                }
                rest = after;
            }
            _ => {
                if *first == byte {
                    return true;
                }
                rest = tail;
            }
        }
    }
    false
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    for kind in KINDS {
        expect_test::expect_file![root().join(format!("schemas/{}.schema.json", kind.name))].assert_eq(&kind.text());
    }
    let found = fs::read_dir(root().join("schemas")).expect("listed").count();
    assert_eq!(found, KINDS.len(), "a schema of no kind");
}

type Parse = fn(&str) -> Vec<Diagnostic>;

/// The formats that are read by hand, each with its reader and a text that is valid.
fn readers() -> [(&'static str, Parse, &'static str); 4] {
    let desired: Parse =
        |text| crate::desired::file::parse("a.toml", text.as_bytes()).outcome.err().unwrap_or_default();
    let manifest: Parse = |text| crate::manifest::Manifest::parse("a.toml", text.as_bytes()).err().unwrap_or_default();
    let trust: Parse = |text| crate::trust::TrustPolicy::parse("a.toml", text.as_bytes()).err().unwrap_or_default();
    let config: Parse = |text| crate::config::Config::parse("a.toml", text).err().unwrap_or_default();
    [
        ("desired", desired, DESIRED),
        ("manifest", manifest, MANIFEST),
        ("trust", trust, TRUST),
        ("config", config, CONFIG),
    ]
}

const DESIRED: &str = r#"
name = "a"
package = "a:b"
depends-on = ["c"]
[require]
[source.file]
path = "x"
[grant]
send = ["x"]
[grant.fs]
[grant.net]
[links]
[config]
[limits]
[supervision]
[deploy]
[[trigger]]
every = "1s"
"#;
const MANIFEST: &str = r#"
schema = 1
[package]
name = "a:b"
version = "1.0.0"
sequence = 1
[wasm]
file = "a.wasm"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
size = 1
world = "airssys:component/actor@0.1.0"
[permissions]
[permissions.fs]
[permissions.net]
[limits]
[build]
[metadata]
"#;
const TRUST: &str = r#"
schema = 1
[publisher.a]
keys = ["ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]
names = ["a:*"]
[publisher.a.permissions-max]
[publisher.a.permissions-max.fs]
[publisher.a.permissions-max.net]
[[revoked]]
digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"#;
const CONFIG: &str = r#"
desired = "x"
[secrets]
env = ["DB_*"]
[from-git]
interval = "1m"
[sources]
interval = "1m"
[state]
keep-days = 3
[credentials."example.com"]
user = "a"
"#;

fn json(text: &str) -> Value {
    fn of(value: &toml::Value) -> Value {
        match value {
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(items) => items.iter().map(of).collect(),
            toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), of(value))).collect(),
            other => serde_json::to_value(other).expect("JSON"),
        }
    }
    of(&toml::Value::Table(text.parse().expect("TOML")))
}

#[test]
fn what_a_reader_takes_fits_its_schema() {
    for (name, parse, text) in readers() {
        assert!(parse(text).is_empty(), "{name}: {:?}", parse(text));
        let schema = schema(name);
        assert_eq!(misfit(&schema, &schema, &json(text), name, true), None);
    }
}

/// The keys that a table of the reader knows: it lists them when it meets one that it does not know.
fn known(parse: Parse, text: &str, header: &str) -> Option<BTreeSet<String>> {
    let line = format!("{UNKNOWN} = 1\n");
    let text = match header {
        "" => format!("{line}{text}"),
        header => {
            let at = text.find(&format!("{header}\n")).unwrap_or_else(|| panic!("no {header}")) + header.len() + 1;
            format!("{}{line}{}", &text[..at], &text[at..])
        }
    };
    let problems = parse(&text);
    let problem = problems.iter().find(|problem| problem.message.contains(UNKNOWN))?;
    let hint = problem.hint.as_deref().unwrap_or_default();
    let list = hint.strip_prefix("known here: ").unwrap_or_else(|| panic!("{header}: {hint}"));
    Some(list.split(", ").map(str::to_owned).collect())
}

/// The properties of the schema at a path of keys; `*` stands for any key, `[]` for items. None: keys are free.
fn properties(root: &Value, schema: &Value, path: &[&str]) -> Option<BTreeSet<String>> {
    let mut alternatives = Vec::new();
    collect(root, schema, &mut alternatives);
    let Some((first, rest)) = path.split_first() else {
        let all = alternatives.iter().filter_map(|one| one.get("properties")?.as_object());
        let keys: BTreeSet<String> = all.flat_map(|properties| properties.keys().cloned()).collect();
        return (!keys.is_empty()).then_some(keys);
    };
    alternatives.iter().find_map(|one| {
        let next = match *first {
            "*" => one.get("additionalProperties")?,
            "[]" => one.get("items")?,
            key => one.get("properties")?.get(key)?,
        };
        properties(root, next, rest)
    })
}

fn collect<'v>(root: &'v Value, schema: &'v Value, into: &mut Vec<&'v Value>) {
    into.push(schema);
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        collect(root, root.pointer(&path[1..]).expect("defined"), into);
    }
    for list in ["anyOf", "oneOf", "allOf"] {
        schema.get(list).and_then(Value::as_array).into_iter().flatten().for_each(|one| collect(root, one, into));
    }
}

#[test]
fn schema_and_reader_know_the_same_keys_in_every_table() {
    let permissions = ["", ".fs", ".net"];
    let mut tables: Vec<(&str, String, Vec<&str>)> = vec![
        ("desired", String::new(), vec![]),
        ("desired", "[require]".into(), vec!["require"]),
        ("desired", "[source.file]".into(), vec!["source", "file"]),
        ("desired", "[limits]".into(), vec!["limits"]),
        ("desired", "[supervision]".into(), vec!["supervision"]),
        ("desired", "[deploy]".into(), vec!["deploy"]),
        ("desired", "[[trigger]]".into(), vec!["trigger", "[]"]),
        ("manifest", String::new(), vec![]),
        ("manifest", "[package]".into(), vec!["package"]),
        ("manifest", "[wasm]".into(), vec!["wasm"]),
        ("manifest", "[limits]".into(), vec!["limits"]),
        ("manifest", "[build]".into(), vec!["build"]),
        ("trust", String::new(), vec![]),
        ("trust", "[publisher.a]".into(), vec!["publisher", "*"]),
        ("trust", "[[revoked]]".into(), vec!["revoked", "[]"]),
        ("config", String::new(), vec![]),
        ("config", "[secrets]".into(), vec!["secrets"]),
        ("config", "[from-git]".into(), vec!["from-git"]),
        ("config", "[sources]".into(), vec!["sources"]),
        ("config", "[state]".into(), vec!["state"]),
        ("config", "[credentials.\"example.com\"]".into(), vec!["credentials", "*"]),
    ];
    for part in permissions {
        for (format, table) in
            [("desired", "grant"), ("manifest", "permissions"), ("trust", "publisher.a.permissions-max")]
        {
            let path = format!("{table}{part}");
            let keys: Vec<&'static str> = match (table, part) {
                ("grant", "") => vec!["grant"],
                ("grant", ".fs") => vec!["grant", "fs"],
                ("grant", _) => vec!["grant", "net"],
                ("permissions", "") => vec!["permissions"],
                ("permissions", ".fs") => vec!["permissions", "fs"],
                ("permissions", _) => vec!["permissions", "net"],
                (_, "") => vec!["publisher", "*", "permissions-max"],
                (_, ".fs") => vec!["publisher", "*", "permissions-max", "fs"],
                _ => vec!["publisher", "*", "permissions-max", "net"],
            };
            tables.push((format, format!("[{path}]"), keys));
        }
    }
    for (format, header, path) in tables {
        let (_, parse, text) = readers().into_iter().find(|(name, ..)| *name == format).expect("a reader");
        let schema = schema(format);
        let mut reads =
            known(parse, text, &header).unwrap_or_else(|| panic!("{format} {header}: the reader takes any key"));
        // Taken to be refused without showing what stands there.
        if format == "config" && path == ["credentials", "*"] {
            reads.retain(|key| !["password", "passphrase", "token"].contains(&key.as_str()));
        }
        let writes = properties(&schema, &schema, &path).unwrap_or_else(|| panic!("{format} {path:?}: no properties"));
        assert_eq!(reads, writes, "{format} {header}: keys of the reader and of the schema");
    }
    // The other sources stand in the place of [source.file].
    for (kind, lines) in [
        ("git", "url = \"https://example.com/a.git\"\ntag = \"v1\"\npath = \".\""),
        ("url", "url = \"https://example.com/Component.toml\""),
    ] {
        let (_, parse, text) = readers()[0];
        let text = text.replace("[source.file]\npath = \"x\"", &format!("[source.{kind}]\n{lines}"));
        assert!(parse(&text).is_empty(), "{:?}", parse(&text));
        let schema = schema("desired");
        assert_eq!(misfit(&schema, &schema, &json(&text), kind, true), None);
        let reads = known(parse, &text, &format!("[source.{kind}]")).expect("keys");
        assert_eq!(Some(reads), properties(&schema, &schema, &["source", kind]), "[source.{kind}]");
    }
}

/// Texts of a directory with this ending.
fn texts(directory: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry").path());
    let toml = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    toml.filter_map(|path| Some((path.display().to_string(), fs::read_to_string(path).ok()?))).collect()
}

#[test]
fn every_example_fits_its_schema() {
    let examples = root().join("examples");
    let mut seen = 0;
    let mut check = |name: &str, file: &str, text: &str| {
        let schema = schema(name);
        assert_eq!(misfit(&schema, &schema, &json(text), file, true), None);
        seen += 1;
    };
    for (file, text) in texts(&examples.join("desired-state")) {
        check("desired", &file, &text);
        assert!(text.starts_with("#:schema ../../schemas/desired.schema.json\n"), "{file}: no #:schema line");
    }
    for component in fs::read_dir(examples.join("components")).expect("listed") {
        let path = component.expect("an entry").path().join("Component.toml");
        if let Ok(text) = fs::read_to_string(&path) {
            check("manifest", &path.display().to_string(), &text);
            let line = "#:schema ../../../schemas/manifest.schema.json\n";
            assert!(text.starts_with(line), "{}: no #:schema line", path.display());
        }
    }
    let trust = fs::read_to_string(examples.join("trust.toml")).expect("readable");
    check("trust", "examples/trust.toml", &trust);
    assert!(trust.starts_with("#:schema ../schemas/trust.schema.json\n"), "examples/trust.toml: no #:schema line");
    assert!(seen >= 7, "{seen}");
}

#[test]
fn most_of_the_golden_mistakes_are_refused_by_the_schema_too() {
    let mut refused_by_both = BTreeSet::new();
    for (name, directory) in [("desired", "desired/invalid"), ("manifest", "manifest"), ("trust", "trust")] {
        let schema = schema(name);
        let files = texts(&root().join("tests/golden").join(directory));
        assert!(files.len() >= 5, "{directory}");
        for (file, text) in files {
            // What is no TOML has no schema.
            if text.parse::<toml::Table>().is_ok() && misfit(&schema, &schema, &json(&text), &file, true).is_some() {
                refused_by_both.insert(file);
            }
        }
    }
    assert!(refused_by_both.len() >= 40, "{} {refused_by_both:#?}", refused_by_both.len());
}

#[test]
fn words_match_what_their_readers_read() {
    use super::words as w;
    use crate::name::{InstallationName, PackageName};
    use crate::quantity::{ByteSize, Millis};

    type Reads = fn(&str) -> bool;
    let cases: [(&str, Reads, &[&str]); 5] = [
        (
            w::Name::PATTERN,
            |t| t.parse::<InstallationName>().is_ok(),
            &["a", "a-b", "-a", "a-", "A", "a_b", "", "a--b", "9"],
        ),
        (
            w::Package::PATTERN,
            |t| t.parse::<PackageName>().is_ok(),
            &["a:b", "a", "a:b:c", "a:", ":b", "A:b", "a-1:b-2"],
        ),
        (
            w::Time::PATTERN,
            |t| t.parse::<Millis>().is_ok(),
            &["1s", "250ms", "2 m", "1h", "1", "s", "1.5s", "-1s", "1  s", "1d"],
        ),
        (
            w::Size::PATTERN,
            |t| t.parse::<ByteSize>().is_ok(),
            &["64MiB", "64 MiB", "1B", "64", "64MB", "64mib", "1.5KiB"],
        ),
        (
            w::Key::PATTERN,
            |t| t.parse::<crate::key::PublicKey>().is_ok(),
            &[
                "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "ed25519:d75a",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            ],
        ),
    ];
    for (pattern, reads, texts) in cases {
        for text in texts {
            assert_eq!(matches(pattern, text), reads(text), "{text:?} and {pattern}");
        }
    }
    let (at_most, longer) = ("a".repeat(64), "a".repeat(65));
    assert!(matches(w::Name::PATTERN, &at_most) && !matches(w::Name::PATTERN, &longer));
}

#[test]
fn documents_of_plans_have_exactly_the_keys_of_their_schema() {
    let schema = schema("plan");
    let mut seen = 0;
    for entry in fs::read_dir(root().join("tests/golden/plan")).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path).expect("readable");
            let document: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(misfit(&schema, &schema, &document, &path.display().to_string(), true), None);
            seen += 1;
        }
    }
    assert!(seen >= 4);
}

#[test]
fn documents_that_are_carried_about_have_exactly_the_keys_of_their_schema() {
    for (kind, file) in [("saved-plan", "saved-plan"), ("saved-plan", "saved-plan-of-a-commit"), ("export", "export")] {
        let schema = schema(kind);
        let path = root().join(format!("tests/golden/carried/{file}.json"));
        let document = serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
        assert_eq!(misfit(&schema, &schema, &document, file, true), None);
    }
}
