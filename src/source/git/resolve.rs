//! Finds the addresses of a host, and leaves out none that may not be connected to.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::address;
use crate::remote_url::RemoteUrl;
use crate::source::remote::FetchFailure;

/// Most addresses of one host that are looked at.
const MAX_ADDRESSES: usize = 16;

/// The addresses behind the host of `url` that may be connected to: at least one.
pub(super) fn addresses(
    url: &RemoteUrl,
    default_port: u16,
    allow_private: bool,
    wait: Duration,
) -> Result<Vec<SocketAddr>, FetchFailure> {
    let host = url.host().unwrap_or_default().to_owned();
    let port = url.port().unwrap_or(default_port);
    let literal: Option<IpAddr> = host.parse().ok();
    let found = match literal {
        Some(address) => vec![SocketAddr::new(address, port)],
        None => look_up(&host, port, wait)?,
    };
    let (mut passed, mut refused) = (Vec::new(), None);
    for found in found {
        match address::check(found.ip(), literal, allow_private) {
            Ok(()) => passed.push(found),
            Err(scope) => refused = Some((found.ip(), scope)),
        }
    }
    match refused {
        Some((address, scope)) if passed.is_empty() => {
            let message = format!("`{host}` may not be connected to: it leads to {address}, {}", scope.in_words());
            Err(FetchFailure::new("address-refused", message).hint(format!(
                "if that is meant, set `allow-private = true` in [credentials.\"{host}\"] of the host's config.toml"
            )))
        }
        _ => Ok(passed),
    }
}

/// Asks the system, which can't be told how long to take: the thread is left behind when it is too slow.
fn look_up(host: &str, port: u16, wait: Duration) -> Result<Vec<SocketAddr>, FetchFailure> {
    let failed = |reason: String| {
        FetchFailure::new("no-such-host", format!("cannot look up `{host}`: {reason}"))
            .hint("check the name, and the machine's resolver")
    };
    let (sender, receiver) = sync_channel(1);
    let asked = host.to_owned();
    std::thread::Builder::new()
        .name("look-up".to_owned())
        .spawn(move || {
            let found = (asked.as_str(), port).to_socket_addrs();
            // Nobody listens any more when it took too long.
            let _ = sender.send(found.map(|found| found.take(MAX_ADDRESSES).collect::<Vec<_>>()));
        })
        .map_err(|error| failed(error.to_string()))?;
    match receiver.recv_timeout(wait) {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Ok(_)) => Err(failed("it has no address".to_owned())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", wait.as_secs_f32()))),
    }
}
