//! What a hostile HTTP server can do to a fetch, and what it can't. Tests are named after the rules.

mod addresses;
mod answers;
mod artifact;
mod bounds;
mod certificates;
mod port;
mod redirects;
mod server;
mod times;
mod tls;
mod whole;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::source::remote::{Access, FetchFailure, Port, UrlJob};
use airssys_wasm::source::url::bounds::Times;
use airssys_wasm::source::url::{Names, Network, fetch_over};

/// Times for tests in which nobody is slow on purpose: none of them should pass.
const PATIENT: Times = Times {
    connect: Duration::from_secs(20),
    header: Duration::from_secs(20),
    read: Duration::from_secs(20),
    grace: Duration::from_secs(20),
    min_bytes_per_second: 16 * 1024,
};

fn job(url: &str) -> UrlJob {
    UrlJob { url: url.parse().expect("a URL that may be named"), etag: None, access: Access::default() }
}

/// Fetches with names that nobody can look up.
fn fetch(job: &UrlJob, port: &mut dyn Port) -> Result<(), FetchFailure> {
    fetch_with(job, port, PATIENT, names(|_| Err(io::Error::other("no names in this test"))))
}

fn fetch_with(job: &UrlJob, port: &mut dyn Port, times: Times, names: Names) -> Result<(), FetchFailure> {
    fetch_over(job, port, &Network { times, names })
}

fn names(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Names {
    Arc::new(lookup)
}

/// Every name is this machine's.
fn here() -> Names {
    names(|_| Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
}
