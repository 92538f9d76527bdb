//! Owns the publisher's manifest, `Component.toml`: its format and its rules.
//!
//! Reads bytes whose signature was already checked; who may sign is `trust`'s decision.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use toml::de::DeValue;

use crate::codec::{Codec, Codecs};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::document::{self, Report, Table, Value};
use crate::escape::escape;
use crate::limits::LimitOverrides;
use crate::name::PackageName;
use crate::permission::Permissions;
use crate::timestamp::unix_seconds;

/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024;
/// Largest wasm, in bytes.
pub const MAX_WASM_BYTES: u64 = 64 << 20;
/// Longest name of a wasm file, in bytes.
pub const MAX_WASM_FILE_BYTES: usize = 128;
/// Longest version, in bytes.
pub const MAX_VERSION_BYTES: usize = 128;
/// Longest text that a person reads, such as a description, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Most items of a list of texts, such as the authors.
pub const MAX_TEXTS: usize = 32;
/// The world that this host runs.
pub const WORLD: &str = "airssys:component/actor@0.1.0";
/// The form of manifest that this version reads.
pub const SCHEMA: u64 = 1;

/// A validated manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The publisher's name.
    pub package: PackageName,
    /// The release's version; without build metadata.
    pub version: semver::Version,
    /// Rises with every release of the package.
    pub sequence: u64,
    /// One line about the component.
    pub description: Option<String>,
    /// What else the publisher says about the package.
    pub about: About,
    /// Where the wasm is and which bytes it must have.
    pub wasm: WasmReference,
    /// What the component asks for.
    pub permissions: Permissions,
    /// Limits that the publisher suggests.
    pub limits: LimitOverrides,
    /// The oldest runtime that the component works with; never newer than this one.
    pub min_runtime: Option<semver::Version>,
    /// Earliest and latest time, in seconds since 1970, at which the release is accepted.
    pub not_before: Option<i64>,
    /// See `not_before`.
    pub expires: Option<i64>,
    /// The codecs that the handler takes, what it likes best first; none declared means all.
    pub codecs: Codecs,
    /// Keeps nothing in memory between messages.
    pub stateless: bool,
    /// How the author built the wasm. The host never runs it.
    pub build: Option<Build>,
    /// The publisher's own data; dates, and numbers that JSON can't hold, are text.
    pub metadata: serde_json::Map<String, Json>,
}

/// What the publisher says about a package, for people. Nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// SPDX expression.
    pub license: Option<String>,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Where its source is.
    pub repository: Option<String>,
    /// Where it is described.
    pub homepage: Option<String>,
    /// Words to find it by.
    pub keywords: Vec<String>,
}

/// The wasm that a manifest speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmReference {
    /// One path segment, a sibling of the manifest.
    pub file: String,
    /// Digest of the wasm.
    pub digest: Digest,
    /// Size of the wasm in bytes, at most [`MAX_WASM_BYTES`].
    pub size: u64,
    /// The world that the component implements.
    pub world: String,
}

/// How an author builds the wasm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The language it is written in.
    pub language: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where the command leaves the wasm, relative to the manifest.
    pub artifact: Option<String>,
}

impl Manifest {
    /// Reads a manifest; `file` is its name as shown to people.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let text = text_within(file, bytes, MAX_MANIFEST_BYTES).map_err(|problem| vec![problem])?;
        let mut report = Report::new(file, text);
        let document = document::parse(text, &mut report);
        let manifest = read(Table::document(&document), &mut report);
        match manifest {
            Some(manifest) if report.is_clean() => Ok(manifest),
            _ => Err(report.into_problems()),
        }
    }
}

/// The text of a file that is not larger than `max_bytes`, checked before anything is read from it.
pub(crate) fn text_within<'b>(file: &str, bytes: &'b [u8], max_bytes: u64) -> Result<&'b str, Diagnostic> {
    if bytes.len() as u64 > max_bytes {
        let message = format!("the file is {} bytes long; at most {max_bytes} are read", bytes.len());
        return Err(Diagnostic::whole_file(file, message));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the file is not UTF-8: byte {} belongs to no character", error.valid_up_to() + 1);
        Diagnostic::whole_file(file, message)
    })
}

/// Takes `schema`. False when it is another one than [`SCHEMA`]: every further problem would be meaningless.
pub(crate) fn read_schema<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> bool {
    let Some(value) = table.require("schema", report) else { return true };
    match value.integer(report) {
        Some(schema) if schema != SCHEMA => {
            let message = format!("schema {schema} is not known to this version; it reads schema {SCHEMA}");
            report.error_with_hint(value.span, message, "a newer airssys-wasm may read this file");
            false
        }
        _ => true,
    }
}

fn read<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<Manifest> {
    if !read_schema(&mut table, report) {
        return None;
    }
    let codecs = table.take("codecs").and_then(|value| read_codecs(&value, report));
    let package = table.require("package", report).and_then(|value| value.table(report));
    let package = package.and_then(|package| read_package(package, report));
    let wasm = table.require("wasm", report).and_then(|value| value.table(report));
    let wasm = wasm.and_then(|wasm| read_wasm(wasm, report));
    let permissions = table.table("permissions", report).map(|asked| Permissions::read(asked, report));
    let limits = table.table("limits", report).map(|limits| LimitOverrides::read(limits, report));
    let build = table.table("build", report).map(|build| read_build(build, report));
    let metadata = table.table("metadata", report).map(read_metadata);
    let min_runtime = read_min_runtime(&mut table, report);
    let (not_before, expires) = read_window(&mut table, report);
    let stateless = table.take("stateless").and_then(|value| value.boolean(report));
    table.finish(report);
    let package = package?;
    Some(Manifest {
        package: package.name,
        version: package.version,
        sequence: package.sequence,
        description: package.description,
        about: package.about,
        wasm: wasm?,
        permissions: permissions.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        min_runtime,
        not_before,
        expires,
        codecs: codecs.unwrap_or_default(),
        stateless: stateless.unwrap_or(false),
        build,
        metadata: metadata.unwrap_or_default(),
    })
}

struct Package {
    name: PackageName,
    version: semver::Version,
    sequence: u64,
    description: Option<String>,
    about: About,
}

fn read_package<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<Package> {
    let name = table.require_parsed("name", report);
    let version = table.require("version", report).and_then(|value| read_version(&value, report));
    let sequence = table.require("sequence", report).and_then(|value| value.integer(report));
    let description = text(table.take("description"), report);
    let about = About {
        license: text(table.take("license"), report),
        authors: texts(table.take("authors"), report),
        repository: text(table.take("repository"), report),
        homepage: text(table.take("homepage"), report),
        keywords: texts(table.take("keywords"), report),
    };
    table.finish(report);
    Some(Package { name: name?, version: version?, sequence: sequence?, description, about })
}

fn read_version<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<semver::Version> {
    if value.string(report)?.len() > MAX_VERSION_BYTES {
        let message = format!("`{}` is longer than {MAX_VERSION_BYTES} characters", value.path);
        report.error(value.span.clone(), message);
        return None;
    }
    let version: semver::Version = value.parsed(report)?;
    if !version.build.is_empty() {
        let message = format!("`{}` has build metadata, which has no place in the order of versions", value.path);
        report.error_with_hint(value.span.clone(), message, "remove the `+` and what follows");
    }
    Some(version)
}

fn text<'t>(value: Option<Value<'_, 't>>, report: &mut Report<'t>) -> Option<String> {
    let value = value?;
    let text = value.string(report)?;
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("`{}` is longer than {MAX_TEXT_BYTES} bytes", escape(&value.path));
        report.error(value.span.clone(), message);
        return None;
    }
    Some(text.to_owned())
}

fn texts<'t>(value: Option<Value<'_, 't>>, report: &mut Report<'t>) -> Vec<String> {
    let Some(value) = value else { return Vec::new() };
    let items = value.array(report).unwrap_or_default();
    if items.len() > MAX_TEXTS {
        report.error(value.key_span, format!("`{}` has more than {MAX_TEXTS} items", escape(&value.path)));
        return Vec::new();
    }
    items.into_iter().filter_map(|item| text(Some(item), report)).collect()
}

fn read_wasm<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Option<WasmReference> {
    const SIGN: &str = "`airssys-wasm sign` writes it";
    let file = table.require_parsed::<WasmFile>("file", report);
    let digest = table.take("sha256");
    let size = table.take("size");
    for (key, is_there) in [("sha256", digest.is_some()), ("size", size.is_some())] {
        if !is_there {
            report.error_with_hint(table.span(), format!("`{key}` is missing from [wasm]"), SIGN);
        }
    }
    let digest = digest.and_then(|value| {
        let text = value.string(report)?;
        let digest = Digest::from_hex(text).ok();
        if digest.is_none() {
            let message = "`wasm.sha256` must be 64 hexadecimal digits in lower case";
            report.error_with_hint(value.span.clone(), message, SIGN);
        }
        digest
    });
    let size = size.and_then(|value| {
        let size = value.integer(report)?;
        if (1..=MAX_WASM_BYTES).contains(&size) {
            return Some(size);
        }
        report.error(value.span.clone(), format!("`wasm.size` must be from 1 to {MAX_WASM_BYTES} bytes"));
        None
    });
    let world = table.require("world", report).and_then(|value| {
        let world = value.string(report)?;
        if world != WORLD {
            let message = format!("`wasm.world` is `{}`, which this host does not run", escape(world));
            report.error_with_hint(value.span.clone(), message, format!("it runs `{WORLD}`"));
        }
        Some(world.to_owned())
    });
    table.finish(report);
    Some(WasmReference { file: file?.0, digest: digest?, size: size?, world: world? })
}

/// The name of a wasm file: it will stand in a path behind a directory that the publisher does not choose.
struct WasmFile(String);

#[derive(Debug, thiserror::Error)]
#[error(
    "it is the name of a file beside the manifest: ASCII letters, digits and `._-`, at most {MAX_WASM_FILE_BYTES}, \
     starting with a letter or digit, without `..`, ending in `.wasm`"
)]
struct WasmFileError;

impl std::str::FromStr for WasmFile {
    type Err = WasmFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let starts_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_fine = plain && starts_plain && !text.contains("..") && text.ends_with(".wasm");
        (is_fine && text.len() <= MAX_WASM_FILE_BYTES).then(|| Self(text.to_owned())).ok_or(WasmFileError)
    }
}

fn read_build<'t>(mut table: Table<'_, 't>, report: &mut Report<'t>) -> Build {
    let build = Build {
        language: text(table.take("language"), report),
        command: texts(table.take("command"), report),
        artifact: text(table.take("artifact"), report),
    };
    table.finish(report);
    build
}

fn read_metadata(mut table: Table<'_, '_>) -> serde_json::Map<String, Json> {
    table.take_rest().into_iter().map(|(key, value)| (key, to_json(value.raw()))).collect()
}

/// Every value has a form: what JSON lacks is written as text.
fn to_json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) => value.into(),
            Err(_) => number.as_str().into(),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
            Some(value) => Json::Number(value),
            None => number.as_str().into(),
        },
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(entries) => {
            entries.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref()))).collect()
        }
    }
}

fn read_codecs<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<Codecs> {
    let items = value.items(Codec::COUNT, report)?;
    if items.is_empty() {
        let message = "`codecs` is empty, so no message could ever be sent to the component";
        report.error_with_hint(value.span.clone(), message, "remove the line to take every codec");
    }
    let words = Codec::words();
    let mut codecs = Vec::new();
    for item in &items {
        let Some(codec) = item.word(&words, &[], report) else { continue };
        if codecs.contains(&codec) {
            report.error(item.span.clone(), format!("`{}` is {codec}, which `codecs` has already", item.path));
        } else {
            codecs.push(codec);
        }
    }
    codecs.try_into().ok()
}

fn read_min_runtime<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> Option<semver::Version> {
    let value = table.take("min-runtime")?;
    let wanted: semver::Version = value.parsed(report)?;
    let own: semver::Version = env!("CARGO_PKG_VERSION").parse().expect("Cargo checked the package's version");
    if wanted > own {
        let message = format!("the component needs airssys-wasm {wanted} or newer, and this is {own}");
        report.error_with_hint(value.span, message, "update airssys-wasm, or take an older release of the component");
    }
    Some(wanted)
}

fn read_window<'t>(table: &mut Table<'_, 't>, report: &mut Report<'t>) -> (Option<i64>, Option<i64>) {
    let not_before = table.take("not-before").and_then(|value| read_time(&value, report));
    let expires_at = table.take("expires");
    let expires = expires_at.as_ref().and_then(|value| read_time(value, report));
    if let (Some(from), Some(to), Some(value)) = (not_before, expires, expires_at)
        && from >= to
    {
        report.error(value.span, "`expires` must be later than `not-before`");
    }
    (not_before, expires)
}

fn read_time<'t>(value: &Value<'_, 't>, report: &mut Report<'t>) -> Option<i64> {
    let time = match value.raw() {
        DeValue::Datetime(time) => Some(*time),
        DeValue::String(text) => text.parse().ok(),
        _ => None,
    };
    let seconds = time.as_ref().and_then(unix_seconds);
    if seconds.is_none() {
        let message = format!("`{}` must be a date with time and offset, as in 2027-01-31T12:00:00Z", value.path);
        report.error(value.span.clone(), message);
    }
    seconds
}

#[cfg(test)]
mod tests;
