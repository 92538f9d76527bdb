//! Owns network addresses in permissions: where a component may connect to, and where it may listen.
//!
//! Compares spellings, never resolves a name: to which address a host name leads is for the host to check.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use super::pattern::PatternError;

/// Longest host name, in bytes.
pub const MAX_HOST_BYTES: usize = 253;
/// Longest label of a host name, in bytes.
pub const MAX_LABEL_BYTES: usize = 63;

/// Hosts and ports to connect to. Written `api.example.com:443`, `*.example.com:*`, `192.0.2.1:80`, `[2001:db8::1]:80`.
///
/// `*.example.com` means every name below `example.com`, at any depth, and not `example.com` itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connect {
    host: Host,
    /// `None` is every port.
    port: Option<NonZeroU16>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Name(Box<str>),
    Below(Box<str>),
    Address(IpAddr),
}

impl Connect {
    /// Whether every connection that `other` allows is allowed.
    pub fn covers(&self, other: &Self) -> bool {
        self.host.covers(&other.host) && (self.port.is_none() || self.port == other.port)
    }

    /// Exactly the connections that both allow.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let host = match (&self.host, &other.host) {
            (wide, narrow) | (narrow, wide) if wide.covers(narrow) => narrow,
            _ => return None,
        };
        let port = match (self.port, other.port) {
            (None, port) | (port, None) => port,
            (one, two) if one == two => one,
            _ => return None,
        };
        Some(Self { host: host.clone(), port })
    }

    /// Whether `port` is among the ports.
    pub(super) fn has_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own.get() == port)
    }

    /// Whether the host with this name is meant, at one of its ports at least.
    pub(super) fn means_name(&self, name: &str) -> bool {
        match &self.host {
            Host::Name(own) => &**own == name,
            Host::Below(domain) => is_below(name, domain),
            Host::Address(_) => false,
        }
    }

    /// Whether exactly this address is meant.
    pub(super) fn means_address(&self, address: IpAddr) -> bool {
        self.host == Host::Address(address)
    }

    /// Whether a host is meant that is this machine by its spelling.
    pub(super) fn may_be_this_machine(&self) -> bool {
        match &self.host {
            Host::Name(name) | Host::Below(name) => &**name == "localhost" || name.ends_with(".localhost"),
            Host::Address(address) => address.is_loopback(),
        }
    }

    /// Whether a name below `domain` is meant.
    pub(super) fn may_be_below(&self, domain: &str) -> bool {
        let domain = Host::Below(domain.into());
        domain.covers(&self.host) || self.host.covers(&domain)
    }
}

impl Host {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Below(domain), Self::Name(name)) => is_below(name, domain),
            (Self::Below(domain), Self::Below(inner)) => inner == domain || is_below(inner, domain),
            _ => self == other,
        }
    }
}

fn is_below(name: &str, domain: &str) -> bool {
    // The dot keeps `badexample.com` out of `example.com`.
    name.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl FromStr for Connect {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = split_port(text)?;
        let port = if port == "*" { None } else { Some(parse_port(port)?) };
        let host = parse_host(host)?;
        if let Host::Address(address) = &host
            && address.is_unspecified()
        {
            return Err(PatternError("the unspecified address is no place to connect to"));
        }
        Ok(Self { host, port })
    }
}

fn split_port(text: &str) -> Result<(&str, &str), PatternError> {
    const SHAPE: PatternError =
        PatternError("it is written `host:port`, as in `api.example.com:443`; `*` as the port means every port");
    let (host, port) = text.rsplit_once(':').ok_or(SHAPE)?;
    // Without its brackets an IPv6 address would lend its last group to the port.
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(PatternError("an IPv6 address is written in brackets, as in `[2001:db8::1]:443`"));
    }
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<NonZeroU16, PatternError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let port = plain.then(|| text.parse().ok()).flatten();
    port.ok_or(PatternError("a port is a whole number from 1 to 65535 without leading zeros"))
}

fn parse_host(text: &str) -> Result<Host, PatternError> {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return parse_ipv6(address).map(|address| Host::Address(IpAddr::V6(address)));
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(domain) => (true, domain),
        None => (false, text),
    };
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or("");
    // Resolvers take `127.1`, `0x7f.1` and `2130706433` for addresses; only the plain spelling may mean one.
    if last.starts_with("0x") || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())) {
        let address: Ipv4Addr = name.parse().map_err(|_| {
            PatternError("a host that ends in a number is an IPv4 address, written as four plain numbers")
        })?;
        return if below {
            Err(PatternError("`*.` goes before a domain, not before an address"))
        } else {
            Ok(Host::Address(IpAddr::V4(address)))
        };
    }
    check_host_name(&name)?;
    Ok(if below { Host::Below(name.into()) } else { Host::Name(name.into()) })
}

fn parse_ipv6(text: &str) -> Result<Ipv6Addr, PatternError> {
    let address: Ipv6Addr = text.parse().map_err(|_| PatternError("there is no IPv6 address in the brackets"))?;
    match address.to_ipv4_mapped() {
        Some(_) => Err(PatternError("an IPv4 address is written as such, not inside an IPv6 address")),
        None => Ok(address),
    }
}

fn check_host_name(name: &str) -> Result<(), PatternError> {
    if name.contains('*') {
        return Err(PatternError("the only wildcard in a host is `*.` before a domain, as in `*.example.com:443`"));
    }
    if name.len() > MAX_HOST_BYTES {
        return Err(PatternError("the host name is longer than 253 characters"));
    }
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.split('.').all(is_label) {
        return Ok(());
    }
    Err(PatternError(
        "a host name is parts of ASCII letters, digits and inner hyphens with dots between, without a dot at the end; \
         other scripts are written in their `xn--` form",
    ))
}

fn write_address(f: &mut fmt::Formatter<'_>, address: &IpAddr) -> fmt::Result {
    match address {
        IpAddr::V4(address) => write!(f, "{address}"),
        IpAddr::V6(address) => write!(f, "[{address}]"),
    }
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Below(domain) => write!(f, "*.{domain}")?,
            Host::Address(address) => write_address(f, address)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

/// One address and port to listen on. Written `127.0.0.1:8080` or `[::1]:8080`.
///
/// Each address stands for itself: `0.0.0.0` does not include `127.0.0.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    address: IpAddr,
    port: NonZeroU16,
}

impl Listen {
    /// Whether exactly this place is meant.
    pub(super) fn is(&self, address: SocketAddr) -> bool {
        self.address == address.ip().to_canonical() && self.port.get() == address.port()
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.port.get()
    }
}

impl FromStr for Listen {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = split_port(text)?;
        let address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => parse_ipv6(address)?.into(),
            None => host.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| {
                PatternError("an address to listen on is written in numbers, as in `127.0.0.1:8080` or `[::1]:8080`")
            })?,
        };
        Ok(Self { address, port: parse_port(port)? })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_address(f, &self.address)?;
        write!(f, ":{}", self.port)
    }
}
