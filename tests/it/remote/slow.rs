//! Servers and components that take all the time they get: nobody else waits for them.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use airssys_wasm::desired::spec::GitReference;
use airssys_wasm::source::remote::{Access, FetchJob, GitJob};
use airssys_wasm::worker::{FetchLimits, Workers};

use super::{component, desire, files, release, settings, until, url_source};
use crate::bombs;
use crate::components::idle;
use crate::harness::{Release, RunningHost, TRUSTED_SEED, World, stderr, stdout};
use crate::test_guest::TestGuest;
use crate::worker::{goes_on, processes};

/// A key that no server here has.
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBERERERERERERERERERERERERERERERERERERERERER";

/// An SSH server that begins well, announces a packet of 32 KiB, and sends one byte of it at a time for ever. Gives
/// its port, and how many connections are open.
fn dripping_ssh() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let open = count.clone();
            open.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = stream.write_all(b"SSH-2.0-drip\r\n\0\0\x80\0\x04");
                while stream.write_all(b"\0").is_ok() {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (port, open)
}

fn known_hosts(port: u16) -> String {
    format!("[127.0.0.1]:{port} {HOST_KEY}\n")
}

#[test]
fn g11_an_ssh_server_that_sends_a_byte_at_a_time_is_ended_for_want_of_progress() {
    let (port, open) = dripping_ssh();
    let dir = tempfile::tempdir().expect("a directory");
    let job = FetchJob::Git(GitJob {
        url: format!("ssh://git@127.0.0.1:{port}/r.git").parse().expect("a URL"),
        at: GitReference::Branch("main".to_owned()),
        path: ".".to_owned(),
        mirror: dir.path().join("mirror"),
        offline: false,
        access: Access { known_hosts: Some(known_hosts(port)), ssh_key: Some("k".into()), ..Access::default() },
    });
    // The deadline itself is far off: what ends it can only be the other rule.
    let limits =
        FetchLimits { time: Duration::from_secs(3_600), quiet: Duration::from_millis(500), ..FetchLimits::of(&job) };
    for workers in [processes(), Workers::InProcess] {
        let failure =
            workers.fetch(job.clone(), &limits, &goes_on(), Box::new(|_, _| {})).expect_err("nothing was found");
        assert_eq!(failure.code, "fetch-timeout", "{failure}");
        assert!(failure.message.contains("500 ms without any progress"), "{failure}");
        if workers != Workers::InProcess {
            until("the end of the worker", || open.load(Ordering::SeqCst) == 0);
        }
    }
}

#[test]
fn an_ssh_server_that_sends_a_byte_at_a_time_holds_up_no_other_source() {
    let world = World::new();
    let (port, open) = dripping_ssh();
    std::fs::write(world.path().join("known_hosts"), known_hosts(port)).expect("written");
    std::fs::write(world.path().join("token"), "secret").expect("written");
    std::fs::set_permissions(world.path().join("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("mode set");
    let place = world.path().display();
    settings(
        &world,
        &format!(
            "[credentials.\"127.0.0.1:{port}\"]\nknown-hosts-file = \"{place}/known_hosts\"\n\
             password-file = \"{place}/token\"\n"
        ),
    );
    for name in ["drip-a", "drip-b", "drip-c"] {
        desire(
            &world,
            name,
            &format!("[source.git]\nurl = \"ssh://git@127.0.0.1:{port}/{name}\"\nbranch = \"main\"\npath = \".\"\n"),
        );
    }
    let mut host = world.run();
    until("the slow connections", || open.load(Ordering::SeqCst) >= 1);
    let wasm = idle("1");
    let server = super::Server::new(files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    desire(&world, "other", &url_source(server.port, "other", ""));
    world.publish("idle", &release("1.0.0", 1, &wasm));
    world.desire("local", "test:idle", "idle", "");
    host.wait_for(&["other", "installed", "1.0.0"]);
    until("the local one", || component(&world, "local")["state"] == "running");
    assert!(open.load(Ordering::SeqCst) >= 1, "the slow server was given up before the others had their turn");
    assert!(host.stop().success());
    until("the end of the fetches", || open.load(Ordering::SeqCst) == 0);
}

#[test]
fn r13_a_compile_bomb_holds_up_neither_the_others_of_its_pass_nor_who_runs() {
    let world = World::new();
    let echo = TestGuest::new().handle("(call $ok_some (local.get $ptr) (local.get $len))").wasm();
    let bomb = bombs::many_functions();
    let of = |wasm| Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm };
    world.publish("echo", &of(&echo));
    world.publish("bomb", &of(&bomb));
    let (late, needy) = (idle("late"), idle("needy"));
    world.publish("late", &of(&late));
    world.publish("needy", &of(&needy));
    world.desire("running", "test:idle", "echo", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    // The bomb's name comes first, so that it has its turn before the other; both are there before the host looks.
    host.signal("STOP");
    world.desire_text(
        "needy",
        "package = \"test:idle\"\ndepends-on = [\"a-bomb\"]\n\n[source.file]\npath = \"../components/needy\"\n",
    );
    world.desire("a-bomb", "test:idle", "bomb", "");
    world.desire("late", "test:idle", "late", "");
    host.signal("CONT");
    host.wait_for(&["late", "installed", "1.0.0"]);
    assert!(
        !host.told().contains("needy"),
        "it started without what it depends on, or was said to fail:\n{}",
        host.told()
    );
    host.wait_for(&["a-bomb", "that goes on beside everything else"]);
    // It is told while its pass goes on, and shown after it.
    until("a status that says so", || stdout(&world.output(&["status"])).contains("compiling"));
    // Whoever waits for everything is told what for.
    let mut sync = RunningHost::spawn(world.command(&["sync"]));
    sync.wait_for(&["waits for code", "a-bomb", "needy"]);
    drop(sync);
    // From here on it is compiled beside the passes. A call has its own deadline, and what is dropped now does not wait.
    for n in 0..20 {
        let payload = format!("call {n}");
        let output = world.output(&["call", "running", &payload, "--timeout", "5s"]);
        assert_eq!(stdout(&output), payload, "{}", stderr(&output));
    }
    world.desire("dropped", "test:idle", "late", "");
    host.wait_for(&["dropped", "installed", "1.0.0"]);
    assert!(!host.told().contains("failed"), "the bomb was given up already: it shows nothing\n{}", host.told());
    // What depends on it waits with it, and starts without it in no pass.
    assert_eq!(world.committed().into_keys().collect::<Vec<_>>(), ["dropped", "late", "running"]);
    assert!(host.stop().success());
}
