//! Packs that are small on the way and large at home, and fetches that are killed in the middle.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use git2::Oid;

use super::child;
use super::pkt;
use super::port::fetch;
use super::repository::{Origin, WASM, branch};
use super::server::{Behaviour, Request, Server, Stream};

/// Most memory that a fetch may take, in KiB; the test binary's own is in it.
const MAX_PEAK_KIB: u64 = 512 << 10;

/// Answers the request for a pack with this one, as far as the client reads.
fn bomb(origin: &Origin, pack: impl Fn(&mut dyn Stream) + Send + Sync + 'static) -> Server {
    let misbehave = move |request: &Request, stream: &mut dyn Stream| {
        if request.method != "POST" || !pkt::Asked::read(&request.body).is_done {
            return false;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-result\r\nconnection: close\r\n\r\n";
        let start = [head.as_bytes(), b"0000", &pkt::line(b"NAK\n")].concat();
        if stream.write_all(&start).is_ok() {
            pack(stream);
        }
        true
    };
    Server::start(origin.root(), Behaviour { misbehave: Some(Arc::new(misbehave)), ..Behaviour::default() })
}

/// What a child tells of fetching from the server: the code of the failure, and its peak of memory in KiB.
fn fetched_by_child(origin: &Origin, server: &Server) -> (String, u64) {
    let output = child::command("fetch")
        .env("CHILD_URL", server.url("origin.git"))
        .env("CHILD_MIRROR", origin.mirror())
        .output()
        .expect("the child runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |word: &str| told.lines().find_map(|line| line.strip_prefix(word)).map(str::to_owned);
    let code = line("failed ").and_then(|rest| Some(rest.split_once(':')?.0.to_owned()));
    let peak = line("peak ").and_then(|peak| peak.parse().ok());
    match (code, peak) {
        (Some(code), Some(peak)) => (code, peak),
        _ => panic!("{told}\n{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Zeros, deflated: stored blocks would be large, so the block is one that repeats.
fn deflated_zeros(bytes: u64) -> Vec<u8> {
    // A header, then a fixed Huffman block: a literal zero and matches of 258 at distance 1.
    let mut bits = Bits::default();
    bits.low(1, 1);
    bits.low(1, 2);
    bits.huffman(0b0011_0000, 8);
    let mut left = bytes - 1;
    while left >= 258 {
        bits.huffman(0b1100_0101, 8);
        bits.huffman(0, 5);
        left -= 258;
    }
    for _ in 0..left {
        bits.huffman(0b0011_0000, 8);
    }
    bits.huffman(0, 7);
    let mut deflated = vec![0x78, 0x9c];
    deflated.extend(bits.finish());
    // Adler-32 of zeros: the first sum stays 1, the second counts the bytes.
    let second = u32::try_from(bytes % 65_521).expect("small");
    deflated.extend_from_slice(&((second << 16) | 1).to_be_bytes());
    deflated
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    current: u64,
    count: u32,
}

impl Bits {
    fn low(&mut self, value: u64, count: u32) {
        self.current |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push((self.current & 0xff) as u8);
            self.current >>= 8;
            self.count -= 8;
        }
    }

    fn huffman(&mut self, code: u64, count: u32) {
        for bit in (0..count).rev() {
            self.low((code >> bit) & 1, 1);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.low(0, 7);
        self.bytes
    }
}

/// A stored block: what is small needs no compressing.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("small");
    let mut block = vec![0x78, 0x01, 1];
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&(!length).to_le_bytes());
    block.extend_from_slice(bytes);
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    block.extend_from_slice(&((b << 16) | a).to_be_bytes());
    block
}

fn size(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn g6_a_header_that_speaks_of_ten_million_objects_is_refused_at_once() {
    let (origin, _) = Origin::with_artifact();
    let pack = pkt::raw_pack(10_000_000, &[(3, 1, stored(b"x"))]);
    let server = bomb(&origin, move |stream| drop(stream.write_all(&pkt::banded(&pack))));
    let (code, peak) = fetched_by_child(&origin, &server);
    assert_eq!(code, "too-many-objects");
    assert!(peak < MAX_PEAK_KIB, "{peak} KiB");
}

#[test]
fn g6_a_gigabyte_of_zeros_in_one_object_costs_no_memory() {
    let (origin, _) = Origin::with_artifact();
    let bytes = 1 << 30;
    let pack = pkt::raw_pack(1, &[(3, bytes, deflated_zeros(bytes))]);
    assert!(pack.len() < 16 << 20, "{} bytes", pack.len());
    let server = bomb(&origin, move |stream| drop(stream.write_all(&pkt::banded(&pack))));
    let (code, peak) = fetched_by_child(&origin, &server);
    // It is hashed piece by piece; then the commit that was asked for is not there.
    assert_eq!(code, "damaged-objects");
    assert!(peak < MAX_PEAK_KIB, "{peak} KiB");
}

#[test]
fn g6_a_small_delta_that_makes_two_gigabytes_is_refused_before_they_are_made() {
    let (origin, _) = Origin::with_artifact();
    let base = vec![b'b'; 60_000];
    let id = Oid::hash_object(git2::ObjectType::Blob, &base).expect("hashed");
    let result = 2_000_000_000;
    // Copies of the base, and the result's size before them.
    let mut delta = [size(base.len() as u64), size(result)].concat();
    for _ in 0..(result / base.len() as u64) {
        delta.extend_from_slice(&[0x80 | 0x10 | 0x20, 0x60, 0xea]);
        if delta.len() > 60_000 {
            break;
        }
    }
    let object = [id.as_bytes(), &stored(&delta)].concat();
    let pack = pkt::raw_pack(2, &[(3, base.len() as u64, stored(&base)), (7, delta.len() as u64, object)]);
    let server = bomb(&origin, move |stream| drop(stream.write_all(&pkt::banded(&pack))));
    let (code, peak) = fetched_by_child(&origin, &server);
    assert_eq!(code, "object-too-large");
    assert!(peak < MAX_PEAK_KIB, "{peak} KiB");
}

#[test]
fn g12_a_fetch_that_is_killed_in_the_middle_leaves_a_mirror_that_the_next_one_uses() {
    let (origin, first) = Origin::with_artifact();
    let (sender, in_the_middle) = channel();
    let sender = std::sync::Mutex::new(sender);
    let stuck = bomb(&origin, move |stream| {
        let header = pkt::line(&[&[1u8][..], b"PACK\0\0\0\x02\0\0\0\x09"].concat());
        let _ = stream.write_all(&header);
        let _ = stream.flush();
        let _ = sender.lock().expect("not poisoned").send(());
        let _ = stream.read(&mut [0]);
    });
    for _ in 0..10 {
        let mut child = child::command("fetch")
            .env("CHILD_URL", stuck.url("origin.git"))
            .env("CHILD_MIRROR", origin.mirror())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("started");
        in_the_middle.recv_timeout(Duration::from_secs(60)).expect("it came to the pack");
        let note = origin.mirror().join("snapshot.fetching");
        let until = Instant::now() + Duration::from_secs(60);
        while !note.exists() {
            assert!(Instant::now() < until, "the note that it writes is there");
            std::thread::yield_now();
        }
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
    assert!(origin.mirror().join("snapshot.fetching").exists());
    let good = Server::start(origin.root(), Behaviour::default());
    let job = |url: String| airssys_wasm::source::remote::GitJob {
        url: url.parse().expect("a URL"),
        ..origin.job(branch("main"))
    };
    assert_eq!(fetch(&job(good.url("origin.git")), WASM.len()).expect("redone").commit, first.to_string());
    let packs = std::fs::read_dir(origin.mirror().join("snapshot.git/objects/pack")).expect("listed");
    let names: Vec<_> = packs.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names.len(), 2, "a pack and its index, and nothing half: {names:?}");
    assert!(!origin.mirror().join("snapshot.fetching").exists());
}
