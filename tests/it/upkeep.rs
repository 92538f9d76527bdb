//! What keeps a home in order: fsck, gc, backups, the format's version, a full disk.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::components::idle;
use crate::harness::{Release, World, stderr, stdout, tree};

fn release<'a>(version: &'a str, sequence: u64, wasm: &'a [u8]) -> Release<'a> {
    Release { package: "test:idle", version, sequence, more: "", wasm }
}

/// `one` and `two` installed, in three generations.
fn world() -> World {
    let world = World::new();
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    applied(&world);
    world.desire("two", "test:idle", "idle", "[config]\na = 1");
    applied(&world);
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    applied(&world);
    world
}

#[track_caller]
fn applied(world: &World) {
    let output = world.on_desired("apply", &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

fn fsck(world: &World, more: &[&str]) -> Output {
    let trust = world.trust().to_string_lossy().into_owned();
    let mut arguments = vec!["fsck", "--trust", &trust];
    arguments.extend(more);
    world.output(&arguments)
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output))
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

/// Every file of the state but the lock, whose text is for people.
fn state_files(world: &World) -> Vec<PathBuf> {
    let state = world.home().join("state");
    let files = tree(&state).into_keys().map(|path| state.join(path));
    let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|m| m.is_file() && m.len() > 0);
    files.filter(|path| is_file(path) && !path.ends_with("lock")).collect()
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let mode = std::fs::metadata(path).expect("there").permissions();
    std::fs::remove_file(path).expect("removed");
    std::fs::write(path, bytes).expect("written");
    std::fs::set_permissions(path, mode).expect("mode set");
}

fn cases(everyday: usize) -> usize {
    let full = std::env::var("AIRSSYS_TEST_SCALE").is_ok_and(|scale| scale == "full");
    if full { everyday * 10 } else { everyday }
}

#[test]
fn t21_fsck_finds_a_changed_byte_in_any_file_of_the_state() {
    let world = world();
    let sound = fsck(&world, &["--output", "json"]);
    assert_eq!(sound.status.code(), Some(0), "{}", stdout(&sound));
    assert_eq!(json(&sound)["findings"], serde_json::json!([]));
    let files = state_files(&world);
    assert!(files.len() > 15, "{files:?}");
    let before = tree(&world.home());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for case in 0..cases(100) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let path = &files[case % files.len()];
        let good = std::fs::read(path).expect("readable");
        let mut bad = good.clone();
        let at = usize::try_from(random >> 33).expect("fits") % bad.len();
        bad[at] ^= u8::try_from(random >> 20 & 0xff).expect("a byte").max(1);
        overwrite(path, &bad);
        let output = fsck(&world, &[]);
        let text = format!("{}{}", stdout(&output), stderr(&output));
        assert!(matches!(output.status.code(), Some(1 | 3)), "{} at {at}: {text}", path.display());
        assert!(text.lines().any(|line| line.starts_with("     ") || line.contains("help:")), "no advice: {text}");
        overwrite(path, &good);
    }
    assert!(tree(&world.home()) == before, "fsck changed something");
}

#[test]
fn t21_a_repair_removes_what_is_damaged_and_comes_again_and_nothing_else() {
    let world = world();
    let generations = |world: &World| -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let all = tree(&world.home().join("state"));
        all.into_iter().filter(|(path, _)| path.starts_with("gen") || path.ends_with("floors")).collect()
    };
    let kept = generations(&world);
    for path in state_files(&world).iter().filter(|path| path.to_string_lossy().contains("/objects/")) {
        overwrite(path, b"rubbish");
    }
    assert_eq!(fsck(&world, &[]).status.code(), Some(1));
    let repaired = fsck(&world, &["--repair", "--output", "json"]);
    assert!(json(&repaired)["repaired"].as_u64().is_some_and(|n| n > 5), "{}", stdout(&repaired));
    assert!(generations(&world) == kept);
    // A pass brings all of it back.
    let output = world.on_desired("apply", &["--exit-zero"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fsck(&world, &[]).status.code(), Some(0), "{}", stdout(&fsck(&world, &[])));
}

#[test]
fn t21_fsck_asks_the_trust_of_today_and_works_beside_a_running_host() {
    let world = world();
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    assert_eq!(fsck(&world, &[]).status.code(), Some(0));
    // A record: the other installation's objects are all there.
    let is_record = |path: &std::path::PathBuf| {
        path.to_string_lossy().contains("/objects/")
            && std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"{\"spec\""))
    };
    let file = state_files(&world).into_iter().find(is_record).expect("a record");
    overwrite(&file, b"rubbish");
    let locked = fsck(&world, &["--repair"]);
    assert_eq!(locked.status.code(), Some(3), "{}", stdout(&locked));
    assert!(stderr(&locked).contains("is in use by process"), "{}", stderr(&locked));
    assert!(host.stop().success());
    assert!(fsck(&world, &["--repair"]).status.success());
    world.trust_text("schema = 1\n");
    let output = fsck(&world, &["--output", "json"]);
    let codes: Vec<String> =
        json(&output)["findings"].as_array().expect("a list").iter().map(|f| f["code"].to_string()).collect();
    assert!(codes.contains(&"\"unknown-publisher\"".to_owned()), "{codes:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn gc_removes_what_the_settings_do_not_keep_and_a_dry_run_only_says_so() {
    let world = world();
    for a in 2..8 {
        world.desire("two", "test:idle", "idle", &format!("[config]\na = {a}"));
        applied(&world);
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 3600);
    for path in state_files(&world) {
        std::fs::File::open(&path).expect("opened").set_modified(old).expect("set");
    }
    let defaults = json(&world.output(&["gc", "--dry-run", "--output", "json"]));
    assert_eq!(defaults["generations"], 0, "ten generations and seven days are kept: {defaults}");
    std::fs::write(world.home().join("config.toml"), "[state]\nkeep-generations = 2\nkeep-days = 1\n")
        .expect("written");
    let before = state_files(&world);
    let planned = json(&world.output(&["gc", "--dry-run", "--output", "json"]));
    assert_eq!(state_files(&world), before);
    assert!(planned["generations"].as_u64() > Some(0) && planned["objects"].as_u64() > Some(3), "{planned}");
    let done = json(&world.output(&["gc", "--output", "json"]));
    for key in ["generations", "objects", "freed_bytes"] {
        assert_eq!(done[key], planned[key], "{key}");
    }
    assert!(state_files(&world).len() < before.len());
    assert_eq!(fsck(&world, &[]).status.code(), Some(0), "{}", stdout(&fsck(&world, &[])));
    let again = world.output(&["gc"]);
    assert!(stdout(&again).starts_with("removed  0 generations (0B), 0 objects"), "{}", stdout(&again));
}

#[test]
fn a_running_host_removes_what_is_not_kept_when_it_is_asked_and_goes_on() {
    let world = world();
    for a in 2..8 {
        world.desire("two", "test:idle", "idle", &format!("[config]\na = {a}"));
        applied(&world);
    }
    std::fs::write(world.home().join("config.toml"), "[state]\nkeep-generations = 2\nkeep-days = 1\n")
        .expect("written");
    let mut host = world.run();
    host.wait_for(&["converged: 2 of 2 running"]);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 3600);
    for path in state_files(&world) {
        std::fs::File::open(&path).expect("opened").set_modified(old).expect("set");
    }
    let before = state_files(&world);
    let planned = json(&world.output(&["gc", "--dry-run", "--output", "json"]));
    assert_eq!(state_files(&world), before);
    assert_eq!((&planned["$type"], &planned["dry_run"]), (&"airssys-wasm/gc/v1".into(), &true.into()));
    let done = json(&world.output(&["gc", "--output", "json"]));
    for key in ["generations", "objects", "freed_bytes"] {
        assert!(done[key].as_u64() > Some(0) && done[key] == planned[key], "{key}: {planned} {done}");
    }
    assert!(state_files(&world).len() < before.len());
    // What runs goes on, what is kept is sound, and the next change is carried out.
    assert_eq!(fsck(&world, &[]).status.code(), Some(0), "{}", stdout(&fsck(&world, &[])));
    let status = world.status();
    assert!(status["components"].as_array().expect("a list").iter().all(|c| c["actor"]["restarts"] == 0), "{status}");
    world.desire("two", "test:idle", "idle", "[config]\na = 9");
    host.wait_for(&["two", "reconfigured"]);
    assert!(host.stop().success());
}

#[test]
fn r33_a_state_of_a_newer_format_is_refused_by_every_command_and_stays_as_it_is() {
    let world = world();
    let format = world.home().join("state/format");
    assert_eq!(std::fs::read_to_string(&format).expect("readable"), "airssys-state 1\n");
    overwrite(&format, b"airssys-state 2\n");
    let before = tree(&world.home().join("state"));
    let mut paths = Vec::new();
    let run = world.arguments("run", &mut paths);
    let outputs = [
        world.output(&run),
        world.on_desired("apply", &[]),
        world.on_desired("plan", &[]),
        world.output(&["status"]),
        world.output(&["gc"]),
        fsck(&world, &["--repair"]),
    ];
    for output in outputs {
        let text = stderr(&output);
        assert!(matches!(output.status.code(), Some(1..=9)), "{:?} {text}", output.status);
        assert!(text.contains("says \"airssys-state 2\", and this version knows \"airssys-state 1\""), "{text}");
    }
    let without_lock = |mut tree: BTreeMap<PathBuf, (u32, Vec<u8>)>| {
        tree.remove(Path::new("lock"));
        tree
    };
    assert!(without_lock(tree(&world.home().join("state"))) == without_lock(before), "something was touched");
    overwrite(&format, b"airssys-state 1\n");
    assert_eq!(world.on_desired("plan", &[]).status.code(), Some(0));
}

/// The commands of the guide, in its order.
fn guide() -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/backup.md")).expect("a guide");
    text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[track_caller]
fn shell(world: &World, script: &str, home: &Path, backup: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_airssys-wasm")).parent().expect("a directory");
    let mut command = Command::new("/bin/sh");
    command.args(["-euc", script]).env_clear().env("HOME", world.path()).current_dir(world.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
    command.env("AIRSSYS_HOME", home).env("BACKUP", backup);
    let output = command.output().expect("a shell");
    assert!(output.status.success(), "{script}{}{}", stdout(&output), stderr(&output));
}

/// A restored home runs what it held, is sound, and takes no release older than what was accepted.
fn works(world: &World, home: &Path) {
    let home = home.to_string_lossy().into_owned();
    let mut paths = Vec::new();
    let mut arguments = world.arguments("apply", &mut paths);
    arguments.extend(["--home", &home]);
    let output = world.output(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let checked = fsck(world, &["--home", &home]);
    assert_eq!(checked.status.code(), Some(0), "{}", stdout(&checked));
    let trust = world.trust().to_string_lossy().into_owned();
    let old = world.path().join("old").to_string_lossy().into_owned();
    let output = world.output(&["plan", &old, "--trust", &trust, "--home", &home, "--output", "json"]);
    assert!(stdout(&output).contains("\"rollback\""), "the floors fell: {}", stdout(&output));
}

#[test]
fn r33_a_home_that_is_copied_as_the_guide_says_can_be_restored_even_while_the_host_commits() {
    let world = world();
    let [stopped, running, restore] = guide().try_into().expect("three blocks of commands");
    // A directory that asks for the older release.
    let old = world.path().join("old");
    std::fs::create_dir(&old).expect("made");
    world.publish("older", &release("1.0.0", 1, &idle("1")));
    let text = crate::harness::desired_text("test:idle", "older", "");
    std::fs::write(old.join("three.toml"), text).expect("written");
    std::fs::copy(world.trust(), world.home().join("trust.toml")).expect("copied");
    std::fs::set_permissions(world.home().join("trust.toml"), std::fs::Permissions::from_mode(0o600)).expect("set");

    shell(&world, &stopped, &world.home(), &world.path().join("cold"));
    shell(&world, &restore, &world.path().join("from-cold"), &world.path().join("cold"));
    works(&world, &world.path().join("from-cold"));

    let mut host = world.run();
    host.wait_for(&["converged"]);
    for round in 0..cases(3) {
        let sequence = 3 + u64::try_from(round).expect("fits");
        let version = format!("1.{sequence}.0");
        world.publish("idle", &release(&version, sequence, &idle(&version)));
        world.desire("two", "test:idle", "idle", &format!("[config]\na = {}", 100 + round));
        let backup = world.path().join(format!("hot-{round}"));
        shell(&world, &running, &world.home(), &backup);
        let home = world.path().join(format!("from-hot-{round}"));
        shell(&world, &restore, &home, &backup);
        host.wait_for(&["converged"]);
        works(&world, &home);
    }
    assert!(host.stop().success());
}

/// A small file system of its own. Unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("made");
        let options = format!("size={}m,mode=700", SMALL_DISK_MIB);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(done.expect("mount runs").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// More than a host keeps free for itself.
const SMALL_DISK_MIB: usize = 112;

#[test]
fn p24_a_full_or_read_only_disk_leaves_the_running_set_untouched_and_status_says_so() {
    let world = World::new();
    let Some(disk) = SmallDisk::mount(&world.home()) else {
        assert!(std::env::var_os("CI").is_none(), "CI runs this as a user who may mount");
        println!("not run: needs the right to mount a tmpfs");
        return;
    };
    world.publish("idle", &release("1.0.0", 1, &idle("1")));
    world.desire("one", "test:idle", "idle", "");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    let started = world.status()["components"][0]["actor"]["restarts"].clone();
    let untouched = |says: &str| {
        let status = world.status();
        let component = &status["components"][0];
        assert_eq!(
            (&component["state"], &component["actor"]["restarts"]),
            (&"running".into(), &started),
            "{component}"
        );
        assert!(component["held"].to_string().contains(says), "{component}");
    };

    let filler = world.home().join("filler");
    std::fs::write(&filler, vec![0; 60 << 20]).expect("written");
    world.publish("idle", &release("1.1.0", 2, &idle("2")));
    host.wait_for(&["one", "held"]);
    untouched("free");
    std::fs::remove_file(&filler).expect("removed");
    host.wait_for(&["one", "updated 1.0.0 -> 1.1.0"]);

    // The system turns no file system read-only that is written to, so this is a host that comes to one.
    assert!(host.stop().success());
    disk.remount("ro");
    let mut paths = Vec::new();
    let run = world.arguments("run", &mut paths);
    let output = world.output(&run);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("Read-only file system"), "{}", stderr(&output));
    assert!(stderr(&output).contains("mount it writable"), "{}", stderr(&output));
    assert_eq!(world.committed()["one"], "1.1.0");
    disk.remount("rw");
    let mut host = world.run();
    host.wait_for(&["converged: 1 of 1 running"]);
    assert!(host.stop().success());
}
