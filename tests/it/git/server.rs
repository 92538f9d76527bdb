//! A Git server over HTTP and TLS in this process, that can be told to misbehave.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use git2::Repository;
use openssl::ssl::SslAcceptor;

use super::pkt;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Either end of a connection.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// What to do in place of serving: `true` when the connection was dealt with.
pub type Misbehaviour = dyn Fn(&Request, &mut dyn Stream) -> bool + Send + Sync;

/// How a server is.
#[derive(Clone)]
pub struct Behaviour {
    /// With TLS, or without.
    pub tls: Option<Arc<SslAcceptor>>,
    /// What the capabilities say besides the usual ones.
    pub any_id: bool,
    pub misbehave: Option<Arc<Misbehaviour>>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { tls: None, any_id: true, misbehave: None }
    }
}

/// A server on a free port of the loopback address. It serves `ROOT/NAME` as `/NAME`.
pub struct Server {
    address: SocketAddr,
    is_tls: bool,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(root: &Path, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (root, log, is_tls) = (root.to_owned(), Arc::clone(&requests), behaviour.tls.is_some());
        // Lives as long as the tests: connections that hang are part of them.
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (root, log, behaviour) = (root.clone(), Arc::clone(&log), behaviour.clone());
                std::thread::spawn(move || match &behaviour.tls {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(connection) {
                            serve(stream, &root, &log, &behaviour);
                        }
                    }
                    None => serve(connection, &root, &log, &behaviour),
                });
            }
        });
        Self { address, is_tls, requests }
    }

    /// The URL of something below the root.
    pub fn url(&self, name: &str) -> String {
        self.url_as("127.0.0.1", name)
    }

    /// The same by another name of this machine.
    pub fn url_as(&self, host: &str, name: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}/{name}", self.address.port())
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

fn serve(mut stream: impl Stream, root: &Path, log: &Mutex<Vec<Request>>, behaviour: &Behaviour) {
    let Some(request) = read_request(&mut stream) else { return };
    log.lock().expect("not poisoned").push(request.clone());
    if behaviour.misbehave.as_ref().is_some_and(|misbehave| misbehave(&request, &mut stream)) {
        return;
    }
    match answer(root, &request, behaviour) {
        (Some(kind), body) => respond(&mut stream, "200 OK", &[("content-type", kind)], &body),
        (None, _) => respond(&mut stream, "404 Not Found", &[], b"nothing here"),
    }
}

/// Writes one answer.
pub fn respond(stream: &mut dyn Stream, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    // The client may have gone.
    let _ = stream.write_all(&[head.as_bytes(), b"\r\n", body].concat());
    let _ = stream.flush();
}

fn answer(root: &Path, request: &Request, behaviour: &Behaviour) -> (Option<&'static str>, Vec<u8>) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let repository = |suffix: &str| -> Option<Repository> {
        let name = path.strip_suffix(suffix)?.trim_start_matches('/');
        Repository::open_bare(PathBuf::from(root).join(name)).ok()
    };
    if let Some(repository) = repository("/info/refs").filter(|_| query == "service=git-upload-pack") {
        let ids = if behaviour.any_id { " allow-tip-sha1-in-want allow-reachable-sha1-in-want" } else { "" };
        let capabilities = format!("multi_ack_detailed side-band-64k ofs-delta shallow agent=test{ids}");
        return (Some("application/x-git-upload-pack-advertisement"), pkt::advertisement(&repository, &capabilities));
    }
    if let Some(repository) = repository("/git-upload-pack").filter(|_| request.method == "POST") {
        let body = pkt::answer(&repository, &pkt::Asked::read(&request.body), behaviour.any_id);
        return (Some("application/x-git-upload-pack-result"), body);
    }
    (None, Vec::new())
}

fn read_request(stream: &mut impl Stream) -> Option<Request> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = next()?;
    let mut words = first.split(' ');
    let mut request =
        Request { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Request::default() };
    while let Some((name, value)) = next()?.split_once(": ") {
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
