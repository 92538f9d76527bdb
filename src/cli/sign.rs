//! `sign`: digest and size into the manifest, the signature beside it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use super::validate::print_problems;
use crate::digest::Digest;
use crate::escape::escape;
use crate::manifest::{MAX_MANIFEST_BYTES, MAX_WASM_BYTES};
use crate::source::file::{MANIFEST_FILE, SIGNATURE_FILE};
use crate::trust::{MAX_KEY_FILE_BYTES, MAX_SIGNATURE_FILE_BYTES, SignError, SigningKey, sign_manifest};

/// Options of `sign`.
#[derive(Args)]
pub struct SignArgs {
    /// The directory that holds Component.toml and the wasm
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The wasm; default is the one that the manifest names
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// The signing key; default is the setting `keypair`, else `keypair.json` in the home
    #[arg(long, value_name = "FILE")]
    keypair: Option<PathBuf>,
}

/// What was signed.
#[derive(Serialize)]
struct Report {
    #[serde(rename = "$type")]
    document: &'static str,
    manifest: String,
    wasm: Digest,
    wasm_size: usize,
    public_key: String,
    other_signatures_kept: usize,
    other_signatures_dropped: usize,
}

/// Signs the release in a directory.
pub(crate) fn sign(global: &Global, args: SignArgs) -> Result<ExitCode, Failure> {
    let key = read_key(&global.keypair(args.keypair)?)?;
    let manifest_path = args.dir.join(MANIFEST_FILE);
    let signature_path = args.dir.join(SIGNATURE_FILE);
    let manifest = read(&manifest_path, MAX_MANIFEST_BYTES)?;
    let manifest = String::from_utf8(manifest)
        .map_err(|_| Failure::message(Exit::Validation, format!("{} is not UTF-8", shown(&manifest_path))))?;
    let wasm = read(&args.wasm.unwrap_or_else(|| args.dir.join(wasm_file(&manifest))), MAX_WASM_BYTES)?;
    let before = match read(&signature_path, MAX_SIGNATURE_FILE_BYTES) {
        Ok(bytes) => Some(bytes),
        Err(_) if !signature_path.exists() => None,
        Err(failure) => return Err(failure),
    };
    let signed = match sign_manifest(&manifest, &wasm, before.as_deref(), &key) {
        Ok(signed) => signed,
        Err(SignError::Manifest(problems)) => {
            print_problems(global, &problems);
            return Err(Failure::message(Exit::Validation, format!("{} is not valid", shown(&manifest_path))));
        }
        Err(error) => return Err(Failure::new(Exit::Validation, error)),
    };
    // The old signature fits the old manifest only: whoever looks in between sees a bad pair, not a wrong one.
    replace(&manifest_path, signed.manifest.as_bytes())?;
    replace(&signature_path, signed.signature.as_bytes())?;
    let report = Report {
        document: "airssys-wasm/signed/v1",
        manifest: shown(&manifest_path),
        wasm: Digest::of(&wasm),
        wasm_size: wasm.len(),
        public_key: key.public().to_string(),
        other_signatures_kept: signed.kept,
        other_signatures_dropped: signed.dropped,
    };
    output::print(global.output, &report, || {
        let dropped = match report.other_signatures_dropped {
            0 => String::new(),
            n => format!("dropped   {n} signatures of other keys, which no longer fit\n"),
        };
        format!(
            "signed    {}\nwasm      {} ({} bytes)\nby        {}\n{dropped}",
            report.manifest, report.wasm, report.wasm_size, report.public_key
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The name in `[wasm] file`; signing itself tells what is wrong with a manifest without one.
fn wasm_file(manifest: &str) -> String {
    let table: Option<toml::Table> = manifest.parse().ok();
    let file = table.as_ref().and_then(|table| table.get("wasm")?.get("file")?.as_str());
    // One segment, as the manifest's own rule is: a path of somebody else must not lead out of the directory.
    let file = file.filter(|file| !file.contains('/') && *file != "..");
    file.unwrap_or("component.wasm").to_owned()
}

/// Reads a signing key that nobody else can read.
fn read_key(path: &Path) -> Result<SigningKey, Failure> {
    let hint = "make one with: airssys-wasm keygen";
    let failed = |error: io::Error| {
        Failure::message(Exit::Configuration, format!("the signing key {} can't be read: {error}", shown(path)))
            .hint(hint)
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let refuse = |why: &str, hint: String| {
        Err(Failure::message(Exit::Authorization, format!("the signing key {} is refused: {why}", shown(path)))
            .hint(hint))
    };
    if metadata.mode() & 0o077 != 0 {
        return refuse("others can read or change it", format!("chmod 600 {}", shown(path)));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return refuse("it belongs to another user", format!("chown {own} {}", shown(path)));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    file.take(MAX_KEY_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    SigningKey::decode(&bytes).map_err(|error| {
        Failure::message(Exit::Configuration, format!("the signing key {} can't be used: {error}", shown(path)))
            .hint(hint)
    })
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::General, anyhow::Error::new(error).context(format!("{} can't be read", shown(path))))
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(max_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Failure::message(Exit::Validation, format!("{} is larger than {max_bytes} bytes", shown(path))));
    }
    Ok(bytes)
}

/// Writes beside the file and renames: no reader sees half of it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        Failure::new(Exit::General, anyhow::Error::new(error).context(format!("{} can't be written", shown(path))))
    })
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}
