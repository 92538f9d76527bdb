//! Owns artifacts behind URLs: the manifest, its signature and the wasm as three files of one HTTP server.
//!
//! Verifies nothing. The manifest and its signature are handed over first; the wasm is asked for only by name and
//! size, by whoever verified them, and not one byte more than that size is handed over.
//!
//! | rule | where |
//! |---|---|
//! | U1 https, http only to a literal loopback address | [`crate::remote_url`], `redirect` |
//! | U2 no redirects, or few ones on the same origin | `redirect` |
//! | U3 addresses are judged before they are connected to | [`crate::address`], `names` |
//! | U4 no proxies of the environment | `client` |
//! | U5 no compressed answers | `head` |
//! | U6 caps independent of what a header says | `body` |
//! | U7 a limit to every wait | [`bounds`], `site`, `body` |
//! | U8 a validator saves work and is not trusted | `site` |
//! | U10 `Retry-After` is told | `retry_after`, `head` |

pub mod bounds;

mod body;
mod client;
mod fault;
mod file;
mod head;
mod names;
mod redirect;
mod retry_after;
mod site;

use self::bounds::Times;
use self::file::File;
pub use self::names::Names;
use self::site::{Answer, Site};
use super::file::MAX_SIGNATURE_BYTES;
use super::remote::{FetchFailure, Found, Port, UrlJob, WasmWanted};
use crate::manifest::{MAX_MANIFEST_BYTES, MAX_WASM_BYTES};
use crate::safe_open::check_segment;

/// What a fetch takes from the machine it runs on.
pub struct Network {
    /// How long it waits.
    pub times: Times,
    /// How names become addresses.
    pub names: Names,
}

impl Network {
    /// The usual times and the names of the system.
    pub fn of_the_system() -> Self {
        Self { times: Times::USUAL, names: names::of_the_system() }
    }
}

/// Fetches an artifact. Blocks; must not be called on a thread that drives asynchronous work.
pub fn fetch(job: &UrlJob, port: &mut dyn Port) -> Result<(), FetchFailure> {
    fetch_over(job, port, &Network::of_the_system())
}

/// [`fetch`] with other times and names.
pub fn fetch_over(job: &UrlJob, port: &mut dyn Port, network: &Network) -> Result<(), FetchFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| FetchFailure::new("not-started", format!("cannot start fetching `{}`: {error}", job.url)))?;
    let outcome = runtime.block_on(converse(job, port, network));
    // A name that the system is still looking up must not hold the answer back.
    runtime.shutdown_background();
    outcome
}

async fn converse(job: &UrlJob, port: &mut dyn Port, network: &Network) -> Result<(), FetchFailure> {
    let site = Site::new(job, network)?;
    port.progress("manifest", 0)?;
    let Answer::Body(manifest) = site.get(File::Manifest, job.etag.as_deref()).await? else {
        return port.found(Found::Unchanged).map(|_| ());
    };
    let revision = manifest.revision().map(str::to_owned);
    let manifest = manifest.whole(MAX_MANIFEST_BYTES).await?;
    port.progress("signature", 0)?;
    let signature = site.get_body(File::Signature).await?.whole(MAX_SIGNATURE_BYTES).await?;
    let Some(wanted) = port.found(Found::Artifact { revision, manifest, signature })? else {
        return Ok(());
    };
    check_wanted(&wanted)?;
    port.progress("wasm", 0)?;
    site.get_body(File::Wasm(&wanted.file)).await?.hand_over(wanted.size, port).await
}

/// The caller has checked this; it is about what is asked of a server, so it is looked at once more.
fn check_wanted(wanted: &WasmWanted) -> Result<(), FetchFailure> {
    let protocol = |message: &str| FetchFailure::new("worker-protocol", message);
    check_segment(&wanted.file).map_err(|_| protocol("the wasm that is asked for is no file beside the manifest"))?;
    if wanted.size > MAX_WASM_BYTES {
        return Err(protocol("the wasm that is asked for is larger than any may be"));
    }
    Ok(())
}
