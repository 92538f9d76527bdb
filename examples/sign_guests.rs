//! Signs the example guests with a key that exists only while this runs; `examples/refresh` calls it.
//!
//! usage: `sign_guests TRUST_FILE COMPONENT_DIRECTORY...`. It is no model for signing: a publisher keeps the key.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::Path;

use airssys_wasm::digest::Digest;
use airssys_wasm::hex;
use airssys_wasm::key::PublicKey;
use ed25519_dalek::{Signer, SigningKey};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let trust = arguments.next().ok_or("usage: sign_guests TRUST_FILE COMPONENT_DIRECTORY...")?;
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let key = SigningKey::from_bytes(&seed);
    let public = PublicKey::from_bytes(key.verifying_key().to_bytes());
    for directory in arguments {
        sign(Path::new(&directory), &key, &public).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let text = with_line(&fs::read_to_string(&trust)?, "keys", &format!("[\"{public}\"]"))?;
    Ok(fs::write(&trust, text)?)
}

/// Puts digest and size of the wasm into the manifest, and the signature of the manifest beside it.
fn sign(directory: &Path, key: &SigningKey, public: &PublicKey) -> Result<(), Box<dyn Error>> {
    let name = directory.file_name().ok_or("not a directory's name")?;
    let wasm = fs::read(directory.join(name).with_extension("wasm"))?;
    let manifest_path = directory.join("Component.toml");
    let manifest = fs::read_to_string(&manifest_path)?;
    let manifest = with_line(&manifest, "sha256", &format!("\"{}\"", Digest::of(&wasm).hex()))?;
    let manifest = with_line(&manifest, "size", &wasm.len().to_string())?;
    let message = format!("airssys-manifest-v1\n{}\n{manifest}", manifest.len());
    let signature = key.sign(message.as_bytes()).to_bytes();
    let signatures = format!("airssys-sig 1\ned25519 {} {}\n", public.hex(), hex::encode(&signature));
    fs::write(&manifest_path, manifest)?;
    Ok(fs::write(directory.join("Component.toml.sig"), signatures)?)
}

/// `text` with the value of the line `key = …` replaced, and every other byte as it was.
fn with_line(text: &str, key: &str, value: &str) -> Result<String, String> {
    let start = format!("{key} = ");
    let old = text.lines().find(|line| line.starts_with(&start)).ok_or(format!("there is no line `{start}`"))?;
    Ok(text.replacen(old, &format!("{start}{value}"), 1))
}
