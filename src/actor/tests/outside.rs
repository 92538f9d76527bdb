//! Files, hosts and time, as they are granted: what works, every way out that is tried for real, and what it may hold.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::host::outside::{MAX_OPEN_FILES, MAX_OPEN_LISTS, MAX_SOCKETS};

const OUTSIDER: &[u8] = include_bytes!("../../../tests/guests/outsider.wasm");

/// A directory on disk, by the path that has no link in it.
struct Place(PathBuf, #[allow(dead_code, reason = "removed when it is dropped")] tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self(temp.path().canonicalize().unwrap(), temp)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn tree(&self, path: &str) -> &'static str {
        format!("{}/**", self.at(path).display()).leak()
    }
}

fn outsider(kind: &'static str, entries: Vec<&'static str>) -> Actor {
    Actor { outside: vec![(kind, entries)], ..Actor::new("guest") }
}

fn run(actor: &Actor) -> Host {
    let host = Host::new();
    host.run_wasm(actor, OUTSIDER);
    host
}

#[track_caller]
fn says(host: &Host, line: &str, expected: &str) {
    assert_eq!(answer(host, line), expected, "{line}");
}

fn answer(host: &Host, line: &str) -> String {
    match host.ask("guest", line.as_bytes()) {
        Ok(Some(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("{line}: {other:?}"),
    }
}

fn denied(host: &Host) -> Vec<String> {
    let line = |denial: &Denial| format!("{} {} {}", denial.permission, denial.what, denial.count);
    host.system.take_denials(true).iter().map(line).collect()
}

#[test]
fn a_tree_is_read_and_one_that_may_be_written_is_written_each_at_its_own_place() {
    let place = Place::new();
    fs::create_dir_all(place.at("in/deep")).unwrap();
    fs::create_dir(place.at("out")).unwrap();
    fs::write(place.at("in/deep/a"), "hello").unwrap();
    let mut actor = outsider("fs.read", vec![place.tree("in")]);
    actor.outside.push(("fs.write", vec![place.tree("out")]));
    let host = run(&actor);
    let (inside, outside) = (place.at("in"), place.at("out"));
    says(&host, "directories", &format!("ok {} {}", inside.display(), outside.display()));
    says(&host, "read 0:deep/a", "ok hello");
    says(&host, "list 0:deep", "ok a");
    says(&host, "write 1:b there", "ok 5");
    assert_eq!(fs::read_to_string(place.at("out/b")).unwrap(), "there");
    says(
        &host,
        "make 1:d\nrename 1:b 1:d/c\nread 1:d/c\nremove 1:d/c\nremove-directory 1:d",
        "ok\nok\nok there\nok\nok",
    );
    // What may only be read is not changed by any of the ways there are.
    for line in ["write 0:deep/a x", "write 0:new x", "make 0:new", "remove 0:deep/a", "symlink a 0:deep/l"] {
        says(&host, line, "not-permitted");
    }
    for line in ["rename 0:deep/a 0:deep/b", "rename 0:deep/a 1:stolen", "link 0:deep/a 1:alias", "link 0:deep/a 0:b"] {
        says(&host, line, "not-permitted");
    }
    assert_eq!(fs::read_to_string(place.at("in/deep/a")).unwrap(), "hello");
    assert!(!place.at("out/alias").exists() && !place.at("out/stolen").exists());
    let told = denied(&host);
    assert!(told.contains(&"fs.write deep/a 6".to_owned()), "{told:?}");
    assert_eq!(host.status("guest").denied, 9);
}

#[test]
fn no_path_leads_out_of_a_tree() {
    let place = Place::new();
    fs::create_dir_all(place.at("tree/in")).unwrap();
    fs::create_dir(place.at("tree2")).unwrap();
    fs::write(place.at("secret"), "secret").unwrap();
    fs::write(place.at("tree2/secret"), "secret").unwrap();
    symlink("../secret", place.at("tree/up")).unwrap();
    symlink(place.at("secret"), place.at("tree/absolute")).unwrap();
    symlink("..", place.at("tree/parent")).unwrap();
    symlink("in/../../secret", place.at("tree/round")).unwrap();
    symlink("/proc/self/root", place.at("tree/magic")).unwrap();
    symlink("loop", place.at("tree/loop")).unwrap();
    let host = run(&outsider("fs.write", vec![place.tree("tree")]));
    let absolute = place.at("secret");
    let absolute = absolute.display();
    // Spelled out, and by what stands there as a link.
    let spelled = [
        "../secret",
        "in/../../secret",
        "./../secret",
        "in/./.././../secret",
        "..",
        "../",
        "../tree2/secret",
        "/etc/passwd",
        "//etc/passwd",
        "in/../../../../etc/passwd",
        "in//../..//secret",
        "..//secret",
        "in/\u{0}/../..",
        "magic/etc/passwd",
        "parent/secret",
        "parent/tree2/secret",
        "in/../parent/secret",
    ];
    let links = ["up", "up/", "absolute", "absolute/", "round", "loop", "parent", "magic", "\u{0}"];
    let spelled: Vec<String> = spelled.into_iter().map(str::to_owned).chain([absolute.to_string()]).collect();
    for way in spelled.iter().map(String::as_str).chain(links) {
        for line in
            [format!("read 0:{way}"), format!("write 0:{way} x"), format!("stat 0:{way}"), format!("list 0:{way}")]
        {
            let said = answer(&host, &line);
            assert!(!said.starts_with("ok"), "{line}: {said}");
        }
    }
    for way in &spelled {
        for line in [
            format!("rename 0:{way} 0:stolen"),
            format!("link 0:{way} 0:stolen"),
            format!("rename 0:in 0:{way}"),
            format!("make 0:{way}"),
            format!("remove 0:{way}"),
            format!("symlink x 0:{way}"),
        ] {
            let said = answer(&host, &line);
            assert!(!said.starts_with("ok"), "{line}: {said}");
        }
    }
    // A link that it makes itself leads nowhere either.
    assert_ne!(answer(&host, "symlink /etc/passwd 0:own"), "ok");
    says(&host, "symlink ../../secret 0:in/own", "ok");
    let said = answer(&host, "read 0:in/own");
    assert!(!said.starts_with("ok"), "{said}");
    assert_eq!(fs::read_to_string(place.at("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(place.at("tree2")).unwrap().count(), 1);
}

#[test]
fn what_is_no_file_is_not_opened_so_that_nobody_waits_for_the_other_end_of_a_pipe() {
    let place = Place::new();
    fs::create_dir(place.at("tree")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.at("tree/pipe"), rustix::fs::Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.at("tree/socket")).unwrap();
    let host = run(&outsider("fs.write", vec![place.tree("tree")]));
    for line in ["read 0:pipe", "write 0:pipe x", "read 0:socket"] {
        says(&host, line, "not-permitted");
    }
}

#[test]
fn open_files_and_lists_are_counted_and_dropping_what_was_granted_makes_no_room() {
    let place = Place::new();
    fs::create_dir(place.at("tree")).unwrap();
    fs::write(place.at("tree/a"), "a").unwrap();
    let host = run(&outsider("fs.read", vec![place.tree("tree")]));
    for _ in 0..2 {
        says(&host, "open-many 0:a 1000", &format!("ok {MAX_OPEN_FILES} then insufficient-memory"));
        says(&host, "lists 0:. 100", &format!("ok {MAX_OPEN_LISTS} then insufficient-memory"));
    }
}

#[test]
fn a_directory_that_is_away_is_no_fault_of_the_component_and_what_is_the_hosts_own_is_nobodys() {
    let place = Place::new();
    fs::create_dir_all(place.at("home/state")).unwrap();
    let own = vec![place.at("home")];
    let host = Host::with(|config| config.own = own);
    let refused = |path: &str| {
        let actor = outsider("fs.read", vec![place.tree(path)]);
        host.prepare_compiled(&actor, &host.engine.compile_for_test(OUTSIDER).unwrap()).unwrap_err()
    };
    for (path, words) in
        [("none", "can't be opened"), ("home", "files of this host"), ("home/state", "files of this host")]
    {
        let error = refused(path);
        assert!(matches!(&error, PrepareError::Unavailable(text) if text.contains(words)), "{path}: {error:?}");
    }
}

/// A server that answers what it is told, until it is dropped.
fn server(address: &str) -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind(address).unwrap();
    let at = listener.local_addr().unwrap();
    let serve = move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut said = [0; 64];
            let length = stream.read(&mut said).unwrap_or_default();
            if &said[..length] == b"end" {
                return;
            }
            let _ = stream.write_all(&[b"you said ", &said[..length]].concat());
        }
    };
    (at, std::thread::spawn(serve))
}

fn end((at, thread): (std::net::SocketAddr, std::thread::JoinHandle<()>)) {
    TcpStream::connect(at).unwrap().write_all(b"end").unwrap();
    thread.join().unwrap();
}

#[test]
fn it_connects_to_exactly_what_it_was_granted_by_address_and_by_name() {
    let (one, other) = (server("127.0.0.1:0"), server("127.0.0.1:0"));
    let (granted, port) = (one.0.to_string(), one.0.port());
    let by_address = run(&outsider("net.connect", vec![granted.clone().leak()]));
    says(&by_address, &format!("get {granted} hello"), "ok you said hello");
    for line in [
        format!("get {} hello", other.0),
        format!("connect [::ffff:127.0.0.1]:{}", other.0.port()),
        "connect 127.0.0.1:22".to_owned(),
        "connect 169.254.169.254:80".to_owned(),
        "lookup localhost".to_owned(),
        "lookup example.com".to_owned(),
        "sockets udp".to_owned(),
        format!("listen 127.0.0.1:{port}"),
        "listen 0.0.0.0:8080".to_owned(),
    ] {
        says(&by_address, &line, "access-denied");
    }
    let told = denied(&by_address);
    assert!(told.contains(&"net.connect 169.254.169.254:80 1".to_owned()), "{told:?}");
    assert!(told.contains(&"net.connect example.com 1".to_owned()), "{told:?}");

    let by_name = run(&outsider("net.connect", vec![format!("localhost:{port}").leak()]));
    says(&by_name, &format!("connect 127.0.0.1:{port}"), "access-denied");
    says(&by_name, &format!("get localhost:{port} hello"), "ok you said hello");
    says(&by_name, &format!("connect 127.0.0.1:{port}"), "ok");
    says(&by_name, &format!("connect {}", other.0), "access-denied");
    end(one);
    end(other);
}

#[test]
fn it_listens_where_it_was_granted() {
    // Free a moment ago; nobody else on this machine takes it meanwhile but by chance.
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = run(&outsider("net.listen", vec![at.to_string().leak()]));
    says(&host, "listen 127.0.0.1:1", "access-denied");
    std::thread::scope(|scope| {
        let accepts = scope.spawn(|| answer(&host, &format!("accept {at}")));
        let mut stream = loop {
            match TcpStream::connect(at) {
                Ok(stream) => break stream,
                Err(_) => std::thread::yield_now(),
            }
        };
        stream.write_all(b"knock").unwrap();
        assert_eq!(accepts.join().unwrap(), "ok knock");
    });
}

#[test]
fn sockets_are_counted() {
    let host = run(&outsider("net.connect", vec!["127.0.0.1:1"]));
    says(&host, "sockets 1000", &format!("ok {MAX_SOCKETS} then new-socket-limit"));
    says(&host, "sockets 10", "ok 10");
}

#[test]
fn a_component_without_a_grant_has_no_directory_no_socket_and_no_time_to_wait() {
    let host = run(&Actor::new("guest"));
    says(&host, "directories", "ok");
    says(&host, "sockets 1", "ok 0 then access-denied");
    says(&host, "lookup localhost", "access-denied");
    match host.ask("guest", b"sleep 1") {
        Err(CallError::Crashed(text)) => assert!(text.contains("tried to wait"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wait_ends_with_the_time_of_its_call_and_holds_up_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let host = Host::new();
    let waiter = |name: &'static str| {
        let mut actor = Actor { name, ..outsider("net.connect", vec![at.clone().leak()]) };
        actor.limits.call = Millis(200);
        actor
    };
    // More of them than there are threads to begin with.
    let names = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"];
    names.iter().for_each(|name| host.run_wasm(&waiter(name), OUTSIDER));
    host.run(&Actor::new("good"), &echo());
    let line = format!("get {at} hello");
    std::thread::scope(|scope| {
        let waits = names.map(|name| {
            let (host, line) = (&host, &line);
            scope.spawn(move || host.ask(name, line.as_bytes()))
        });
        for _ in 0..100 {
            assert_eq!(host.ask("good", b"x"), Ok(Some(b"x".to_vec())));
        }
        for wait in waits {
            match wait.join().unwrap() {
                Err(CallError::Crashed(text)) => assert!(text.contains("longer than the 200ms"), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(host.ask("w0", b"sleep 1"), Ok(Some(b"ok".to_vec())), "a new one is there");
}

#[test]
fn a_component_that_waits_in_init_is_ended_in_time_and_one_that_waits_at_the_end_is_ended_with_the_host() {
    let host = Host::new();
    let mut actor = outsider("net.connect", vec!["127.0.0.1:1"]);
    actor.limits.init = Millis(100);
    actor.config = serde_json::json!({ "init": "sleep 60000" });
    let refused = host.prepare_compiled(&actor, &host.engine.compile_for_test(OUTSIDER).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("longer than the 100ms"), "{refused}");

    let mut actor = outsider("net.connect", vec!["127.0.0.1:1"]);
    actor.limits.call = Millis(30_000);
    host.run_wasm(&actor, OUTSIDER);
    let pending = host.system.begin_request(&name("guest"), b"sleep 29000".to_vec(), PATIENCE);
    host.until("it is in hand", || host.status("guest").mailbox_messages == 0);
    let begun = Instant::now();
    host.system.stop_all(Duration::from_millis(100));
    drop(host);
    assert!(begun.elapsed() < Duration::from_secs(20), "it was waited for");
    drop(pending);
}
