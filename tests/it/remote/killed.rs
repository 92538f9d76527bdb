//! `kill -9` while something is fetched: the next start converges, takes nothing torn, and leaves nothing behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{desire, files, release, until, url_source};
use crate::components::idle;
use crate::crash::kill_everywhere;
use crate::git::server::{Behaviour, Server as GitServer};
use crate::harness::{TRUSTED_SEED, World, stderr, stdout};
use crate::scale::cases;

/// Bytes that a component has besides its own: more than one piece of a transfer.
const PADDING_BYTES: usize = 1 << 20;

/// A component with a custom section that makes it large.
fn large() -> Vec<u8> {
    let mut wasm = idle("1");
    let content = [&[1, b'p'][..], &vec![7; PADDING_BYTES]].concat();
    let mut left = content.len();
    wasm.push(0);
    while left > 0x7f {
        wasm.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    wasm.push(left as u8);
    wasm.extend(content);
    wasm
}

#[test]
fn p6_a_fetch_from_behind_a_url_killed_at_every_state_changing_call_converges() {
    let wasm = idle("1");
    let server = super::Server::new(files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    kill_everywhere(
        "fetch from a URL",
        |_| {},
        |world| desire(world, "one", &url_source(server.port, "one", "")),
        &[("one", "1.0.0")],
    );
}

#[test]
fn p6_a_fetch_from_a_repository_killed_at_every_state_changing_call_converges() {
    let wasm = idle("1");
    let origin = World::new();
    super::git::Repository::new(&origin).commit(&files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    let server = GitServer::start(origin.path(), Behaviour::default());
    let url = server.url("releases.git");
    let source = format!("[source.git]\nurl = \"{url}\"\nbranch = \"main\"\npath = \".\"\n");
    kill_everywhere("fetch from a repository", |_| {}, |world| desire(world, "one", &source), &[("one", "1.0.0")]);
}

/// A server that sends half of the wasm and waits, until it is told to send all.
struct Halfway {
    port: u16,
    waiting: Arc<AtomicUsize>,
    sends_all: Arc<AtomicBool>,
}

impl Halfway {
    fn start(files: std::collections::BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let this = Self { port, waiting: Arc::default(), sends_all: Arc::default() };
        let (waiting, sends_all) = (this.waiting.clone(), this.sends_all.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (files, waiting, sends_all) = (files.clone(), waiting.clone(), sends_all.clone());
                std::thread::spawn(move || serve(stream, &files, &waiting, &sends_all));
            }
        });
        this
    }
}

fn serve(
    stream: TcpStream,
    files: &std::collections::BTreeMap<String, Vec<u8>>,
    waiting: &AtomicUsize,
    sends_all: &AtomicBool,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let name = line.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        }
        let body = files.get(&name)?;
        let stream = reader.get_mut();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
        if name == "component.wasm" && !sends_all.load(Ordering::SeqCst) {
            stream.write_all(&body[..body.len() / 2]).ok()?;
            waiting.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0]);
            waiting.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        stream.write_all(body).ok()?;
    }
}

/// Files in scratch, and their bytes together.
fn scratch(world: &World) -> (usize, u64) {
    let entries = std::fs::read_dir(world.home().join("state/scratch")).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()));
    sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size))
}

fn objects(world: &World) -> u64 {
    let sizes = |(_, (_, bytes)): (_, (_, Vec<u8>))| bytes.len() as u64;
    crate::harness::tree(&world.home().join("state/objects")).into_iter().map(sizes).sum()
}

#[test]
fn g12_hosts_that_are_killed_halfway_through_a_fetch_leave_no_more_than_one_of_them_does() {
    let world = World::new();
    let wasm = large();
    let server = Halfway::start(files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    desire(&world, "one", &url_source(server.port, "one", ""));
    let has_some = |least: u64| scratch(&world).1 >= least;
    for round in 0..cases(20) {
        let host = world.run();
        until("half of the wasm", || server.waiting.load(Ordering::SeqCst) == 1 && has_some(1));
        let (count, bytes) = scratch(&world);
        assert!(count <= 2 && bytes <= wasm.len() as u64, "round {round}: {count} files of {bytes} bytes");
        assert!(objects(&world) < wasm.len() as u64 / 2, "round {round}: half of a wasm is an object");
        host.kill();
        assert!(has_some(1), "a killed host cleaned up: this shows nothing");
        until("the worker's end", || server.waiting.load(Ordering::SeqCst) == 0);
    }
    server.sends_all.store(true, Ordering::SeqCst);
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    assert_eq!(scratch(&world), (0, 0));
    assert!(host.stop().success());
    whole(&world);
}

/// Nothing of the state is torn.
#[track_caller]
fn whole(world: &World) {
    let trust = world.trust();
    let checked = world.output(&["fsck", "--trust", &trust.to_string_lossy()]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
    assert!(Path::new(&trust).exists());
}
