//! Hosts: TCP, by name or address.

use std::net::SocketAddr;

use wasi::io::streams::StreamError;
use wasi::sockets::instance_network::instance_network;
use wasi::sockets::ip_name_lookup::resolve_addresses;
use wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use wasi::sockets::tcp::TcpSocket;
use wasi::sockets::tcp_create_socket::create_tcp_socket;
use wasi::sockets::udp_create_socket::create_udp_socket;

pub fn obey(words: &[&str]) -> Result<String, String> {
    carry_out(words).map_err(|error| error.name().to_owned())
}

fn carry_out(words: &[&str]) -> Result<String, ErrorCode> {
    match *words {
        ["lookup", name] => {
            let addresses = lookup(name)?;
            Ok(addresses.iter().map(|address| format!("{address:?}")).collect::<Vec<_>>().join(" "))
        }
        ["connect", address] => connect(parsed(address)).map(|_| String::new()),
        // Says something and gives what comes back until the other end is done.
        ["get", address, words] => get(connect(parsed(address))?, words),
        ["listen", address] => listen(parsed(address)).map(|_| String::new()),
        // Lets one in and gives what it says.
        ["accept", address] => accept(parsed(address)),
        ["sockets", "udp"] => create_udp_socket(IpAddressFamily::Ipv4).map(|_| String::new()),
        ["sockets", count] => sockets(count.parse().expect("a number")),
        _ => panic!("no such word: {words:?}"),
    }
}

fn lookup(name: &str) -> Result<Vec<IpAddress>, ErrorCode> {
    let network = instance_network();
    let answer = resolve_addresses(&network, name)?;
    let mut addresses = Vec::new();
    loop {
        match answer.resolve_next_address() {
            Ok(Some(address)) => addresses.push(address),
            Ok(None) => return Ok(addresses),
            Err(ErrorCode::WouldBlock) => answer.subscribe().block(),
            Err(error) => return Err(error),
        }
    }
}

/// An address and a port; a name is looked up first.
fn parsed(text: &str) -> SocketAddr {
    if let Ok(address) = text.parse() {
        return address;
    }
    let (name, port) = text.rsplit_once(':').expect("a port");
    let port = port.parse().expect("a number");
    match lookup(name).ok().and_then(|addresses| addresses.into_iter().next()) {
        Some(IpAddress::Ipv4((a, b, c, d))) => SocketAddr::from(([a, b, c, d], port)),
        Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h))) => SocketAddr::from(([a, b, c, d, e, f, g, h], port)),
        None => SocketAddr::from(([0, 0, 0, 0], port)),
    }
}

fn place(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.ip().segments();
            let address = (a, b, c, d, e, f, g, h);
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port: 0, flow_info: 0, address, scope_id: 0 })
        }
    }
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

/// The streams go before their socket.
type Connected = (wasi::io::streams::InputStream, wasi::io::streams::OutputStream, TcpSocket);

fn connect(to: SocketAddr) -> Result<Connected, ErrorCode> {
    let network = instance_network();
    let socket = create_tcp_socket(family(to))?;
    socket.start_connect(&network, place(to))?;
    loop {
        match socket.finish_connect() {
            Ok((input, output)) => return Ok((input, output, socket)),
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            Err(error) => return Err(error),
        }
    }
}

fn get(connected: Connected, words: &str) -> Result<String, ErrorCode> {
    let (input, output, _) = &connected;
    output.blocking_write_and_flush(words.as_bytes()).map_err(|_| ErrorCode::ConnectionReset)?;
    let mut bytes = Vec::new();
    loop {
        match input.blocking_read(4_096) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(StreamError::LastOperationFailed(_)) => return Err(ErrorCode::ConnectionReset),
        }
    }
}

fn listen(on: SocketAddr) -> Result<TcpSocket, ErrorCode> {
    let network = instance_network();
    let socket = create_tcp_socket(family(on))?;
    socket.start_bind(&network, place(on))?;
    socket.finish_bind()?;
    socket.start_listen()?;
    socket.finish_listen()?;
    Ok(socket)
}

fn accept(on: SocketAddr) -> Result<String, ErrorCode> {
    let listener = listen(on)?;
    loop {
        match listener.accept() {
            Ok((socket, input, output)) => {
                let said = input.blocking_read(4_096).map_err(|_| ErrorCode::ConnectionReset)?;
                drop((input, output, socket));
                return Ok(String::from_utf8_lossy(&said).into_owned());
            }
            Err(ErrorCode::WouldBlock) => listener.subscribe().block(),
            Err(error) => return Err(error),
        }
    }
}

fn sockets(count: usize) -> Result<String, ErrorCode> {
    let mut open = Vec::new();
    for _ in 0..count {
        match create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(socket) => open.push(socket),
            Err(error) => return Ok(format!("{} then {}", open.len(), error.name())),
        }
    }
    Ok(open.len().to_string())
}
