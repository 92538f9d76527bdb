//! What is stored outlives `kill -9`: of a process that does nothing but write, and of a host with a component.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;

use airssys_wasm::permission::StorageLevel;
use airssys_wasm::storage::{BackendKind, Quota, Rules, Store};

use crate::guides::commands;
use crate::harness::{PATIENCE, Release, World, desired_text, stderr, stdout};
use crate::scale::cases;
use crate::test_guest::TestGuest;

/// Tells the helper where to write, and with which backend.
const DIRECTORY: &str = "AIRSSYS_TEST_STORE";
const BACKEND: &str = "AIRSSYS_TEST_STORE_BACKEND";
/// Threads of the helper, each with a storage of its own.
const WRITERS: u64 = 4;
/// Keys that a writer goes around.
const ROUND: u64 = 50;

fn rules() -> Rules {
    Rules { level: Some(StorageLevel::ReadWrite), quota: Quota::default(), writes: true }
}

fn open(kind: BackendKind, directory: &Path) -> Arc<Store> {
    Arc::new(Store::open(kind, directory).unwrap_or_else(|error| panic!("{error}")))
}

fn number(store: &Arc<Store>, id: u64, key: &str) -> Option<u64> {
    let value = store.begin(id, rules()).get(key).expect("readable")?;
    Some(u64::from_be_bytes(value[..8].try_into().expect("a number")))
}

/// One call: the number under three keys, and something that takes room.
fn write(store: &Arc<Store>, id: u64, number: u64) {
    let mut call = store.begin(id, rules());
    let bytes = number.to_be_bytes();
    call.set("first", &bytes).expect("taken");
    call.set(&format!("round/{}", number % ROUND), &[&bytes[..], &[7; 2_000]].concat()).expect("taken");
    call.set("last", &bytes).expect("taken");
    store.commit(call.finish().expect("no failure").expect("changes")).expect("committed");
}

/// The helper process: writes until it is killed, and says what was acknowledged.
#[test]
#[ignore = "the process that the tests of this file start and kill"]
fn writes_until_it_is_killed() {
    let directory = std::env::var(DIRECTORY).expect("started by a test of this file");
    let kind: BackendKind = std::env::var(BACKEND).expect("set").parse().expect("a backend");
    let store = open(kind, Path::new(&directory));
    std::thread::scope(|scope| {
        for id in 1..=WRITERS {
            let store = &store;
            scope.spawn(move || {
                for n in number(store, id, "last").map_or(0, |n| n + 1).. {
                    write(store, id, n);
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "wrote {id} {n}").and_then(|()| out.flush()).expect("the parent reads");
                }
            });
        }
    });
}

fn start(kind: BackendKind, directory: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "storage::writes_until_it_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(BACKEND, kind.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}

/// Starts the helper and kills it after so many acknowledged calls. Returns the last ones, by storage.
fn kill_after(kind: BackendKind, directory: &Path, calls: u64, acknowledged: &mut [Option<u64>]) {
    let mut child = start(kind, directory);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut take = |line: String| -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        // A line can be cut off by the kill; a number that lost its end would be too small, which is fine to ask for.
        let ["wrote", id, n] = words[..] else { return false };
        let (Ok(id), Ok(n)) = (id.parse::<usize>(), n.parse::<u64>()) else { return false };
        acknowledged[id] = acknowledged[id].max(Some(n));
        true
    };
    let mut left = calls;
    while left > 0 {
        let line = lines.next().expect("the helper ended by itself").expect("readable");
        left -= u64::from(take(line));
    }
    child.kill().expect("killed");
    // What it said before it died was acknowledged, too.
    lines.map_while(Result::ok).for_each(|line| {
        take(line);
    });
    child.wait().expect("gone");
}

fn check(store: &Arc<Store>, acknowledged: &[Option<u64>], kill: u64) {
    for id in 1..=WRITERS {
        let last = number(store, id, "last");
        assert!(last >= acknowledged[id as usize], "kill {kill}: storage {id} lost {acknowledged:?}, it has {last:?}");
        assert_eq!(number(store, id, "first"), last, "kill {kill}: half a call in storage {id}");
        for n in last.map_or(0, |last| (last + 1).saturating_sub(ROUND))..last.map_or(0, |last| last + 1) {
            assert_eq!(number(store, id, &format!("round/{}", n % ROUND)), Some(n), "kill {kill}: storage {id}");
        }
    }
    let differences = store.verify().expect("readable").differences;
    assert_eq!(differences, [], "kill {kill}");
}

fn kill_again_and_again(kind: BackendKind, kills: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut acknowledged = [None; WRITERS as usize + 1];
    for kill in 0..kills {
        // From the first writes to some that fill a journal.
        kill_after(kind, directory.path(), 1 + kill * 37 % 200, &mut acknowledged);
        check(&open(kind, directory.path()), &acknowledged, kill);
    }
}

#[test]
fn what_fjall_acknowledged_outlives_kills() {
    kill_again_and_again(BackendKind::Fjall, cases(50));
}

#[test]
fn what_redb_acknowledged_outlives_kills() {
    kill_again_and_again(BackendKind::Redb, cases(10));
}

/// There was a fault in fjall by which writes after such a kill waited for ever for a flush.
#[test]
fn a_thousand_writes_end_after_a_kill_under_load() {
    for kill in 0..cases(10) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut acknowledged = [None; WRITERS as usize + 1];
        kill_after(BackendKind::Fjall, directory.path(), 2_000, &mut acknowledged);
        let store = open(BackendKind::Fjall, directory.path());
        let (done, is_done) = channel();
        let writer = Arc::clone(&store);
        std::thread::spawn(move || {
            for n in 0..1_000 {
                write(&writer, WRITERS + 1, n);
            }
            done.send(()).expect("the test waits");
        });
        assert!(is_done.recv_timeout(PATIENCE).is_ok(), "kill {kill}: the writes are stuck");
    }
}

/// `g` answers with the value of `k`; all others put what they got there.
fn keeper() -> Vec<u8> {
    let handle = r#"(if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 103)) (then
          (call $host_load @"k" (i32.const 256))
          (if (i32.load8_u (i32.const 264))
            (then (return (call $ok_some (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
          (return (call $error @"nothing there"))))
        (call $host_store @"k" (local.get $ptr) (local.get $len) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then (return (call $error @"not taken"))))
        (call $ok_none)"#;
    TestGuest::new().storage().handle(handle).wasm()
}

/// A world with one component that keeps things.
fn world_of_a_keeper() -> World {
    let world = World::new();
    let policy = std::fs::read_to_string(world.trust()).expect("a policy");
    world.trust_text(&policy.replace("send = [\"*\"]", "storage = \"read-write\", send = [\"*\"]"));
    world.publish("keeper", &release(1));
    world.desire("keeper", "test:keeper", "keeper", "[grant]\nstorage = \"read-write\"");
    world
}

fn release(sequence: u64) -> Release<'static> {
    static WASM: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(keeper);
    let version = ["1.0.0", "1.1.0"][sequence as usize - 1];
    Release { package: "test:keeper", version, sequence, more: "[permissions]\nstorage = \"read-write\"", wasm: &WASM }
}

#[track_caller]
fn call(world: &World, name: &str, payload: &str) -> String {
    let output = world.output(&["call", name, payload]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).trim_end().to_owned()
}

#[test]
fn a_component_keeps_what_it_stored_over_a_kill_an_update_and_a_move() {
    let world = world_of_a_keeper();
    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    call(&world, "keeper", "set one");
    host.kill();

    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    assert_eq!(call(&world, "keeper", "g"), "set one");
    world.publish("keeper", &release(2));
    host.wait_for(&["updated", "1.1.0"]);
    assert_eq!(call(&world, "keeper", "g"), "set one");

    std::fs::remove_file(world.desired().join("keeper.toml")).expect("removed");
    let more = "moved-from = \"keeper\"";
    let text = format!("{more}\n{}", desired_text("test:keeper", "keeper", "[grant]\nstorage = \"read-write\""));
    world.desire_text("safe", &text);
    host.wait_for(&["moved", "safe"]);
    assert_eq!(call(&world, "safe", "g"), "set one");
    assert!(host.stop().success());
}

/// Everything that `docs/storage.md` says, in its order, on a home with one component that is there and one that was.
#[test]
fn the_guide_lists_checks_copies_purges_and_changes_the_store() {
    let world = world_of_a_keeper();
    let keeper = std::fs::read_to_string(world.desired().join("keeper.toml")).expect("readable");
    world.desire_text("gone", &keeper);
    let mut host = world.run();
    host.wait_for(&["converged", "2 of 2 running"]);
    call(&world, "keeper", "set one");
    call(&world, "gone", "set two");
    std::fs::remove_file(world.desired().join("gone.toml")).expect("removed");
    host.wait_for(&["gone", "uninstalled"]);
    let refused = world.output(&["storage", "list"]);
    assert!(stderr(&refused).contains("in use by"), "a host runs: {}", stderr(&refused));
    assert!(host.stop().success());

    let backup = world.path().join("backup");
    std::fs::create_dir(&backup).expect("made");
    let program = Path::new(env!("CARGO_BIN_EXE_airssys-wasm")).parent().expect("a directory");
    let mut command = Command::new("/bin/bash");
    command.args(["-c", &format!("set -e\n{}", commands("storage.md"))]).env_clear().current_dir(world.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", program.display())).env("HOME", world.path());
    command.env("AIRSSYS_HOME", world.home()).env("BACKUP", &backup);
    let output = command.output().expect("a shell");
    let told = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.success(), "{told}");
    for words in [
        "keeper  8B in 1 keys",
        "(no installation)  8B in 1 keys",
        "checked  2 storages, 16B in 2 keys",
        "exported  2 entries in 2 chunks",
        "imported  2 entries in 2 chunks",
        "purged  1 storages",
        "from fjall to redb, and compared",
        "checked  1 storages, 8B in 1 keys",
        "sound",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let owned = world.output(&["storage", "purge", "1", "2"]);
    assert!(stderr(&owned).contains("belongs to keeper, which is installed"), "{}", stderr(&owned));

    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    assert_eq!(call(&world, "keeper", "g"), "set one");
    assert!(host.stop().success());
}

#[test]
fn a_host_without_storage_users_opens_no_store_and_one_that_cannot_be_opened_stops_its_users_only() {
    let world = world_of_a_keeper();
    let idle = crate::components::idle("");
    world.publish("idle", &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &idle });
    world.desire("idle", "test:idle", "idle", "");
    let keeper = std::fs::read_to_string(world.desired().join("keeper.toml")).expect("readable");
    std::fs::remove_file(world.desired().join("keeper.toml")).expect("removed");
    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    let kv = world.home().join("state/kv");
    assert!(!kv.exists(), "nobody needs it");

    std::fs::create_dir_all(&kv).expect("made");
    std::fs::write(kv.join("fjall"), "no directory").expect("written");
    world.desire_text("keeper", &keeper);
    let line = host.wait_for(&["keeper", "store", "can't be opened"]);
    assert!(line.contains("fjall"), "{line}");
    std::fs::remove_file(kv.join("fjall")).expect("removed");
    host.wait_for(&["converged", "2 of 2 running"]);
    call(&world, "keeper", "set one");
    assert!(host.stop().success());
}

/// What `storage list` shows: ids with their installations.
fn kept(world: &World) -> Vec<(u64, Option<String>)> {
    let output = world.output(&["storage", "list", "--output", "json"]);
    let listing: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let storages = listing["storages"].as_array().expect("an array").iter();
    storages.map(|it| (it["id"].as_u64().expect("an id"), it["installation"].as_str().map(str::to_owned))).collect()
}

const PURGE: &str = "[grant]\nstorage = \"read-write\"\n\n[deploy]\non-uninstall = \"purge\"";

#[test]
fn a_component_whose_file_says_so_takes_what_it_kept_with_it() {
    let world = world_of_a_keeper();
    world.desire("gone", "test:keeper", "keeper", PURGE);
    let mut host = world.run();
    host.wait_for(&["converged", "2 of 2 running"]);
    call(&world, "keeper", "set one");
    call(&world, "gone", "set two");
    std::fs::remove_file(world.desired().join("gone.toml")).expect("removed");
    host.wait_for(&["gone", "uninstalled"]);
    host.wait_for(&["converged", "1 of 1 running"]);
    assert!(host.stop().success());
    let owner = |name: &str| Some(name.to_owned());
    let listed = kept(&world);
    assert!(matches!(&listed[..], [(_, name)] if *name == owner("keeper")), "{listed:?}");

    // The same without a host, where the plan says it first.
    world.desire("gone", "test:keeper", "keeper", PURGE);
    let mut host = world.run();
    host.wait_for(&["converged", "2 of 2 running"]);
    call(&world, "gone", "set three");
    assert!(host.stop().success());
    assert_eq!(kept(&world).len(), 2);
    std::fs::remove_file(world.desired().join("gone.toml")).expect("removed");
    let plan = stdout(&world.on_desired("plan", &[]));
    assert!(plan.contains("state will be removed (storage id 3)"), "{plan}");
    let applied = world.on_desired("apply", &[]);
    assert!(applied.status.success(), "{}", stderr(&applied));
    let listed = kept(&world);
    assert!(matches!(&listed[..], [(_, name)] if *name == owner("keeper")), "{listed:?}");
}

/// A purge is noted before the commit that calls for it: a host that died between the two takes the note back, one that
/// died after it finishes the purge, and until then no command of the operator takes one for the other.
#[test]
fn a_purge_that_a_kill_cut_off_is_finished_and_one_that_was_not_committed_is_forgotten() {
    let world = world_of_a_keeper();
    let keeper = std::fs::read_to_string(world.desired().join("keeper.toml")).expect("readable");
    world.desire_text("gone", &keeper);
    let mut host = world.run();
    host.wait_for(&["converged", "2 of 2 running"]);
    call(&world, "keeper", "set one");
    call(&world, "gone", "set two");
    std::fs::remove_file(world.desired().join("gone.toml")).expect("removed");
    host.wait_for(&["gone", "uninstalled"]);
    host.kill();
    let ids: Vec<u64> = kept(&world).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 2, "kept, as nothing says otherwise");
    let kv = world.home().join("state/kv");
    open(BackendKind::Fjall, &kv).note_purge(&ids).expect("noted");

    let export = world.path().join("export");
    let exported = world.output(&["storage", "export", export.to_str().expect("text")]);
    assert!(stdout(&exported).contains("exported  1 entries"), "what is installed: {}", stdout(&exported));
    open(BackendKind::Fjall, &kv).note_purge(&ids).expect("noted");

    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    assert_eq!(call(&world, "keeper", "g"), "set one");
    assert!(host.stop().success());
    let store = open(BackendKind::Fjall, &kv);
    assert_eq!(store.noted_purges().expect("readable"), [0; 0]);
    assert_eq!(store.ids().expect("readable").len(), 1);
}

#[test]
fn a_desired_file_sets_how_much_its_component_may_keep() {
    let world = world_of_a_keeper();
    let with = |limits: &str| format!("[grant]\nstorage = \"read-write\"\n\n[limits]\n{limits}");
    world.desire("keeper", "test:keeper", "keeper", &with("storage = \"16B\"\nstorage-keys = 1"));
    let mut host = world.run();
    host.wait_for(&["converged", "1 of 1 running"]);
    call(&world, "keeper", "fifteen bytes..");
    let refused = world.output(&["call", "keeper", "sixteen bytes..."]);
    assert!(stderr(&refused).contains("not taken"), "{}", stderr(&refused));
    let info = stdout(&world.output(&["info", "keeper"]));
    assert!(info.contains("storage           16B of 16B\n") && info.contains("storage-keys      1 of 1\n"), "{info}");
    world.desire("keeper", "test:keeper", "keeper", &with("storage = \"1GiB\""));
    host.wait_for(&["keeper", "reconfigured"]);
    call(&world, "keeper", "sixteen bytes...");
    world.desire("keeper", "test:keeper", "keeper", &with("storage = \"2GiB\""));
    let line = host.wait_for(&["held", "keeper", "storage"]);
    assert!(line.contains("keeper.toml:10") && line.contains("1GiB"), "{line}");
    assert!(host.stop().success());
}
