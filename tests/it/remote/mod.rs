//! Sources on other machines with the real binary: from repositories and servers on this one.

mod confined;
mod git;
mod killed;
mod slow;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airssys_wasm::digest::Digest;
use airssys_wasm::trust::{SigningKey, sign_manifest};

use crate::components::idle;
use crate::harness::{PATIENCE, Release, TRUSTED_SEED, World, rename_into_place, stderr, stdout};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// Manifest, signature and wasm by name.
fn files(release: &Release<'_>, seed: [u8; 32]) -> BTreeMap<String, Vec<u8>> {
    let signed = sign_manifest(&release.draft(), release.wasm, None, &SigningKey::from_seed(&seed)).expect("signed");
    BTreeMap::from([
        ("Component.toml".to_owned(), signed.manifest.into_bytes()),
        ("Component.toml.sig".to_owned(), signed.signature.into_bytes()),
        ("component.wasm".to_owned(), release.wasm.to_vec()),
    ])
}

fn settings(world: &World, text: &str) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(world.home()).expect("made");
    std::fs::write(world.home().join("config.toml"), text).expect("written");
}

/// A server that says what it was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn on(listener: TcpListener, files: BTreeMap<String, Vec<u8>>) -> Self {
        let port = listener.local_addr().expect("bound").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, files) = (log.clone(), files.clone());
                std::thread::spawn(move || drop(answer(stream, &log, &files)));
            }
        });
        Self { port, asked }
    }

    fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("bound"), files)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("unpoisoned").clone()
    }
}

fn answer(stream: TcpStream, log: &Mutex<Vec<String>>, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        log.lock().expect("unpoisoned").push(path.clone());
        let body = files.get(path.rsplit('/').next().unwrap_or_default());
        let stream = reader.get_mut();
        match body {
            Some(body) => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
                stream.write_all(body)?;
            }
            None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
    }
}

fn url_source(port: u16, directory: &str, pin: &str) -> String {
    format!("[source.url]\nurl = \"http://127.0.0.1:{port}/{directory}/Component.toml\"\n{pin}\n")
}

fn desire(world: &World, name: &str, source: &str) {
    world.desire_text(name, &format!("package = \"test:idle\"\n\n{source}"));
}

/// The component's part of the status document.
fn component(world: &World, name: &str) -> serde_json::Value {
    let status = world.status();
    let components = status["components"].as_array().expect("an array");
    components.iter().find(|component| component["name"] == name).cloned().unwrap_or_default()
}

#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_url_is_installed_with_and_without_a_pin_and_a_wrong_pin_fetches_no_wasm() {
    let world = World::new();
    let wasm = idle("1");
    let server = Server::new(files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    let pin = |bytes: &[u8]| format!("sha256 = \"{}\"", Digest::of(bytes).hex());
    desire(&world, "bad", &url_source(server.port, "bad", &pin(b"another")));
    let planned = world.on_desired("plan", &[]);
    assert_eq!(planned.status.code(), Some(12));
    assert!(stdout(&planned).contains("[pin-mismatch]"), "{}", stdout(&planned));
    assert_eq!(server.asked(), ["/bad/Component.toml", "/bad/Component.toml.sig"]);
    desire(&world, "plain", &url_source(server.port, "plain", ""));
    desire(&world, "pinned", &url_source(server.port, "pinned", &pin(&wasm)));
    let applied = world.on_desired("apply", &["--exit-zero"]);
    assert!(applied.status.success(), "{}{}", stdout(&applied), stderr(&applied));
    assert_eq!(world.committed().keys().collect::<Vec<_>>(), ["pinned", "plain"]);
    // What is pinned and known is never asked for again.
    let before = server.asked().iter().filter(|path| path.starts_with("/pinned")).count();
    world.on_desired("plan", &[]);
    assert_eq!(server.asked().iter().filter(|path| path.starts_with("/pinned")).count(), before);
}

#[test]
fn an_artifact_that_nobody_trusted_signed_costs_no_byte_of_its_wasm() {
    let world = World::new();
    let wasm = idle("1");
    let server = Server::new(files(&release("1.0.0", 1, &wasm), [9; 32]));
    desire(&world, "a", &url_source(server.port, "a", ""));
    let planned = world.on_desired("plan", &[]);
    assert!(stdout(&planned).contains("[unknown-signer]"), "{}", stdout(&planned));
    assert_eq!(server.asked(), ["/a/Component.toml", "/a/Component.toml.sig"]);
}

#[test]
fn a_dead_server_holds_up_nobody_says_when_it_is_tried_again_and_heals_without_a_restart() {
    let world = World::new();
    let wasm = idle("1");
    world.publish("idle", &release("1.0.0", 1, &wasm));
    // A port that was free a moment ago: nobody listens.
    let port = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
    desire(&world, "remote", &url_source(port, "a", ""));
    world.desire("local", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["local", "installed", "1.0.0"]);
    until("a next try", || component(&world, "remote")["source"]["next_try_ms"].is_u64());
    let shown = stdout(&world.output(&["status", "remote"]));
    assert!(shown.contains("next try in") && shown.contains("[cannot-connect]"), "{shown}");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
    let _server = Server::on(listener, files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    host.wait_for(&["remote", "installed", "1.0.0"]);
    assert!(host.stop().success());
}

/// Counts how many connections are open at a time; never answers.
pub fn silent_listener() -> (u16, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (open.clone(), most.clone());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
            counts.1.fetch_max(now, Ordering::SeqCst);
            let open = counts.0.clone();
            std::thread::spawn(move || {
                let mut rest = [0; 1024];
                while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (port, open, most)
}

#[test]
fn u10_a_thousand_sources_on_a_silent_host_open_two_sockets_and_delay_no_file() {
    let world = World::new();
    let wasm = idle("1");
    world.publish("idle", &release("1.0.0", 1, &wasm));
    let (port, open, most) = silent_listener();
    for n in 0..1_000 {
        desire(&world, &format!("c{n}"), &url_source(port, &format!("c{n}"), ""));
    }
    let mut host = world.run();
    until("the first sockets", || open.load(Ordering::SeqCst) == 2);
    world.desire("local", "test:idle", "idle", "");
    let begun = Instant::now();
    host.wait_for(&["local", "installed", "1.0.0"]);
    println!("a file beside 1,000 sources on a silent host: {:?}", begun.elapsed());
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert!(host.stop().success());
    until("the end of the fetches", || open.load(Ordering::SeqCst) == 0);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn a_secret_of_the_settings_reaches_the_server_and_nothing_else() {
    const CANARY: &str = "c4nary-0f-the-settings";
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let token = world.path().join("token");
    rename_into_place(&token, CANARY.as_bytes());
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode;
    std::fs::set_permissions(&token, mode(0o600)).expect("mode set");
    settings(
        &world,
        &format!("[credentials.\"127.0.0.1:{port}\"]\nuser = \"u\"\npassword-file = \"{}\"\n", token.display()),
    );
    let wasm = idle("1");
    let _server = Server::on(listener, files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    desire(&world, "a", &url_source(port, "a", ""));
    let mut texts = String::new();
    for arguments in [&["plan"][..], &["apply"], &["plan", "--output", "json"]] {
        let output = world.on_desired(arguments[0], &arguments[1..]);
        texts += &format!("{}{}", stdout(&output), stderr(&output));
    }
    // Others may read it: refused by name, and not shown.
    std::fs::set_permissions(&token, mode(0o644)).expect("mode set");
    desire(&world, "b", &url_source(port, "b", ""));
    let output = world.on_desired("plan", &[]);
    assert!(stdout(&output).contains("[credentials-unreadable]"), "{}", stdout(&output));
    texts += &format!("{}{}", stdout(&output), stderr(&output));
    assert!(!texts.contains(CANARY), "{texts}");
    let hits: Vec<PathBuf> = crate::harness::tree(&world.home())
        .into_iter()
        .filter(|(_, (_, bytes))| bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(hits, Vec::<PathBuf>::new());
    assert!(Path::new(&token).exists());
}
