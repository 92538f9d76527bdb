//! Owns the step from a host's name to the addresses that are connected to: only those that passed.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::bounds::MAX_ADDRESSES;
use crate::address::{self, Scope};

/// Looks a name up. May block.
pub type Names = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// The names of the system.
pub(super) fn of_the_system() -> Names {
    Arc::new(|name| Ok((name, 0).to_socket_addrs()?.take(MAX_ADDRESSES).map(|address| address.ip()).collect()))
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum NameError {
    /// It can't be looked up, or has no address.
    #[error("{0}")]
    Unknown(String),
    /// Every address of it is refused; one of them.
    #[error("it leads to {}, {}", .0, .1.in_words())]
    Refused(IpAddr, Scope),
}

/// Which addresses of a name are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Those of the public Internet.
    Public,
    /// Private ones as well.
    Private,
    /// Any: the name is that of a proxy, which the operator wrote down.
    Proxy,
}

/// Looks names up and lets through what passes.
pub(super) struct CheckedNames {
    /// How names are looked up.
    pub(super) names: Names,
    /// What passes.
    pub(super) leave: Leave,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, leave) = (Arc::clone(&self.names), self.leave);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || names(&host))
                .await
                .map_err(|_| NameError::Unknown("looking it up failed".to_owned()))?
                .map_err(|error| NameError::Unknown(error.to_string()))?;
            let passed = pass(found, leave)?;
            // The connection is made to exactly these, so that looking the name up again can't lead elsewhere.
            Ok(Box::new(passed.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

fn pass(found: Vec<IpAddr>, leave: Leave) -> Result<Vec<IpAddr>, NameError> {
    let mut refused = None;
    let mut passed = Vec::new();
    for address in found.into_iter().take(MAX_ADDRESSES) {
        let verdict = match leave {
            Leave::Public => address::check(address, None, false),
            Leave::Private => address::check(address, None, true),
            Leave::Proxy => Ok(()),
        };
        match verdict {
            Ok(()) => passed.push(address),
            Err(scope) => refused = Some(NameError::Refused(address, scope)),
        }
    }
    match refused {
        _ if !passed.is_empty() => Ok(passed),
        Some(refused) => Err(refused),
        None => Err(NameError::Unknown("it has no address".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(addresses: &[&str], leave: Leave) -> Result<Vec<String>, String> {
        let found = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        pass(found, leave).map(|passed| passed.iter().map(IpAddr::to_string).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn u3_of_a_name_with_public_and_private_addresses_only_the_public_ones_are_connected_to() {
        let mixed = ["169.254.169.254", "1.1.1.1", "10.0.0.1", "::1", "2606:4700::1111"];
        assert_eq!(passed(&mixed, Leave::Public).expect("two pass"), ["1.1.1.1", "2606:4700::1111"]);
        assert_eq!(passed(&mixed, Leave::Private).expect("all pass").len(), 5);
        let refused = passed(&["10.0.0.1"], Leave::Public).expect_err("refused");
        assert_eq!(refused, "it leads to 10.0.0.1, a private address");
        assert_eq!(passed(&[], Leave::Public).expect_err("none"), "it has no address");
    }

    #[test]
    fn a_name_with_very_many_addresses_costs_a_few_attempts() {
        let many: Vec<String> = (1..=200).map(|n| format!("1.1.1.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(passed(&many, Leave::Public).expect("pass").len(), MAX_ADDRESSES);
    }
}
