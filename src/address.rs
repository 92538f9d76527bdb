//! Owns what network addresses stand for, and which of them a remote source may lead to.
//!
//! Pure: it looks nothing up. Who connects asks it about the address that is really connected to, since a
//! name may lead to one address now and to another a moment later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address stands for, where that is not a host of the public Internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This machine.
    Loopback,
    /// The network that this machine is attached to; clouds hand out credentials there.
    LinkLocal,
    /// A private network: RFC 1918, unique local, the old site local.
    Private,
    /// Shared by a carrier's customers, 100.64.0.0/10.
    CarrierGrade,
    /// No address: 0.0.0.0/8 and `::`.
    Unspecified,
    /// Many hosts at once.
    Multicast,
    /// For examples and measurements; nobody's.
    Documentation,
    /// An IPv6 address that carries an IPv4 address: mapped, compatible, NAT64, 6to4, Teredo.
    CarriesIpv4,
    /// Set aside for something else, broadcast included.
    Reserved,
}

impl Scope {
    /// In words, for messages.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Private => "a private address",
            Self::CarrierGrade => "an address inside a carrier's network",
            Self::Unspecified => "an unspecified address",
            Self::Multicast => "a multicast address",
            Self::Documentation => "an address for documentation",
            Self::CarriesIpv4 => "an IPv6 address that carries an IPv4 address",
            Self::Reserved => "a reserved address",
        }
    }

    /// Whether `allow-private` of the host's settings opens it.
    fn can_be_allowed(self) -> bool {
        matches!(self, Self::Loopback | Self::LinkLocal | Self::Private | Self::CarrierGrade)
    }
}

/// Whether `address` may be connected to.
///
/// `literal` is the host of the URL when that is an address itself: a loopback address that is written out may be
/// connected to, as that is nobody else's doing. An error says what the address stands for.
pub fn check(address: IpAddr, literal: Option<IpAddr>, allow_private: bool) -> Result<(), Scope> {
    let Some(scope) = scope(address) else { return Ok(()) };
    if scope == Scope::Loopback && literal == Some(address) {
        return Ok(());
    }
    if !allow_private {
        return Err(scope);
    }
    match (scope, address) {
        // Whoever allows private addresses allows them in this form too, and nothing that is refused in the other.
        (Scope::CarriesIpv4, IpAddr::V6(address)) => match carried(address) {
            Some(carried) => check(IpAddr::V4(carried), None, allow_private),
            None => Err(scope),
        },
        _ if scope.can_be_allowed() => Ok(()),
        _ => Err(scope),
    }
}

/// What an address stands for; none for a host of the public Internet.
pub fn scope(address: IpAddr) -> Option<Scope> {
    match address {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

fn scope_v4(address: Ipv4Addr) -> Option<Scope> {
    match address.octets() {
        [0, ..] => Some(Scope::Unspecified),
        [127, ..] => Some(Scope::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(Scope::Private),
        [169, 254, ..] => Some(Scope::LinkLocal),
        [100, 64..=127, ..] => Some(Scope::CarrierGrade),
        [192, 0, 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => Some(Scope::Documentation),
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => Some(Scope::Reserved),
        [224..=239, ..] => Some(Scope::Multicast),
        _ => None,
    }
}

fn scope_v6(address: Ipv6Addr) -> Option<Scope> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Scope::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Scope::Loopback),
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(Scope::CarriesIpv4),
        [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..] => Some(Scope::CarriesIpv4),
        [0xfe80..=0xfebf, ..] => Some(Scope::LinkLocal),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(Scope::Private),
        [0xff00..=0xffff, ..] => Some(Scope::Multicast),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Scope::Documentation),
        [0x2001, 1..=0x1ff, ..] => Some(Scope::Reserved),
        // Only this part of the space is handed out to hosts of the public Internet.
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Scope::Reserved),
    }
}

/// The IPv4 address in the last 32 bits, of the forms that keep it there.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let last = Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]);
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &[(&str, Scope)] = &[
        ("127.0.0.1", Scope::Loopback),
        ("127.255.255.254", Scope::Loopback),
        ("::1", Scope::Loopback),
        ("10.0.0.1", Scope::Private),
        ("172.16.0.1", Scope::Private),
        ("172.31.255.255", Scope::Private),
        ("192.168.1.1", Scope::Private),
        ("fc00::1", Scope::Private),
        ("fdff:ffff::1", Scope::Private),
        ("fec0::1", Scope::Private),
        ("169.254.169.254", Scope::LinkLocal),
        ("fe80::1", Scope::LinkLocal),
        ("febf::1", Scope::LinkLocal),
        ("100.64.0.1", Scope::CarrierGrade),
        ("100.127.255.255", Scope::CarrierGrade),
        ("0.0.0.0", Scope::Unspecified),
        ("0.1.2.3", Scope::Unspecified),
        ("::", Scope::Unspecified),
        ("224.0.0.1", Scope::Multicast),
        ("239.255.255.250", Scope::Multicast),
        ("ff02::1", Scope::Multicast),
        ("192.0.2.1", Scope::Documentation),
        ("198.18.0.1", Scope::Documentation),
        ("198.51.100.1", Scope::Documentation),
        ("203.0.113.1", Scope::Documentation),
        ("2001:db8::1", Scope::Documentation),
        ("3fff::1", Scope::Documentation),
        ("::ffff:127.0.0.1", Scope::CarriesIpv4),
        ("::ffff:8.8.8.8", Scope::CarriesIpv4),
        ("::ffff:0:10.0.0.1", Scope::CarriesIpv4),
        ("::7f00:1", Scope::CarriesIpv4),
        ("64:ff9b::a9fe:a9fe", Scope::CarriesIpv4),
        ("64:ff9b:1::a00:1", Scope::CarriesIpv4),
        ("2002:7f00:1::", Scope::CarriesIpv4),
        ("2001:0:1234::1", Scope::CarriesIpv4),
        ("192.0.0.8", Scope::Reserved),
        ("240.0.0.1", Scope::Reserved),
        ("255.255.255.255", Scope::Reserved),
        ("100::1", Scope::Reserved),
        ("2001:2::1", Scope::Reserved),
        ("5f00::1", Scope::Reserved),
    ];
    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.0.1",
        "169.255.0.1",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.0.1",
        "192.169.0.1",
        "223.255.255.255",
        "2001:200::1",
        "2606:4700::1111",
        "2a00:1450::1",
    ];

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn u3_every_address_that_is_not_of_the_public_internet_is_refused_by_name() {
        for (text, scope) in REFUSED {
            assert_eq!(check(ip(text), None, false), Err(*scope), "{text}");
        }
        for text in PUBLIC {
            assert_eq!(check(ip(text), None, false), Ok(()), "{text}");
        }
    }

    #[test]
    fn u3_only_a_loopback_address_that_is_written_out_may_be_connected_to_without_leave() {
        for (text, scope) in REFUSED {
            let allowed = check(ip(text), Some(ip(text)), false).is_ok();
            assert_eq!(allowed, *scope == Scope::Loopback, "{text}");
        }
        assert_eq!(check(ip("127.0.0.2"), Some(ip("127.0.0.1")), false), Err(Scope::Loopback));
    }

    #[test]
    fn u3_leave_for_private_addresses_opens_those_and_nothing_else() {
        for (text, scope) in REFUSED.iter().filter(|(_, scope)| *scope != Scope::CarriesIpv4) {
            let private = matches!(scope, Scope::Loopback | Scope::LinkLocal | Scope::Private | Scope::CarrierGrade);
            assert_eq!(check(ip(text), None, true).is_ok(), private, "{text}");
        }
        assert_eq!(check(ip("::ffff:10.0.0.1"), None, true), Ok(()));
        assert_eq!(check(ip("64:ff9b::808:808"), None, true), Ok(()));
        assert_eq!(check(ip("::ffff:224.0.0.1"), None, true), Err(Scope::Multicast));
        assert_eq!(check(ip("2002:7f00:1::"), None, true), Err(Scope::CarriesIpv4));
    }
}
