//! `keygen`: a new signing key.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use crate::escape::Escaped;
use crate::trust::SigningKey;

/// Options of `keygen`.
#[derive(Args)]
pub struct KeygenArgs {
    /// Where the key goes; default is the setting `keypair`, else `keypair.json` in the home
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `keygen` made.
#[derive(Serialize)]
struct Made {
    #[serde(rename = "$type")]
    document: &'static str,
    path: String,
    public_key: String,
}

/// Makes a key from the system's randomness and writes it to a file that nobody else can read.
pub(crate) fn keygen(global: &Global, args: KeygenArgs) -> Result<ExitCode, Failure> {
    if args.out.is_none() {
        global.home()?.create_for_plan().map_err(|error| Failure::new(Exit::Configuration, error))?;
    }
    let path = global.keypair(args.out)?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| Failure::message(Exit::General, format!("no randomness: {error}")))?;
    let key = SigningKey::from_seed(&seed);
    let shown = Escaped(&path.to_string_lossy()).to_string();
    // Created exclusively: an existing key is never overwritten, and no link is followed.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let message = format!("there is a file at {shown} already, and a key is never overwritten");
            Failure::message(Exit::General, message).hint("choose another place with --out FILE")
        }
        _ => Failure::message(Exit::General, format!("the key can't be written to {shown}: {error}")),
    })?;
    file.write_all(key.encode().as_bytes())?;
    file.sync_all()?;
    let made = Made { document: "airssys-wasm/key/v1", path: shown.clone(), public_key: key.public().to_string() };
    output::print(global.output, &made, || format!("{}\n", made.public_key))?;
    if !global.quiet {
        eprintln!("The secret key is in {shown}, readable by you alone. Whoever has it can sign as you.");
    }
    Ok(ExitCode::SUCCESS)
}
