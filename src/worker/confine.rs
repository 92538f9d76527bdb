//! Owns how a worker gives up what it does not need, for good, before it sees anything hostile.
//!
//! Linux only. What the kernel does not have is left out and reported; what it has and refuses ends the worker.

use std::fs;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use super::wire::{Setup, Task};

/// By how much a worker steps back behind everything else, as for `nice`.
const NICE: i32 = 10;
/// By how much more one does that nobody waits for.
const IDLE_NICE: i32 = 9;
/// The newest rules that are asked for; an older kernel enforces those that it knows.
const RULES: ABI = ABI::V6;
/// What fetching reads besides its own directories: certificates, name resolution, and the libraries that name
/// resolution loads. No host keys, no password hashes, no home directories.
const SYSTEM_READABLE: [&str; 28] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/usr/lib/ssl",
    "/var/lib/ca-certificates",
    "/etc/crypto-policies",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/dev/null",
    "/dev/urandom",
    "/dev/random",
];

/// What can be given up before anything is known of the job: life without the host, priority, the rights of the
/// user and of root, and whatever descriptors were left open.
pub(super) fn give_up_rights() -> Result<(), String> {
    let step = |what: &'static str| move |errno: rustix::io::Errno| format!("{what}: {errno}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("it can't be tied to the host's life"))?;
    close_inherited();
    nice(NICE).map_err(step("its priority can't be lowered"))?;
    set_no_new_privs(true).map_err(step("it can't give up gaining rights"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(step("it can't give up the rights of root"))?;
    limit(Resource::Core, 0)
}

/// Takes on the job's limits and directories; gives how much of the latter the kernel enforces.
pub(super) fn confine(setup: &Setup) -> Result<String, String> {
    let enforced = restrict(setup).map_err(|error| format!("Landlock: {error}"))?;
    if setup.is_idle {
        nice(IDLE_NICE).map_err(|errno| format!("its priority can't be lowered: {errno}"))?;
    }
    limit(Resource::As, setup.memory_bytes)?;
    // At the first the kernel says which limit it was, at the second it would not.
    limit_softly(Resource::Cpu, setup.cpu_s, setup.cpu_s.saturating_add(1))?;
    limit(Resource::Fsize, setup.file_bytes)?;
    limit(Resource::Nofile, setup.open_files)?;
    Ok(enforced.to_owned())
}

/// Lowers a limit for good; one that is lower already stays.
fn limit(resource: Resource, most: u64) -> Result<(), String> {
    limit_softly(resource, most, most)
}

fn limit_softly(resource: Resource, soft: u64, most: u64) -> Result<(), String> {
    let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(most) };
    setrlimit(resource, limit).map_err(|errno| format!("the limit {resource:?} can't be set to {most}: {errno}"))
}

/// Closes everything but the standard streams. The host opens nothing that a child inherits; what embeds it may.
fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // SAFETY: nothing in this program has opened anything yet but the standard streams and the listing above,
        // which is closed: nobody else uses these numbers. The listing's own is among them, hence the look first.
        unsafe {
            if rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(fd)).is_ok() {
                rustix::io::close(fd);
            }
        }
    }
}

/// Leaves this thread, and all that it starts, the files that it needs and, for compiling, no network.
fn restrict(setup: &Setup) -> Result<&'static str, RulesetError> {
    let network = match setup.task {
        // To connect is what a fetch is for; to be connected to is not.
        Task::Fetch => BitFlags::from(AccessNet::BindTcp),
        Task::Compile => AccessNet::from_all(RULES),
    };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(network)?
        .scope(Scope::from_all(RULES))?
        .create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    if setup.task == Task::Fetch {
        let system = SYSTEM_READABLE.iter().map(Path::new);
        for path in system.chain(setup.readable.iter().map(AsRef::as_ref)) {
            rules = allow(rules, path, read)?;
        }
    }
    // Nothing that is written may be run, and no device or socket is made.
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    for path in &setup.writable {
        rules = allow(rules, path, write)?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

/// A path that is not there can't be allowed, and need not.
fn allow(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(fd) => {
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(RULES) };
            rules.add_rule(PathBeneath::new(fd, access))
        }
        Err(_) => Ok(rules),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Runs in a thread of its own: the rules hold for that thread for good.
    fn confined<T: Send + 'static>(
        task: Task,
        writable: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let setup = Setup {
            task,
            memory_bytes: 0,
            cpu_s: 0,
            file_bytes: 0,
            open_files: 0,
            readable: Vec::new(),
            writable: vec![writable.to_owned()],
            is_idle: false,
        };
        let run = move || match restrict(&setup).unwrap() {
            "none" => None,
            _ => Some(work()),
        };
        let result = std::thread::spawn(run).join().unwrap();
        if result.is_none() {
            assert!(std::env::var_os("CI").is_none(), "CI must have Landlock");
            println!("not run: needs a kernel with Landlock");
        }
        result
    }

    #[test]
    fn a_fetch_reads_and_writes_its_mirror_and_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let (mirror, canary) = (directory.path().join("mirror"), directory.path().join("canary"));
        fs::create_dir(&mirror).unwrap();
        fs::write(&canary, "secret").unwrap();
        let (inside, outside) = (mirror.clone(), canary.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        confined(Task::Fetch, &mirror, move || {
            assert!(fs::read(&outside).is_err(), "the canary was read");
            assert!(fs::write(&outside, "x").is_err(), "the canary was written");
            assert!(fs::remove_file(&outside).is_err(), "the canary was removed");
            assert!(fs::write(outside.with_extension("new"), "x").is_err(), "a file was made beside the mirror");
            assert!(fs::read("/proc/self/environ").is_err() && fs::read("/etc/shadow").is_err());
            assert!(fs::read_dir("/").is_err() && fs::read_dir("/root").is_err());
            std::os::unix::fs::symlink(&outside, inside.join("link")).expect_err("a link was made in the mirror");
            fs::create_dir(inside.join("objects")).unwrap();
            fs::write(inside.join("pack~"), "pack").unwrap();
            fs::rename(inside.join("pack~"), inside.join("objects/pack")).unwrap();
            assert_eq!(fs::read(inside.join("objects/pack")).unwrap(), b"pack");
            fs::remove_file(inside.join("objects/pack")).unwrap();
            assert!(fs::read("/etc/hosts").is_ok(), "names can't be resolved");
            TcpStream::connect(address).expect("a fetch may connect");
            assert!(TcpListener::bind("127.0.0.1:0").is_err(), "a fetch may not be connected to");
            assert!(std::process::Command::new("/bin/true").status().is_err(), "a fetch may not run programs");
        });
        assert_eq!(fs::read(&canary).unwrap(), b"secret");
    }

    #[test]
    fn a_compilation_reads_no_file_and_reaches_no_network() {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The one directory is there only because the helper wants one.
        confined(Task::Compile, directory.path(), move || {
            for path in ["/etc/hosts", "/dev/null", "/proc/self/maps", "/etc/passwd"] {
                assert!(fs::read(path).is_err(), "{path} was read");
            }
            assert!(TcpStream::connect(address).is_err(), "it connected");
            assert!(TcpListener::bind("127.0.0.1:0").is_err(), "it listens");
        });
    }
}
