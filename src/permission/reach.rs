//! Decides which addresses a component may connect to and listen on, once names have led to addresses.
//!
//! Pure: which name led to which address is told by whoever looked it up. A name reaches hosts of the public Internet
//! alone; an address of this machine, of a private or a link-local network is reached only when it is named itself, or as
//! `localhost`. Else whoever answers for a name could point it at what stands behind the firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::Permissions;
use super::entry::Entry;
use super::net::{Connect, Listen, MAX_HOST_BYTES};
use crate::address::{Scope, scope};

/// Most addresses that are remembered of what names led to; the names must be looked up anew for more.
pub const MAX_REMEMBERED_ADDRESSES: usize = 1_024;

/// Where a component may connect to and listen.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    connects: Vec<Connect>,
    listens: Vec<Listen>,
    /// Which names led to an address.
    led: BTreeMap<IpAddr, BTreeSet<Box<str>>>,
}

impl Permissions {
    /// Where the component may connect to and listen; none when that is nowhere.
    pub fn reach(&self) -> Option<Reach> {
        let mut reach = Reach::default();
        for entry in self.entries() {
            match entry {
                Entry::NetConnect(connect) => reach.connects.push(connect.clone()),
                Entry::NetListen(listen) => reach.listens.push(listen.clone()),
                _ => {}
            }
        }
        (!reach.connects.is_empty() || !reach.listens.is_empty()).then_some(reach)
    }
}

impl Reach {
    /// The name as it is compared, if the component may ask where it leads to.
    pub fn may_look_up(&self, name: &str) -> Option<Box<str>> {
        if name.len() > MAX_HOST_BYTES {
            return None;
        }
        if let Ok(address) = name.parse::<IpAddr>() {
            let address = address.to_canonical();
            return self.connects.iter().any(|connect| connect.means_address(address)).then(|| name.into());
        }
        let name = name.to_ascii_lowercase();
        self.connects.iter().any(|connect| connect.means_name(&name)).then(|| name.into())
    }

    /// Notes that a name that may be looked up led to an address. False: it is one that no name reaches.
    pub fn led_to(&mut self, name: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if !is_reached_by(name, address) {
            return false;
        }
        if self.led.len() >= MAX_REMEMBERED_ADDRESSES && !self.led.contains_key(&address) {
            self.led.clear();
        }
        self.led.entry(address).or_default().insert(name.into());
        true
    }

    /// Whether a connection to the address is allowed: it is named itself, or a name that led to it is.
    pub fn may_connect(&self, to: SocketAddr) -> bool {
        let (address, port) = (to.ip().to_canonical(), to.port());
        let names = self.led.get(&address).into_iter().flatten();
        let by_name =
            |connect: &Connect| names.clone().any(|name| connect.means_name(name) && is_reached_by(name, address));
        let mut with_port = self.connects.iter().filter(|connect| connect.has_port(port));
        with_port.any(|connect| connect.means_address(address) || by_name(connect))
    }

    /// A name that led to the address and by which a connection to it is allowed.
    pub fn name_of(&self, to: SocketAddr) -> Option<Box<str>> {
        let address = to.ip().to_canonical();
        let allows = |name: &str| {
            let mut with_port = self.connects.iter().filter(|connect| connect.has_port(to.port()));
            is_reached_by(name, address) && with_port.any(|connect| connect.means_name(name))
        };
        self.led.get(&address)?.iter().find(|name| allows(name)).cloned()
    }

    /// Whether the component may listen there.
    pub fn may_listen(&self, on: SocketAddr) -> bool {
        self.listens.iter().any(|listen| listen.is(on))
    }
}

/// Whether a name may lead to an address at all. A literal address leads to itself.
fn is_reached_by(name: &str, address: IpAddr) -> bool {
    if name.parse::<IpAddr>().is_ok_and(|literal| literal.to_canonical() == address) {
        return true;
    }
    match scope(address) {
        None => true,
        Some(Scope::Loopback) => name == "localhost" || name.ends_with(".localhost"),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(entries: &[&str]) -> Reach {
        let entries: Vec<Entry> = entries
            .iter()
            .map(|text| match text.split_once(' ') {
                Some(("listen", on)) => Entry::NetListen(on.parse().unwrap()),
                _ => Entry::NetConnect(text.parse().unwrap()),
            })
            .collect();
        entries.into_iter().collect::<Permissions>().reach().unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_reached_by_its_own_name_or_by_one_that_led_to_it_at_its_ports() {
        let mut reach = reach(&["api.example.com:443", "*.example.org:*", "192.0.2.7:80", "[2001:db8::1]:443"]);
        let public = "93.184.216.34".parse().unwrap();
        assert!(!reach.may_connect(at("93.184.216.34:443")), "nothing led there yet");
        assert_eq!(reach.may_look_up("API.example.com").as_deref(), Some("api.example.com"));
        assert!(reach.led_to("api.example.com", public));
        assert!(reach.may_connect(at("93.184.216.34:443")) && !reach.may_connect(at("93.184.216.34:80")));
        assert!(reach.may_connect(at("[::ffff:93.184.216.34]:443")), "the same host");
        assert!(!reach.may_connect(at("93.184.216.35:443")));
        assert!(reach.may_connect(at("192.0.2.7:80")) && !reach.may_connect(at("192.0.2.7:443")));
        assert!(reach.may_connect(at("[2001:db8::1]:443")));
        assert!(reach.led_to("a.b.example.org", public) && reach.may_connect(at("93.184.216.34:8080")));
        for name in ["example.com", "evil-api.example.com", "api.example.com.evil.net", "example.org", "badexample.org"]
        {
            assert_eq!(reach.may_look_up(name), None, "{name}");
        }
        for name in ["api.example.com.", "192.0.2.8", "0xc0000207", "192.0.2.07", ""] {
            assert_eq!(reach.may_look_up(name), None, "{name}");
        }
        assert!(reach.may_look_up("192.0.2.7").is_some());
    }

    #[test]
    fn no_name_leads_behind_the_firewall_and_an_address_that_is_named_does() {
        let mut by_name = reach(&["api.example.com:*", "localhost:8080"]);
        for inside in
            ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "fe80::1", "fd00::1", "0.0.0.0"]
        {
            let address: IpAddr = inside.parse().unwrap();
            assert!(!by_name.led_to("api.example.com", address), "{inside}");
            assert!(!by_name.may_connect(SocketAddr::new(address, 80)), "{inside}");
        }
        assert!(!by_name.led_to("api.example.com", "::ffff:10.0.0.1".parse().unwrap()));
        assert!(by_name.led_to("localhost", "127.0.0.1".parse().unwrap()));
        assert!(by_name.may_connect(at("127.0.0.1:8080")) && !by_name.may_connect(at("127.0.0.1:8081")));
        assert!(!by_name.led_to("localhost", "10.0.0.1".parse().unwrap()));
        assert!(reach(&["169.254.169.254:80"]).may_connect(at("169.254.169.254:80")));
    }

    #[test]
    fn it_listens_on_exactly_what_is_written() {
        let reach = reach(&["listen 127.0.0.1:8080"]);
        assert!(reach.may_listen(at("127.0.0.1:8080")));
        for other in ["0.0.0.0:8080", "127.0.0.1:8081", "[::1]:8080", "127.0.0.2:8080", "127.0.0.1:0"] {
            assert!(!reach.may_listen(at(other)), "{other}");
        }
        assert!(!reach.may_connect(at("127.0.0.1:8080")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut reach = reach(&["*.example.com:443"]);
        for number in 0..MAX_REMEMBERED_ADDRESSES as u32 + 7 {
            assert!(reach.led_to("a.example.com", IpAddr::from((0x0800_0000 + number).to_be_bytes())));
        }
        assert!(reach.led.len() <= MAX_REMEMBERED_ADDRESSES);
    }
}
