//! Measures what a message costs by way of a message server on this machine, the way that other hosts of components take.
//!
//! The server is `nats-server`, started for this on a free port of the loopback interface. Two clients play one message to
//! and fro over plain TCP. Where the program is missing the row is left out, and that is said.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How long the server may take until it answers.
const START: Duration = Duration::from_secs(10);
/// How long a client waits for one message.
const ONE_MESSAGE: Duration = Duration::from_secs(10);

/// A running server; it ends with this value.
pub struct Server {
    process: Child,
    at: SocketAddr,
}

impl Server {
    /// None where there is no such program.
    pub fn start() -> anyhow::Result<Option<Self>> {
        // Free a moment ago, which is as sure as it gets with a program that wants to be told its port.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
        let process = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            started => started.context("nats-server could not be started")?,
        };
        let server = Self { process, at: (Ipv4Addr::LOCALHOST, port).into() };
        let until = Instant::now() + START;
        while TcpStream::connect(server.at).is_err() {
            anyhow::ensure!(Instant::now() < until, "nats-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(server))
    }

    /// Messages of `bytes` each that two clients play to and fro within `window`, and how long that took.
    pub fn ping_pong(&self, bytes: usize, window: Duration) -> anyhow::Result<(u64, Duration)> {
        let (mut here, mut there) = (Client::connect(self.at, "here")?, Client::connect(self.at, "there")?);
        let payload = vec![b'x'; bytes];
        let answering = std::thread::spawn(move || -> anyhow::Result<()> {
            // An empty message ends the play.
            loop {
                let message = there.receive()?;
                there.publish("here", &message)?;
                if message.is_empty() {
                    return Ok(());
                }
            }
        });
        let (mut messages, begun) = (0, Instant::now());
        while begun.elapsed() < window {
            here.publish("there", &payload)?;
            anyhow::ensure!(here.receive()? == payload, "the server brings another message");
            messages += 2;
        }
        let took = begun.elapsed();
        here.publish("there", &[])?;
        here.receive()?;
        answering.join().expect("the thread that answers")?;
        Ok((messages, took))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One connection that listens to one subject.
struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    out: Vec<u8>,
}

impl Client {
    fn connect(at: SocketAddr, subject: &str) -> anyhow::Result<Self> {
        let writer = TcpStream::connect(at)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(ONE_MESSAGE))?;
        let mut client = Self { reader: BufReader::new(writer.try_clone()?), writer, out: Vec::new() };
        let info = client.line()?;
        anyhow::ensure!(info.starts_with("INFO "), "the server begins with {info:?}");
        write!(client.writer, "CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n")?;
        // The answer to the last word comes when the subscription stands.
        while client.line()? != "PONG" {}
        Ok(client)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        anyhow::ensure!(self.reader.read_line(&mut line)? > 0, "the server closed the connection");
        Ok(line.trim_end().to_owned())
    }

    fn publish(&mut self, subject: &str, payload: &[u8]) -> anyhow::Result<()> {
        self.out.clear();
        write!(self.out, "PUB {subject} {}\r\n", payload.len())?;
        self.out.extend_from_slice(payload);
        self.out.extend_from_slice(b"\r\n");
        Ok(self.writer.write_all(&self.out)?)
    }

    fn receive(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            let line = self.line()?;
            if line == "PING" {
                self.writer.write_all(b"PONG\r\n")?;
                continue;
            }
            let size = line.strip_prefix("MSG ").and_then(|rest| rest.rsplit(' ').next()?.parse::<usize>().ok());
            let size = size.with_context(|| format!("the server says {line:?}"))?;
            let mut message = vec![0; size + 2];
            self.reader.read_exact(&mut message)?;
            message.truncate(size);
            return Ok(message);
        }
    }
}
