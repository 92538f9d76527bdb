//! A server of one's own on a free port of this machine, that answers whatever a test makes up.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use openssl::ssl::SslAcceptor;

/// One connection, TLS or not.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// The whole head in lower case, but for values.
    pub head: String,
}

impl Request {
    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Writes an answer. An error or the end closes the connection.
type Script = dyn Fn(&Request, &mut dyn Stream) -> io::Result<()> + Send + Sync;

pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Serves plain HTTP.
    pub fn start(script: impl Fn(&Request, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(script))
    }

    /// Serves HTTP inside TLS.
    pub fn start_tls(
        acceptor: SslAcceptor,
        script: impl Fn(&Request, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(acceptor), Arc::new(script))
    }

    fn listen(acceptor: Option<SslAcceptor>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = Self { address, requests: Arc::default(), connections: Arc::default(), is_over: Arc::default() };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        let (is_over, acceptor) = (Arc::clone(&server.is_over), acceptor.map(Arc::new));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, script, acceptor) = (Arc::clone(&requests), Arc::clone(&script), acceptor.clone());
                // Ends when the client goes away: every script ends at the first write that fails.
                std::thread::spawn(move || {
                    let closing = stream.try_clone().expect("a second descriptor");
                    let _ = match acceptor {
                        None => converse(stream, &requests, &*script),
                        Some(acceptor) => match acceptor.accept(stream) {
                            Ok(stream) => converse(stream, &requests, &*script),
                            Err(_) => Ok(()),
                        },
                    };
                    let _ = closing.shutdown(Shutdown::Both);
                });
            }
        });
        server
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of the manifest, by the literal address.
    pub fn manifest(&self) -> String {
        format!("http://{}/a/Component.toml", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn converse(mut stream: impl Stream, requests: &Mutex<Vec<Request>>, script: &Script) -> io::Result<()> {
    loop {
        let request = read_head(&mut stream)?;
        requests.lock().expect("no panic").push(request.clone());
        script(&request, &mut stream)?;
        stream.flush()?;
    }
}

fn read_head(stream: &mut impl Read) -> io::Result<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Request { path, head })
}

/// A plain answer with a length.
pub fn answer(to: &mut dyn Stream, status: &str, headers: &[&str], body: &[u8]) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    to.write_all(head.as_bytes())?;
    to.write_all(body)
}

/// Ends the connection after what was written.
pub fn hang_up() -> io::Result<()> {
    Err(io::Error::other("the test hangs up"))
}
