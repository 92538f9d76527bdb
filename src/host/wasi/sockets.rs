//! Owns `wasi:sockets`: TCP to and from where a guest was granted, and nowhere else. There is no UDP.
//!
//! Where it may go is decided in `permission::reach`, about the address that is really used. A name may be looked up when it
//! is granted, and of what it leads to the guest sees what it may reach.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::bindings::sockets::{instance_network, ip_name_lookup, network, tcp_create_socket};
use wasmtime_wasi::p2::bindings::sync::sockets::tcp::{
    self, Duration, HostTcpSocket, InputStream, IpAddressFamily, IpSocketAddress, OutputStream, Pollable, ShutdownType,
    TcpSocket,
};
use wasmtime_wasi::p2::bindings::sync::sockets::{udp, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, SocketError, SocketResult};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSockets, WasiSocketsCtxView, WasiSocketsView as _};

use super::super::Guest;
use super::super::outside::{MAX_LOOKUPS, MAX_SOCKETS, Open, locked};
use crate::permission::Reach;

type Lookup = ip_name_lookup::ResolveAddressStream;

/// Lets a guest use sockets, each address as `reach` says.
pub(super) fn allow(builder: &mut WasiCtxBuilder, reach: &Arc<Mutex<Reach>>) {
    let reach = Arc::clone(reach);
    builder.allow_tcp(true).allow_ip_name_lookup(true).socket_addr_check(move |address, to| {
        let is_allowed = match to {
            SocketAddrUse::TcpConnect => locked(&reach).may_connect(address),
            // Before it connects, the system gives a socket a place of its own.
            SocketAddrUse::TcpBind => is_any(address) || locked(&reach).may_listen(address),
            SocketAddrUse::TcpListen => locked(&reach).may_listen(address),
            // Who comes in was let in by the right to listen.
            SocketAddrUse::TcpAccept => true,
            _ => false,
        };
        Box::pin(std::future::ready(is_allowed))
    });
}

fn is_any(address: SocketAddr) -> bool {
    address.ip().is_unspecified() && address.port() == 0
}

pub(super) fn add_to_linker(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    instance_network::add_to_linker::<Guest, WasiSockets>(l, Guest::sockets)?;
    network::add_to_linker::<Guest, WasiSockets>(l, &network::LinkOptions::default(), Guest::sockets)?;
    ip_name_lookup::add_to_linker::<Guest, Sockets>(l, view)?;
    tcp_create_socket::add_to_linker::<Guest, Sockets>(l, view)?;
    tcp::add_to_linker::<Guest, Sockets>(l, view)?;
    udp_create_socket::add_to_linker::<Guest, WasiSockets>(l, Guest::sockets)?;
    udp::add_to_linker::<Guest, WasiSockets>(l, Guest::sockets)
}

/// Offers the sockets of this module.
struct Sockets;

impl HasData for Sockets {
    type Data<'a> = View<'a>;
}

/// The sockets of one guest.
struct View<'a>(&'a mut Guest);

fn view(guest: &mut Guest) -> View<'_> {
    View(guest)
}

impl View<'_> {
    fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        self.0.sockets()
    }

    fn open(&mut self) -> Option<&mut Open> {
        self.0.outside.as_mut().map(|outside| &mut outside.open)
    }

    fn reach(&self) -> Option<Arc<Mutex<Reach>>> {
        self.0.outside.as_ref().and_then(|outside| outside.reach.clone())
    }

    /// Whether there is room for one more socket.
    fn check_room(&mut self) -> SocketResult<()> {
        match self.open() {
            Some(open) if open.sockets.len() >= MAX_SOCKETS => Err(ErrorCode::NewSocketLimit.into()),
            _ => Ok(()),
        }
    }

    fn opened(&mut self, socket: &Resource<TcpSocket>) {
        if let Some(open) = self.open() {
            open.sockets.insert(socket.rep());
        }
    }

    fn noting<T>(&mut self, permission: &'static str, what: &str, result: SocketResult<T>) -> SocketResult<T> {
        if let Err(error) = &result
            && matches!(error.downcast_ref(), Some(ErrorCode::AccessDenied))
        {
            self.0.outbox.denied(permission, what);
        }
        result
    }
}

impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.sockets(), error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for View<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}

impl tcp_create_socket::Host for View<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.check_room()?;
        let created = tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family);
        let created = self.noting("net.connect", "a socket", created)?;
        self.opened(&created);
        Ok(created)
    }
}

impl ip_name_lookup::Host for View<'_> {
    fn resolve_addresses(&mut self, network: Resource<Network>, name: String) -> SocketResult<Resource<Lookup>> {
        let granted = self.reach().and_then(|reach| locked(&reach).may_look_up(&name));
        let Some(granted) = granted else {
            // Which port it is for can't be known before it is connected to.
            self.0.outbox.needs(&|| format!("net.connect {name}:*").parse().ok());
            self.0.outbox.denied("net.connect", &name);
            return Err(ErrorCode::AccessDenied.into());
        };
        if self.open().is_none_or(|open| open.lookups.len() >= MAX_LOOKUPS) {
            return Err(ErrorCode::NewSocketLimit.into());
        }
        let answer = ip_name_lookup::Host::resolve_addresses(&mut self.sockets(), network, granted.to_string())?;
        if let Some(open) = self.open() {
            open.lookups.insert(answer.rep(), granted);
        }
        Ok(answer)
    }
}

impl ip_name_lookup::HostResolveAddressStream for View<'_> {
    fn resolve_next_address(&mut self, answer: Resource<Lookup>) -> SocketResult<Option<IpAddress>> {
        let rep = answer.rep();
        let name = self.open().and_then(|open| open.lookups.get(&rep).cloned());
        let (Some(reach), Some(name)) = (self.reach(), name) else { return Err(ErrorCode::AccessDenied.into()) };
        loop {
            let answer = Resource::new_borrow(rep);
            let next = ip_name_lookup::HostResolveAddressStream::resolve_next_address(&mut self.sockets(), answer)?;
            let Some(next) = next else { return Ok(None) };
            let address = address(&next);
            if locked(&reach).led_to(&name, address) {
                return Ok(Some(next));
            }
            self.0.outbox.denied("net.connect", &format!("{name} at {address}"));
        }
    }

    fn subscribe(&mut self, answer: Resource<Lookup>) -> wasmtime::Result<Resource<DynPollable>> {
        ip_name_lookup::HostResolveAddressStream::subscribe(&mut self.sockets(), answer)
    }

    fn drop(&mut self, answer: Resource<Lookup>) -> wasmtime::Result<()> {
        let rep = answer.rep();
        if let Some(open) = self.open() {
            open.lookups.remove(&rep);
        }
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.sockets(), answer)
    }
}

fn address(address: &IpAddress) -> IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

impl tcp::Host for View<'_> {}

/// Passed on as it is: `name(socket, arguments…) -> result`.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {$(
        fn $name(&mut self, socket: Resource<TcpSocket>, $($argument: $type),*) -> $result {
            HostTcpSocket::$name(&mut self.sockets(), socket, $($argument),*)
        }
    )+};
}

impl HostTcpSocket for View<'_> {
    pass_on! {
        finish_bind() -> SocketResult<()>;
        finish_listen() -> SocketResult<()>;
        local_address() -> SocketResult<IpSocketAddress>;
        remote_address() -> SocketResult<IpSocketAddress>;
        is_listening() -> wasmtime::Result<bool>;
        address_family() -> wasmtime::Result<IpAddressFamily>;
        set_listen_backlog_size(value: u64) -> SocketResult<()>;
        keep_alive_enabled() -> SocketResult<bool>;
        set_keep_alive_enabled(value: bool) -> SocketResult<()>;
        keep_alive_idle_time() -> SocketResult<Duration>;
        set_keep_alive_idle_time(value: Duration) -> SocketResult<()>;
        keep_alive_interval() -> SocketResult<Duration>;
        set_keep_alive_interval(value: Duration) -> SocketResult<()>;
        keep_alive_count() -> SocketResult<u32>;
        set_keep_alive_count(value: u32) -> SocketResult<()>;
        hop_limit() -> SocketResult<u8>;
        set_hop_limit(value: u8) -> SocketResult<()>;
        receive_buffer_size() -> SocketResult<u64>;
        set_receive_buffer_size(value: u64) -> SocketResult<()>;
        send_buffer_size() -> SocketResult<u64>;
        set_send_buffer_size(value: u64) -> SocketResult<()>;
        subscribe() -> wasmtime::Result<Resource<Pollable>>;
        shutdown(what: ShutdownType) -> SocketResult<()>;
    }

    fn start_bind(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        local: IpSocketAddress,
    ) -> SocketResult<()> {
        let what = shown(local);
        self.0.outbox.needs(&|| format!("net.listen {what}").parse().ok());
        let bound = HostTcpSocket::start_bind(&mut self.sockets(), socket, network, local);
        self.noting("net.listen", &what, bound)
    }

    fn start_connect(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        remote: IpSocketAddress,
    ) -> SocketResult<()> {
        let to = SocketAddr::from(remote);
        let name = self.reach().and_then(|reach| locked(&reach).name_of(to));
        self.0.outbox.needs(&|| match &name {
            Some(name) => format!("net.connect {name}:{}", to.port()).parse().ok(),
            None => format!("net.connect {to}").parse().ok(),
        });
        // Asked here as well, so that what is denied is told and no packet leaves before.
        if !self.reach().is_some_and(|reach| locked(&reach).may_connect(to)) {
            self.0.outbox.denied("net.connect", &to.to_string());
            return Err(ErrorCode::AccessDenied.into());
        }
        HostTcpSocket::start_connect(&mut self.sockets(), socket, network, remote)
    }

    fn finish_connect(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<InputStream>, Resource<OutputStream>)> {
        HostTcpSocket::finish_connect(&mut self.sockets(), socket)
    }

    fn start_listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        let listens = HostTcpSocket::start_listen(&mut self.sockets(), socket);
        self.noting("net.listen", "a bound socket", listens)
    }

    fn accept(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> Result<(Resource<TcpSocket>, Resource<InputStream>, Resource<OutputStream>), SocketError> {
        self.check_room()?;
        let accepted = HostTcpSocket::accept(&mut self.sockets(), socket)?;
        self.opened(&accepted.0);
        Ok(accepted)
    }

    fn drop(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<()> {
        if let Some(open) = self.open() {
            open.sockets.remove(&socket.rep());
        }
        HostTcpSocket::drop(&mut self.sockets(), socket)
    }
}

fn shown(address: IpSocketAddress) -> String {
    SocketAddr::from(address).to_string()
}
