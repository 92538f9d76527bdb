use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::test_scale;

const LIMIT: u64 = 64 * 1024;

fn rules() -> Rules {
    Rules { max_bytes: LIMIT, own_uid: own_uid(), links: Links::Refused }
}

struct World {
    root: TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { root }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn open(&self) -> Directory {
        Directory::open(self.root.path()).unwrap()
    }

    fn read(&self, name: &str) -> Result<Content, FileError> {
        self.open().read(name, &rules())
    }

    fn follow(&self, name: &str) -> Result<Vec<u8>, FileError> {
        let rules = Rules { links: Links::Beneath, ..rules() };
        let directory = self.open();
        let read = directory.read(name, &rules);
        assert_eq!(directory.inspect(name, &rules).is_ok(), read.is_ok(), "looking and reading must agree");
        read.map(|content| content.bytes)
    }

    /// The error's code, and whether trying again can help.
    fn refusal(&self, name: &str) -> (&'static str, bool) {
        let error = self.read(name).unwrap_err();
        (error.code(), error.is_transient())
    }
}

#[test]
fn a_regular_file_is_read_with_its_identity() {
    let world = World::new();
    world.write("a", "hello");
    let content = world.read("a").unwrap();
    assert_eq!(content.bytes, b"hello");
    assert_eq!(Some(content.identity), world.open().identity("a").unwrap());
    assert_eq!(content.identity.size, 5);
}

#[test]
fn an_empty_file_is_read() {
    let world = World::new();
    world.write("a", "");
    assert_eq!(world.read("a").unwrap().bytes, b"");
}

#[test]
fn f1_a_symlink_in_place_of_the_file_is_refused_wherever_it_leads() {
    let world = World::new();
    world.write("real", "secret");
    for (n, target) in
        ["real", "./real", "nowhere", "/etc/passwd", "/dev/zero", "/proc/self/mem", "loop6"].iter().enumerate()
    {
        let name = format!("loop{n}");
        symlink(target, world.at(&name)).unwrap();
        assert_eq!(world.refusal(&name), ("file-is-link", false), "{target}");
    }
}

#[test]
fn f1_links_in_the_directories_that_the_operator_wrote_are_followed_and_those_of_proc_are_not() {
    let world = World::new();
    fs::create_dir(world.at("v1")).unwrap();
    world.write("v1/a", "hello");
    symlink("v1", world.at("current")).unwrap();
    let through_link = Directory::open(&world.at("current")).unwrap();
    assert_eq!(through_link.read("a", &rules()).unwrap().bytes, b"hello");
    let held = world.open();
    for path in [format!("/proc/self/fd/{}", held.fd().as_raw_fd()), "/proc/self/cwd".to_owned()] {
        let error = Directory::open(Path::new(&path)).unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("file-is-link", false), "{path}");
    }
}

#[test]
fn f1_a_pipe_does_not_block_and_its_writer_is_not_woken() {
    let world = World::new();
    rustix::fs::mknodat(CWD, world.at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(world.refusal("pipe"), ("file-not-regular", false));
    // Had it been opened, a writer that waits for a reader would have gone on.
    let writer = rustix::fs::openat(CWD, world.at("pipe"), OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
    assert_eq!(writer.unwrap_err(), Errno::NXIO);
}

#[test]
fn f1_devices_sockets_and_directories_are_refused() {
    let world = World::new();
    fs::create_dir(world.at("directory")).unwrap();
    let _socket = UnixListener::bind(world.at("socket")).unwrap();
    assert_eq!(world.refusal("directory"), ("file-not-regular", false));
    assert_eq!(world.refusal("socket"), ("file-not-regular", false));
    let devices = Directory::open(Path::new("/dev")).unwrap();
    for device in ["zero", "null", "random"] {
        let error = devices.read(device, &rules()).unwrap_err();
        assert_eq!(error.to_string(), format!("`/dev/{device}` is a device, not a regular file"));
    }
}

#[test]
fn f1_proc_self_mem_and_files_that_are_longer_than_they_say_end_in_an_error() {
    let own = Directory::open(Path::new("/proc/self")).unwrap();
    for (name, code) in [("mem", "file-unreadable"), ("environ", "file-changing"), ("status", "file-changing")] {
        let error = own.read(name, &rules()).unwrap_err();
        // `mem` and `environ` belong to root when the process may not be inspected.
        assert_eq!((error.code(), error.is_transient()), (code, true), "{error}");
    }
}

#[test]
fn f1_a_hard_link_is_the_file_itself_and_keeps_its_owner_and_mode_rules() {
    let world = World::new();
    world.write("original", "hello");
    fs::hard_link(world.at("original"), world.at("link")).unwrap();
    assert_eq!(world.read("link").unwrap().bytes, b"hello");
    fs::set_permissions(world.at("original"), fs::Permissions::from_mode(0o646)).unwrap();
    assert_eq!(world.refusal("link"), ("file-world-writable", false));
}

#[test]
fn f1_a_world_writable_file_is_refused_and_a_group_writable_one_is_not() {
    let world = World::new();
    world.write("a", "hello");
    for mode in [0o666, 0o602, 0o777] {
        fs::set_permissions(world.at("a"), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(world.refusal("a"), ("file-world-writable", false), "{mode:o}");
    }
    fs::set_permissions(world.at("a"), fs::Permissions::from_mode(0o664)).unwrap();
    assert!(world.read("a").is_ok());
}

#[test]
fn f1_a_file_of_somebody_else_is_refused() {
    let world = World::new();
    world.write("a", "hello");
    let mut rules = rules();
    if own_uid() == 0 {
        std::os::unix::fs::chown(world.at("a"), Some(12_345), None).unwrap();
    } else {
        rules.own_uid = own_uid() + 1;
    }
    let error = world.open().read("a", &rules).unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("file-owner", false));
    rules.own_uid = if own_uid() == 0 { 12_345 } else { own_uid() };
    assert!(world.open().read("a", &rules).is_ok(), "the host's own user is trusted");
}

#[test]
fn f1_a_sparse_file_of_ten_gibibytes_is_refused_without_reading_it() {
    let world = World::new();
    fs::File::create(world.at("huge")).unwrap().set_len(10 << 30).unwrap();
    assert_eq!(world.refusal("huge"), ("file-too-large", false));
    fs::File::create(world.at("just-over")).unwrap().set_len(LIMIT + 1).unwrap();
    assert_eq!(world.refusal("just-over"), ("file-too-large", false));
    fs::File::create(world.at("just-fits")).unwrap().set_len(LIMIT).unwrap();
    assert_eq!(world.read("just-fits").unwrap().bytes.len() as u64, LIMIT);
}

#[test]
fn names_that_are_paths_are_refused() {
    let world = World::new();
    fs::create_dir(world.at("sub")).unwrap();
    world.write("sub/a", "hello");
    for name in ["", ".", "..", "sub/a", "../a", "/etc/passwd", "a\0b", "sub/"] {
        assert_eq!(world.refusal(name), ("file-name", false), "{name:?}");
    }
    assert_eq!(world.refusal(&"n".repeat(300)), ("file-name", false));
}

#[test]
fn a_missing_file_is_worth_another_attempt() {
    let world = World::new();
    assert_eq!(world.refusal("missing"), ("file-missing", true));
    assert_eq!(world.open().identity("missing"), Ok(None));
}

#[test]
fn errors_of_the_system_are_worth_another_attempt_and_broken_rules_are_not() {
    let errors = [
        (Errno::IO, true),
        (Errno::STALE, true),
        (Errno::MFILE, true),
        (Errno::NOMEM, true),
        (Errno::ACCESS, true),
        (Errno::WOULDBLOCK, true),
        (Errno::TIMEDOUT, true),
        (Errno::NOENT, true),
        (Errno::LOOP, false),
        (Errno::NOTDIR, false),
        (Errno::NAMETOOLONG, false),
    ];
    for (errno, is_transient) in errors {
        let error = FileError::from_errno("open", "a".to_owned(), errno);
        assert_eq!(error.is_transient(), is_transient, "{error}");
    }
}

#[test]
fn hostile_names_are_escaped_in_messages() {
    let world = World::new();
    let message = world.read("a\u{1b}[2J\u{202e}").unwrap_err().to_string();
    assert!(message.ends_with("/a\\u{1b}[2J\\u{202e}` does not exist"), "{message}");
}

#[test]
fn a_link_is_followed_as_long_as_it_stays_below_its_directory() {
    let world = World::new();
    fs::create_dir_all(world.at("v1/deep")).unwrap();
    world.write("v1/deep/a", "deep");
    world.write("b", "beside");
    for (n, (target, text)) in [
        ("b", "beside"),
        ("./b", "beside"),
        ("v1/deep/a", "deep"),
        ("v1//deep/../deep/a", "deep"),
        ("v1/../b", "beside"),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("link{n}");
        symlink(target, world.at(&name)).unwrap();
        assert_eq!(world.follow(&name).unwrap(), text.as_bytes(), "{target}");
    }
    symlink("../b", world.at("v1/up")).unwrap();
    symlink("v1/up", world.at("twice")).unwrap();
    assert_eq!(world.follow("twice").unwrap(), b"beside");
    symlink("v1", world.at("current")).unwrap();
    symlink("current/deep/a", world.at("through")).unwrap();
    assert_eq!(world.follow("through").unwrap(), b"deep");
}

#[test]
fn a_link_that_leaves_its_directory_is_refused_at_every_component() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("a"), "secret").unwrap();
    fs::create_dir(world.at("sub")).unwrap();
    let outside_name = outside.path().file_name().unwrap().to_str().unwrap();
    symlink(outside.path(), world.at("way-out")).unwrap();
    symlink(format!("../{outside_name}"), world.at("way-up")).unwrap();
    symlink(format!("../../{outside_name}"), world.at("sub/way-up")).unwrap();
    let own_name = world.root.path().file_name().unwrap().to_str().unwrap();
    world.write("inside", "");
    let targets = [
        format!("{}/a", outside.path().display()),
        format!("../{outside_name}/a"),
        "way-out/a".to_owned(),
        "way-up/a".to_owned(),
        "sub/way-up/a".to_owned(),
        "sub/../../etc/passwd".to_owned(),
        // Comes back in, but has been outside.
        format!("../{own_name}/inside"),
        format!("{}/inside", world.root.path().display()),
        "..".to_owned(),
        ".".to_owned(),
        "inside/../inside".to_owned(),
    ];
    for (n, target) in targets.iter().enumerate() {
        let name = format!("link{n}");
        symlink(target, world.at(&name)).unwrap();
        let error = world.follow(&name).unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("file-is-link", false), "{target}: {error}");
    }
}

#[test]
fn a_circle_of_links_and_a_path_without_end_are_refused() {
    let world = World::new();
    symlink("circle-b", world.at("circle-a")).unwrap();
    symlink("circle-a", world.at("circle-b")).unwrap();
    assert_eq!(world.follow("circle-a").unwrap_err().code(), "file-is-link");
    let mut deep = world.root.path().to_owned();
    for _ in 0..40 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("a"), "").unwrap();
    symlink("d/".repeat(40) + "a", world.at("deep")).unwrap();
    assert_eq!(world.follow("deep").unwrap_err().code(), "file-is-link");
    symlink("nowhere", world.at("dangling")).unwrap();
    assert_eq!(world.follow("dangling").unwrap_err().code(), "file-missing");
}

#[test]
fn a_read_only_mount_may_have_mode_0777_as_kubernetes_makes_it() {
    const INSIDE: &str = "AIRSSYS_TEST_READ_ONLY_MOUNT";
    if let Ok(mounted) = std::env::var(INSIDE) {
        let directory = Directory::open(Path::new(&mounted)).unwrap();
        check_directory(directory.fd(), own_uid(), String::new).unwrap();
        return;
    }
    let world = World::new();
    fs::set_permissions(world.root.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let error = check_directory(world.open().fd(), own_uid(), String::new).unwrap_err();
    assert_eq!(error.code(), "file-world-writable");
    if own_uid() != 0 {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        println!("not run: needs root");
        return;
    }
    let script = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" --exact "$3""#;
    let this_test = "safe_open::tests::a_read_only_mount_may_have_mode_0777_as_kubernetes_makes_it";
    let status = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(world.root.path())
        .arg(std::env::current_exe().unwrap())
        .arg(this_test)
        .env(INSIDE, world.root.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn f2_racing_exchange_of_a_file_for_a_pipe_or_a_link_never_blocks_and_never_leads_elsewhere() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    world.write("a", "mine");
    let attack = |step: &dyn Fn()| {
        symlink(outside.path().join("secret"), world.at("next")).unwrap();
        fs::rename(world.at("next"), world.at("a")).unwrap();
        step();
        rustix::fs::mknodat(CWD, world.at("next"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::rename(world.at("next"), world.at("a")).unwrap();
        step();
        world.write("next", "mine");
        fs::rename(world.at("next"), world.at("a")).unwrap();
        step();
    };
    let mut outcomes = BTreeMap::new();
    race::against(attack, test_scale::cases(1_000), || {
        let outcome = match world.read("a") {
            Ok(content) => {
                assert_eq!(content.bytes, b"mine");
                "read"
            }
            Err(error) => error.code(),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    });
    println!("{outcomes:?}");
    assert!(
        outcomes.keys().all(|outcome| ["read", "file-is-link", "file-not-regular", "file-changing"].contains(outcome))
    );
    assert!(outcomes.contains_key("read") && outcomes.len() > 1, "a race that one side wins always proves nothing");
}

#[test]
fn f2_a_file_that_changes_after_it_was_opened_is_not_accepted() {
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));
    let changes: [Change<'_>; 5] = [
        ("longer", &|file| fs::write(file, "hello, world").unwrap()),
        ("shorter", &|file| fs::write(file, "he").unwrap()),
        ("same length", &|file| fs::write(file, "HELLO").unwrap()),
        ("mode", &|file| fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap()),
        ("unlinked", &|file| fs::remove_file(file).unwrap()),
    ];
    for (name, change) in changes {
        let world = World::new();
        world.write("a", "hello");
        // Older than every step of the kernel's clock, so that the change shows in the times.
        while !world.read("a").unwrap().was_quiet {
            std::thread::sleep(QUIET_AFTER / 10);
        }
        let [to_read, to_copy] = [(), ()].map(|()| world.open().open_file("a", &rules()).unwrap());
        change(&world.at("a"));
        assert_eq!(to_read.read().unwrap_err().code(), "file-changing", "{name}");
        let error = to_copy.copy_to(&mut Vec::new()).unwrap_err();
        assert!(matches!(error, CopyError::File(FileError::Changed { .. })), "{name}: {error}");
    }
}

#[test]
fn f2_racing_writer_in_place_is_noticed() {
    const LENGTH: usize = 48 * 1024;
    const PIECE: usize = 512;
    let world = World::new();
    fs::write(world.at("a"), vec![0; LENGTH]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(world.at("a")).unwrap();
    let attack = |step: &dyn Fn()| {
        for n in 0..200 {
            for at in (0..LENGTH).step_by(PIECE) {
                std::os::unix::fs::FileExt::write_all_at(&file, &[n; PIECE], at as u64).unwrap();
                step();
            }
        }
    };
    let (mut at_rest, mut refused) = (0, 0);
    race::against(attack, test_scale::cases(1_000), || match world.read("a") {
        Ok(content) => {
            // What lay there between two writes.
            assert_eq!(content.bytes.len(), LENGTH);
            at_rest += 1;
        }
        Err(error) => {
            assert_eq!(error.code(), "file-changing", "{error}");
            refused += 1;
        }
    });
    println!("{at_rest} read between two writes, {refused} refused");
    assert!(refused > 0, "no read met a write: the test proves nothing");
}
