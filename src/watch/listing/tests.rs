use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::safe_open::{own_uid, race};
use crate::test_scale;

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    directory
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn lister(directory: &Path) -> Lister {
    Lister::new(directory, own_uid())
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| &*entry.name).collect()
}

/// `name: message` of every entry that cannot be used, without the directory's own path.
fn unreadable(directory: &TempDir) -> Vec<String> {
    let mut lister = lister(directory.path());
    let listing = lister.list().unwrap();
    let root = format!("{}/", directory.path().display());
    let text = |entry: &Listed| match &entry.found {
        Found::File { .. } => None,
        Found::Unreadable(error) => Some(error.to_string().replace(&root, "")),
    };
    listing.entries.iter().filter_map(text).collect()
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).unwrap();
}

fn replace(directory: &Path, name: &str, text: &str) {
    write(directory, ".new", text);
    fs::rename(directory.join(".new"), directory.join(name)).unwrap();
}

#[test]
fn only_desired_files_are_listed_and_in_the_order_of_their_names() {
    let directory = directory();
    for name in [
        "b.toml",
        "a.toml",
        ".a.toml.swp",
        ".hidden.toml",
        "~a.toml",
        "#a.toml#",
        "#b.toml",
        "a#1.toml",
        "a~b.toml",
        "a.toml~",
        "a.toml.bak",
        "4913",
        ".toml",
        "README.md",
    ] {
        write(directory.path(), name, "");
    }
    assert_eq!(names(lister(directory.path()).list().unwrap()), ["a.toml", "b.toml"]);
}

#[test]
fn an_empty_directory_is_listed_as_empty() {
    assert!(lister(directory().path()).list().unwrap().entries.is_empty());
}

#[test]
fn directories_pipes_sockets_and_links_elsewhere_are_unreadable_entries() {
    let directory = directory();
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "x.toml", "package = \"acme:x\"");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("a-directory.toml")).unwrap();
    rustix::fs::mknodat(CWD, at("b-pipe.toml"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = UnixListener::bind(at("c-socket.toml")).unwrap();
    symlink(outside.path().join("x.toml"), at("d-absolute.toml")).unwrap();
    let relative = Path::new("..").join(outside.path().file_name().unwrap()).join("x.toml");
    symlink(relative, at("e-relative.toml")).unwrap();
    symlink("/dev/zero", at("f-zero.toml")).unwrap();
    symlink("g-loop.toml", at("g-loop.toml")).unwrap();
    symlink("nowhere", at("h-dangling.toml")).unwrap();
    symlink("sub/../../etc/passwd", at("i-detour.toml")).unwrap();
    fs::create_dir(at("sub")).unwrap();
    symlink("sub", at("j-to-directory.toml")).unwrap();
    write(directory.path(), "k-open.toml", "");
    set_mode(&at("k-open.toml"), 0o666);
    fs::File::create(at("l-large.toml")).unwrap().set_len(MAX_DESIRED_FILE_BYTES + 1).unwrap();
    expect_test::expect![[r#"
        `a-directory.toml` is a directory, not a regular file
        `b-pipe.toml` is a named pipe, not a regular file
        `c-socket.toml` is a socket, not a regular file
        `d-absolute.toml` is a symbolic link with an absolute target
        `e-relative.toml` is a symbolic link that leaves its directory
        `f-zero.toml` is a symbolic link with an absolute target
        `g-loop.toml` is a symbolic link that leads through too many others
        cannot follow the link `h-dangling.toml`: what it leads to is not there
        `i-detour.toml` is a symbolic link that leaves its directory
        `j-to-directory.toml` is a directory, not a regular file
        `k-open.toml` can be written by every user of this machine
        `l-large.toml` has 262145 bytes, at most 262144 are read"#]]
    .assert_eq(&unreadable(&directory).join("\n"));
}

#[test]
fn a_name_that_is_not_utf_8_is_shown_escaped_and_never_acted_on() {
    let directory = directory();
    fs::write(directory.path().join(OsStr::from_bytes(b"caf\xe9\x1b.toml")), "").unwrap();
    fs::write(directory.path().join(OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
    assert_eq!(unreadable(&directory), ["`caf\\xe9\\x1b.toml` cannot be a file's name: it is not UTF-8"]);
}

#[test]
fn a_file_that_is_named_like_an_escaped_one_is_not_taken_for_it() {
    let directory = directory();
    fs::write(directory.path().join(OsStr::from_bytes(b"caf\xe9.toml")), "").unwrap();
    write(directory.path(), "caf\\xe9.toml", "");
    let mut lister = lister(directory.path());
    let listing = lister.list().unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert!(matches!(listing.entries[0].found, Found::Unreadable(_)));
}

#[test]
fn mounted_configuration_of_kubernetes_is_followed_and_its_flip_is_a_change() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    for (version, text) in [("..2026_01", "old"), ("..2026_02", "new")] {
        fs::create_dir(at(version)).unwrap();
        write(&at(version), "a.toml", text);
    }
    symlink("..2026_01", at("..data")).unwrap();
    symlink("..data/a.toml", at("a.toml")).unwrap();
    let mut lister = lister(directory.path());
    let before = lister.list().unwrap().entries.clone();
    assert!(lister.list().unwrap().has_links);
    assert_eq!(lister.read("a.toml").unwrap().bytes, b"old");
    symlink("..2026_02", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    let after = lister.list().unwrap().entries.clone();
    assert_ne!(before, after);
    assert_eq!(lister.read("a.toml").unwrap().bytes, b"new");
}

#[test]
fn a_link_through_a_directory_in_which_everybody_may_write_is_refused() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("open")).unwrap();
    write(&at("open"), "a.toml", "");
    symlink("open/a.toml", at("a.toml")).unwrap();
    assert_eq!(unreadable(&directory), Vec::<String>::new());
    set_mode(&at("open"), 0o1777);
    assert_eq!(unreadable(&directory), ["`a.toml` can be written by every user of this machine"]);
}

#[test]
fn a_directory_in_which_everybody_may_write_is_refused() {
    let directory = directory();
    for mode in [0o777, 0o1777, 0o757, 0o702] {
        set_mode(directory.path(), mode);
        let error = lister(directory.path()).list().unwrap_err();
        assert!(matches!(error, ListError::Unusable(FileError::WorldWritable { .. })), "{mode:o}: {error}");
    }
    set_mode(directory.path(), 0o770);
    assert!(lister(directory.path()).list().is_ok());
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let directory = directory();
    let mut lister = lister(directory.path());
    if own_uid() == 0 {
        std::os::unix::fs::chown(directory.path(), Some(12_345), None).unwrap();
    } else {
        lister.rules.own_uid = own_uid() + 1;
    }
    let error = lister.list().unwrap_err();
    assert!(matches!(error, ListError::Unusable(FileError::Owner { .. })), "{error}");
}

#[test]
fn a_missing_directory_a_file_and_a_pipe_in_its_place_are_errors_and_never_an_empty_list() {
    let directory = directory();
    let missing = lister(&directory.path().join("missing")).list().unwrap_err();
    assert!(matches!(missing, ListError::Missing { .. }), "{missing}");
    write(directory.path(), "file", "");
    let file = lister(&directory.path().join("file")).list().unwrap_err();
    assert!(matches!(file, ListError::Unusable(FileError::NotADirectory { .. })), "{file}");
    rustix::fs::mknodat(CWD, directory.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let pipe = lister(&directory.path().join("pipe")).list().unwrap_err();
    assert!(matches!(pipe, ListError::Unusable(FileError::NotADirectory { .. })), "{pipe}");
    expect_test::expect![[r#"
        error: the desired directory `D/missing` does not exist
         --> D/missing
          = help: make it, or name another one; nothing is removed while there is no directory
    "#]]
    .assert_eq(
        &missing
            .diagnostic(&directory.path().join("missing"))
            .to_string()
            .replace(directory.path().to_str().unwrap(), "D"),
    );
}

#[test]
fn a_directory_that_is_removed_while_it_is_read_is_missing_and_not_empty() {
    let root = directory();
    let desired = root.path().join("desired");
    fs::create_dir(&desired).unwrap();
    let lister = lister(&desired);
    let fd = lister.open().unwrap();
    fs::remove_dir(&desired).unwrap();
    assert!(matches!(lister.list_opened(fd), Ok(None)));
}

/// What the test `name` prints after `TOLD` when it runs under strace with `arguments`, with `directory` as
/// [`INSIDE`]; `None` without strace.
fn under_strace(name: &str, directory: &Path, arguments: &[&str]) -> Option<String> {
    let strace = std::process::Command::new("strace")
        .args(["-f", "-P"])
        .arg(directory)
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("watch::listing::tests::{name}")])
        .env(INSIDE, directory)
        .output();
    let Ok(output) = strace else {
        assert!(std::env::var_os("CI").is_none(), "needs strace");
        println!("not run: needs strace");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.split("TOLD ").nth(1).unwrap_or_else(|| panic!("{arguments:?}: {text}"));
    Some(told.lines().next().unwrap().to_owned())
}

/// Names the directory to a test that runs itself under strace.
const INSIDE: &str = "AIRSSYS_TEST_LISTED_DIRECTORY";

#[test]
fn errors_of_the_system_lead_to_an_error_or_an_unreadable_entry_and_never_to_a_missing_one() {
    const NAME: &str = "errors_of_the_system_lead_to_an_error_or_an_unreadable_entry_and_never_to_a_missing_one";
    if let Some(path) = std::env::var_os(INSIDE) {
        let mut lister = lister(Path::new(&path));
        let told = match lister.list() {
            Err(error) => error.to_string(),
            Ok(listing) => {
                let tell = |entry: &Listed| match &entry.found {
                    Found::File { .. } => entry.name.to_string(),
                    Found::Unreadable(error) => error.to_string(),
                };
                let told: Vec<String> = listing.entries.iter().map(tell).collect();
                let read = lister.read("a.toml").map(|content| content.bytes.len());
                format!("{told:?}; read {}", read.map_or_else(|error| error.to_string(), |bytes| bytes.to_string()))
            }
        };
        println!("TOLD {}", told.replace(&*path.to_string_lossy(), "D"));
        return;
    }
    let directory = directory();
    // One file: in which order more come is the file system's choice.
    write(directory.path(), "a.toml", "aaa");
    let faults = [
        "openat:error=EIO:when=1",
        "openat:error=EACCES:when=1",
        "openat:error=ESTALE:when=1",
        "openat:error=ENOENT:when=1+",
        "getdents64:error=EIO:when=1",
        "getdents64:error=EIO:when=2",
        "getdents64:error=ESTALE:when=2",
        "getdents64:error=ENOENT:when=1+",
        "getdents64:error=ENOENT:when=2+",
        "newfstatat:error=EIO:when=1",
        "newfstatat:error=EACCES:when=1",
        "newfstatat:error=ENOENT:when=1",
        "fstat:error=EIO:when=1",
        "fstat:error=EIO:when=2",
        "newfstatat:error=ESTALE:when=2",
        "newfstatat:error=ENOENT:when=2+2",
        "read:error=EIO:when=1",
        "read:error=ESTALE:when=1",
        "openat:error=EMFILE:when=2",
        "openat:error=EIO:when=2",
    ];
    let mut told = Vec::new();
    for fault in faults {
        let (file, inject) = (directory.path().join("a.toml"), format!("inject={fault}"));
        let arguments = ["-P", file.to_str().unwrap(), "-o", "/dev/null", "-e", &inject];
        let Some(line) = under_strace(NAME, directory.path(), &arguments) else { return };
        told.push(format!("{fault}: {line}"));
    }
    expect_test::expect![[r#"
        openat:error=EIO:when=1: the desired directory cannot be used: cannot list `D`: Input/output error (os error 5)
        openat:error=EACCES:when=1: the desired directory cannot be used: cannot list `D`: Permission denied (os error 13)
        openat:error=ESTALE:when=1: the desired directory cannot be used: cannot list `D`: Stale file handle (os error 116)
        openat:error=ENOENT:when=1+: the desired directory `D` does not exist
        getdents64:error=EIO:when=1: the desired directory cannot be used: cannot list `D`: Input/output error (os error 5)
        getdents64:error=EIO:when=2: the desired directory cannot be used: cannot list `D`: Input/output error (os error 5)
        getdents64:error=ESTALE:when=2: the desired directory cannot be used: cannot list `D`: Stale file handle (os error 116)
        getdents64:error=ENOENT:when=1+: the desired directory `D` was exchanged while it was read
        getdents64:error=ENOENT:when=2+: the desired directory `D` was exchanged while it was read
        newfstatat:error=EIO:when=1: ["cannot look at `D/a.toml`: Input/output error (os error 5)"]; read 3
        newfstatat:error=EACCES:when=1: ["cannot look at `D/a.toml`: Permission denied (os error 13)"]; read 3
        newfstatat:error=ENOENT:when=1: ["`D/a.toml` does not exist"]; read 3
        fstat:error=EIO:when=1: the desired directory cannot be used: cannot look at `D`: Input/output error (os error 5)
        fstat:error=EIO:when=2: the desired directory cannot be used: cannot list `D`: Input/output error (os error 5)
        newfstatat:error=ESTALE:when=2: the desired directory cannot be used: cannot list `D`: Stale file handle (os error 116)
        newfstatat:error=ENOENT:when=2+2: the desired directory `D` was exchanged while it was read
        read:error=EIO:when=1: ["a.toml"]; read cannot read `D/a.toml`: Input/output error (os error 5)
        read:error=ESTALE:when=1: ["a.toml"]; read cannot read `D/a.toml`: Stale file handle (os error 116)
        openat:error=EMFILE:when=2: ["a.toml"]; read cannot open `D/a.toml`: Too many open files (os error 24)
        openat:error=EIO:when=2: ["a.toml"]; read cannot open `D/a.toml`: Input/output error (os error 5)"#]].assert_eq(&told.join("\n"));
}

#[test]
fn a_list_takes_one_system_call_a_file_and_a_handful_more() {
    const NAME: &str = "a_list_takes_one_system_call_a_file_and_a_handful_more";
    if let Some(path) = std::env::var_os(INSIDE) {
        let mut lister = lister(Path::new(&path));
        lister.list().unwrap();
        println!("TOLD {}", lister.list().unwrap().entries.len());
        return;
    }
    let directory = directory();
    for n in 0..100 {
        write(directory.path(), &format!("{n}.toml"), "");
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let Some(told) = under_strace(NAME, directory.path(), &["-o", log.path().to_str().unwrap()]) else { return };
    assert_eq!(told, "100");
    let log = fs::read_to_string(log.path()).unwrap();
    let mut calls: BTreeMap<&str, u32> = BTreeMap::new();
    for line in log.lines() {
        let call = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
        if let Some((name, _)) = call.split_once('(') {
            *calls.entry(name).or_default() += 1;
        }
    }
    // Two lists: of 100 files each, and a last look at the path.
    assert_eq!(calls.remove("newfstatat"), Some(2 * 101), "{calls:?}");
    assert!(calls.values().sum::<u32>() <= 2 * 8, "{calls:?}");
}

#[test]
fn a_directory_that_is_exchanged_while_it_is_read_is_read_again() {
    let root = directory();
    let desired = root.path().join("desired");
    fs::create_dir(&desired).unwrap();
    let mut lister = lister(&desired);
    let fd = lister.open().unwrap();
    fs::rename(&desired, root.path().join("old")).unwrap();
    fs::create_dir(&desired).unwrap();
    write(&desired, "new.toml", "");
    assert!(matches!(lister.list_opened(fd), Ok(None)));
    assert_eq!(names(lister.list().unwrap()), ["new.toml"]);
}

#[test]
fn racing_removal_and_return_of_the_directory_never_shows_a_part_of_it() {
    let root = directory();
    let [desired, away] = ["desired", "away"].map(|name| root.path().join(name));
    fs::create_dir(&desired).unwrap();
    for n in 0..20 {
        write(&desired, &format!("{n}.toml"), "");
    }
    let attack = |step: &dyn Fn()| {
        fs::rename(&desired, &away).unwrap();
        step();
        fs::rename(&away, &desired).unwrap();
        step();
    };
    let mut lister = lister(&desired);
    let (mut lists, mut errors) = (0, 0);
    race::against(attack, test_scale::cases(1_000), || match lister.list() {
        Ok(listing) => {
            assert_eq!(listing.entries.len(), 20);
            lists += 1;
        }
        Err(ListError::Missing { .. } | ListError::Exchanged { .. }) => errors += 1,
        Err(other) => panic!("{other}"),
    });
    println!("{lists} lists, {errors} errors");
    assert!(lists > 0 && errors > 0, "a race that one side wins always proves nothing");
}

#[test]
fn racing_renames_into_place_never_hide_a_file() {
    let directory = directory();
    let all: Vec<String> = (0..50).map(|n| format!("{n:02}.toml")).collect();
    for name in &all {
        write(directory.path(), name, "");
    }
    let mut lister = lister(directory.path());
    lister.list().unwrap();
    let attack = |step: &dyn Fn()| {
        for name in &all {
            replace(directory.path(), name, "x");
            step();
        }
    };
    race::against(attack, test_scale::cases(200), || {
        let list = lister.list().unwrap();
        assert_eq!(names(list), all);
        assert!(list.entries.iter().all(|entry| matches!(entry.found, Found::File { .. })));
    });
}

#[test]
fn an_entry_that_the_walk_missed_is_found_by_its_name() {
    let directory = directory();
    for name in ["a.toml", "b.toml", "c.toml"] {
        write(directory.path(), name, "");
    }
    let mut lister = lister(directory.path());
    lister.list().unwrap();
    fs::remove_file(directory.path().join("c.toml")).unwrap();
    let fd = lister.open().unwrap();
    let walk = Walk { directory: Directory::from_fd(fd, &lister.path), rules: lister.rules, wall_ns: wall_ns() };
    let mut listing = Listing::default();
    lister.confirm_absences(&walk, &mut listing);
    assert_eq!(names(&listing), ["a.toml", "b.toml"]);
}

#[test]
fn a_directory_with_too_many_entries_is_refused_whatever_their_names() {
    let directory = directory();
    let mut lister = lister(directory.path());
    lister.max_entries = 3;
    for name in ["a.toml", "b.toml", "junk"] {
        write(directory.path(), name, "");
    }
    assert_eq!(names(lister.list().unwrap()), ["a.toml", "b.toml"]);
    write(directory.path(), "more-junk", "");
    assert!(matches!(lister.list(), Err(ListError::TooManyEntries { .. })));
}

#[test]
#[ignore = "a measurement: cargo test --lib -- --ignored --nocapture costs"]
fn listing_many_files_costs_little_more_than_reading_the_directory_and_a_stat_each() {
    let directory = directory();
    let files = test_scale::cases(1_000) as usize;
    for n in 0..files {
        write(directory.path(), &format!("component-{n:05}.toml"), "package = \"acme:x\"\n");
    }
    let floor = || {
        let fd = rustix::fs::openat(CWD, directory.path(), DIRECTORY_FLAGS, Mode::empty()).unwrap();
        let mut seen = 0;
        let each = entries::each(fd.as_fd(), |name| {
            let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
            seen += usize::from(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
            Ok::<_, Errno>(())
        });
        each.unwrap();
        assert_eq!(seen, files);
    };
    let mut lister = lister(directory.path());
    let mut list = || assert_eq!(lister.list().unwrap().entries.len(), files);
    let time = |run: &mut dyn FnMut()| {
        let begin = Instant::now();
        run();
        begin.elapsed()
    };
    // The best of many, in turns, so that a busy machine slows both.
    let (mut best_floor, mut best_list) = (Duration::MAX, Duration::MAX);
    for _ in 0..40 {
        best_floor = best_floor.min(time(&mut || floor()));
        best_list = best_list.min(time(&mut list));
    }
    let ratio = best_list.as_secs_f64() / best_floor.as_secs_f64();
    println!("{files} files: list {best_list:?}, readdir and stat {best_floor:?}, ratio {ratio:.2}");
}
