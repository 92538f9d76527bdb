//! `verify`: what the host would say to an artifact, without installing it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::exit::{Exit, Failure};
use super::output;
use super::paint::{Paint, Stream};
use crate::desired::spec::Require;
use crate::manifest::Manifest;
use crate::reconcile::{HOST_SURFACE, surface_of, unix_now_s};
use crate::record::ArtifactIdentity;
use crate::resolution::Refusal;
use crate::safe_open::own_uid;
use crate::source::file;
use crate::status::info::{InterfaceInfo, exports, imports, surface_lines};
use crate::surface::Surface;
use crate::trust::{Expectation, StoredWasm, verify_manifest};

/// Options of `verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// The directory that holds Component.toml, its signature and the wasm
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The trust policy; default is `trust.toml` in the home
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
}

/// The outcome.
#[derive(Serialize)]
struct Report {
    #[serde(rename = "$type")]
    document: &'static str,
    accepted: bool,
    artifact: Option<ArtifactIdentity>,
    /// What it imports, and whether this host offers it.
    imports: Vec<InterfaceInfo>,
    /// What it exports, and whether this host calls it.
    exports: Vec<InterfaceInfo>,
    refusal: Option<Refusal>,
}

/// Checks signature, trust, dates, digest and size, in that order.
pub(crate) fn verify(global: &Global, args: VerifyArgs) -> Result<ExitCode, Failure> {
    let outcome = check(&args.dir, &global.trust_policy(args.trust)?);
    let surface = outcome.as_ref().ok().map(|(_, surface)| surface);
    let report = Report {
        document: "airssys-wasm/verified/v1",
        accepted: outcome.is_ok(),
        artifact: outcome.as_ref().ok().map(|(artifact, _)| artifact.clone()),
        imports: surface.map_or_else(Vec::new, |surface| imports(surface, &HOST_SURFACE)),
        exports: surface.map_or_else(Vec::new, |surface| exports(surface, &HOST_SURFACE)),
        refusal: outcome.as_ref().err().cloned(),
    };
    output::print(global.output, &report, || {
        report.artifact.as_ref().map_or_else(String::new, |artifact| text(artifact, &report))
    })?;
    let Some(refusal) = report.refusal else { return Ok(ExitCode::SUCCESS) };
    let paint = Paint::new(global, Stream::Stderr);
    eprintln!("{} {} [{}]", paint.red("refused:"), refusal.message, refusal.code);
    refusal.hint.iter().flat_map(|hint| hint.lines()).for_each(|line| eprintln!("  {line}"));
    Ok(Exit::Signature.into())
}

fn check(dir: &std::path::Path, policy: &crate::trust::TrustPolicy) -> Result<(ArtifactIdentity, Surface), Refusal> {
    let fetched = file::fetch(dir, own_uid()).map_err(|error| error.refusal())?;
    // The package that the manifest claims: there is no desired file here that asks for another.
    let claimed = Manifest::parse(file::MANIFEST_FILE, fetched.manifest()).map_err(|problems| {
        let text: String = problems.iter().map(ToString::to_string).collect();
        Refusal::new("invalid-manifest", "Component.toml is not valid").hint(text)
    })?;
    let require = Require::default();
    let expect = Expectation { package: &claimed.package, require: &require };
    let verified = verify_manifest(policy, &expect, fetched.manifest(), fetched.signature(), unix_now_s())?;
    let mut wasm = Vec::new();
    fetched.copy_wasm(&verified.manifest().wasm.clone(), &mut wasm).map_err(|error| error.refusal())?;
    let artifact = verified.admit(&StoredWasm::of(&wasm))?;
    Ok((artifact.identity().clone(), surface_of(&wasm)?))
}

fn text(artifact: &ArtifactIdentity, report: &Report) -> String {
    let signers: Vec<String> = artifact.signers.iter().map(ToString::to_string).collect();
    let asks: Vec<String> = artifact.ask.entries().map(ToString::to_string).collect();
    let asks = if asks.is_empty() { "nothing".to_owned() } else { asks.join(", ") };
    format!(
        "accepted  {} {} (sequence {})\nwasm      {} ({} bytes)\nsigned by {}: {}\nasks for  {asks}\n{}",
        artifact.package,
        artifact.version,
        artifact.sequence,
        artifact.wasm,
        artifact.wasm_size,
        artifact.publisher,
        signers.join(", "),
        surface_lines(&report.imports, &report.exports),
    )
}
