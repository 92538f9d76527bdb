//! Owns the home directory: where each file of a host is, with which modes directories are made, and
//! whether a directory may be trusted.
//!
//! It writes nothing below `state/`, and reads none of the files whose places it knows.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::escape::escape;
use crate::hex;

/// Longest path of a Unix socket in bytes, without the zero byte at its end.
#[cfg(target_os = "linux")]
pub const MAX_SOCKET_PATH_BYTES: usize = 107;
/// Longest path of a Unix socket in bytes, without the zero byte at its end.
#[cfg(not(target_os = "linux"))]
pub const MAX_SOCKET_PATH_BYTES: usize = 103;
/// Mode of every directory that is made here.
const DIRECTORY_MODE: u32 = 0o700;
/// Digits of the home's digest that name the directory of a short socket path.
const SHORT_NAME_BYTES: usize = 8;

/// The home of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Why a home can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nobody says where the home is.
    #[error("there is no home directory: give --home, or set AIRSSYS_HOME or HOME")]
    Unknown,
    /// The path is relative and the working directory can't be read.
    #[error("can't make the home {} absolute: {source}", shown(.path))]
    Relative {
        /// The path as it was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system refused.
    #[error("can't {attempt} {}: {source}", shown(.path))]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file or a symlink stands where a directory is needed.
    #[error("{} is not a directory; move it away", shown(.0))]
    NotADirectory(PathBuf),
    /// Somebody else's.
    #[error("{} belongs to uid {owner}, and this process runs as uid {own}; run as its owner, or give another --home", shown(.path))]
    Owner {
        /// Which directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Whose it must be.
        own: u32,
    },
    /// Others may change it, or read what is secret.
    #[error("{} has mode {mode:04o}, so that other users could change or read it; run `chmod {fix} {}`", shown(.path), shown(.path))]
    Mode {
        /// Which directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The argument of chmod that puts it right.
        fix: &'static str,
    },
    /// Even the short path is too long for a socket.
    #[error("no socket path for {} fits into {MAX_SOCKET_PATH_BYTES} bytes; give a shorter --home", shown(.0))]
    SocketPath(PathBuf),
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// How strictly a directory is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Others may read it and not change it.
    Readable,
    /// Others may do nothing with it.
    Private,
}

impl Home {
    /// The flag's path, else `AIRSSYS_HOME`, else `.airssys` below `HOME`. Touches no file.
    pub fn find(flag: Option<&Path>, airssys_home: Option<&Path>, user_home: Option<&Path>) -> Result<Self, HomeError> {
        let given = |path: &&Path| !path.as_os_str().is_empty();
        match flag.or(airssys_home.filter(given)) {
            Some(path) => Self::at(path),
            None => Self::at(&user_home.filter(given).ok_or(HomeError::Unknown)?.join(".airssys")),
        }
    }

    /// The home at `path`, made absolute. Touches no file.
    pub fn at(path: &Path) -> Result<Self, HomeError> {
        let root = std::path::absolute(path).map_err(|source| HomeError::Relative { path: path.to_owned(), source })?;
        Ok(Self { root })
    }

    /// The home itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The host's own settings.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The default trust policy.
    pub fn trust_file(&self) -> PathBuf {
        self.root.join("trust.toml")
    }

    /// The default signing key.
    pub fn key_file(&self) -> PathBuf {
        self.root.join("keypair.json")
    }

    /// The default directory of desired files.
    pub fn desired_dir(&self) -> PathBuf {
        self.root.join("desired")
    }

    /// Where the socket is made when its path fits.
    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where components' logs go.
    pub fn logs_dir(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What the host remembers. Only `state` writes below it, and `storage` below `kv/`.
    pub fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }

    /// What components keep. Only `storage` writes below it.
    pub fn kv_dir(&self) -> PathBuf {
        self.state_dir().join("kv")
    }

    /// Makes what a host needs and is not there; checks what is there.
    pub fn create_for_host(&self) -> Result<(), HomeError> {
        self.create_for_plan()?;
        for path in [self.run_dir(), self.logs_dir()] {
            make_dir(&path)?;
            check_dir(&path, Privacy::Private)?;
        }
        make_dir(&self.desired_dir())
    }

    /// Makes the home and its state directory where they are missing, and checks both. That is all `plan` needs.
    pub fn create_for_plan(&self) -> Result<(), HomeError> {
        if let Some(parent) = self.root.parent() {
            fs::create_dir_all(parent).map_err(|source| io_error("create", parent, source))?;
        }
        make_dir(&self.root)?;
        check_dir(&self.root, Privacy::Readable)?;
        make_dir(&self.state_dir())?;
        check_dir(&self.state_dir(), Privacy::Private)
    }

    /// Where the socket may be: the host takes the first whose directory it can have, a client tries them in order.
    ///
    /// A home with a long path gets a short one, in the user's runtime directory or in `temp_dir`, named after the
    /// home's digest.
    pub fn socket_candidates(&self, runtime_dir: Option<&Path>, temp_dir: &Path) -> Result<Vec<PathBuf>, HomeError> {
        let fits = |path: &PathBuf| path.as_os_str().len() <= MAX_SOCKET_PATH_BYTES;
        let own = self.run_dir().join("host.sock");
        if fits(&own) {
            return Ok(vec![own]);
        }
        let digest = Digest::of(self.root.as_os_str().as_bytes());
        let name = format!("airssys-{}", hex::encode(&digest.as_bytes()[..SHORT_NAME_BYTES]));
        let places = runtime_dir.into_iter().filter(|dir| dir.is_absolute()).chain([temp_dir]);
        let candidates: Vec<_> = places.map(|dir| dir.join(&name).join("host.sock")).filter(fits).collect();
        if candidates.is_empty() { Err(HomeError::SocketPath(self.root.clone())) } else { Ok(candidates) }
    }

    /// Makes the directory of a socket path, only for us; refuses one that somebody else prepared.
    pub fn create_socket_dir(socket: &Path) -> Result<(), HomeError> {
        let dir = socket.parent().ok_or_else(|| HomeError::SocketPath(socket.to_owned()))?;
        make_dir(dir)?;
        check_dir(dir, Privacy::Private)
    }
}

/// Makes a directory that only its owner may enter; one that is there already stays as it is.
fn make_dir(path: &Path) -> Result<(), HomeError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(|source| io_error("create", path, source)),
    }
}

/// A directory is trusted when it is one, is ours, and nobody else can change it (or read it, for private ones).
///
/// The home itself may be a symlink to another disk: only who owns the directory above could have made it.
pub fn check_dir(path: &Path, privacy: Privacy) -> Result<(), HomeError> {
    let metadata = match privacy {
        Privacy::Readable => fs::metadata(path),
        Privacy::Private => fs::symlink_metadata(path),
    };
    let metadata = metadata.map_err(|source| io_error("look at", path, source))?;
    if !metadata.is_dir() {
        return Err(HomeError::NotADirectory(path.to_owned()));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(HomeError::Owner { path: path.to_owned(), owner: metadata.uid(), own });
    }
    let mode = metadata.mode() & 0o7777;
    let (forbidden, fix) = match privacy {
        Privacy::Readable => (0o022, "go-w"),
        Privacy::Private => (0o077, "700"),
    };
    if mode & forbidden != 0 {
        return Err(HomeError::Mode { path: path.to_owned(), mode, fix });
    }
    Ok(())
}

fn io_error(attempt: &'static str, path: &Path, source: io::Error) -> HomeError {
    HomeError::Io { attempt, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_new_home_can_be_entered_only_by_its_owner() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().join("a/b/home")).unwrap();
        home.create_for_host().unwrap();
        for path in [home.root(), &home.state_dir(), &home.run_dir(), &home.logs_dir(), &home.desired_dir()] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        home.create_for_host().unwrap();
    }

    #[test]
    fn the_flag_wins_over_the_variable_and_the_variable_over_the_default() {
        let [flag, variable, user] = ["/f", "/v", "/u"].map(Path::new);
        let find = |f, v, u| Home::find(f, v, u).map(|home| home.root().to_owned());
        assert_eq!(find(Some(flag), Some(variable), Some(user)).unwrap(), Path::new("/f"));
        assert_eq!(find(None, Some(variable), Some(user)).unwrap(), Path::new("/v"));
        assert_eq!(find(None, Some(Path::new("")), Some(user)).unwrap(), Path::new("/u/.airssys"));
        assert!(matches!(find(None, None, None), Err(HomeError::Unknown)));
    }

    #[test]
    fn a_home_that_others_can_write_is_refused_with_the_command_that_helps() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().join("home")).unwrap();
        home.create_for_host().unwrap();
        set_mode(home.root(), 0o755);
        home.create_for_host().unwrap();
        for bad in [0o775, 0o757, 0o777] {
            set_mode(home.root(), bad);
            let text = home.create_for_host().unwrap_err().to_string();
            assert!(text.contains("chmod go-w"), "{text}");
        }
    }

    #[test]
    fn a_state_directory_that_others_can_read_or_that_is_a_symlink_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().join("home")).unwrap();
        home.create_for_host().unwrap();
        for bad in [0o750, 0o705, 0o770, 0o777, 0o710] {
            set_mode(&home.state_dir(), bad);
            assert!(matches!(home.create_for_host(), Err(HomeError::Mode { fix: "700", .. })), "{bad:o}");
        }
        set_mode(&home.state_dir(), 0o700);
        let elsewhere = temp.path().join("elsewhere");
        fs::rename(home.state_dir(), &elsewhere).unwrap();
        symlink(&elsewhere, home.state_dir()).unwrap();
        assert!(matches!(home.create_for_host(), Err(HomeError::NotADirectory(_))));
    }

    #[test]
    fn a_state_directory_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: needs root, to give a directory away");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().join("home")).unwrap();
        home.create_for_host().unwrap();
        std::os::unix::fs::chown(home.state_dir(), Some(65534), None).unwrap();
        let text = home.create_for_host().unwrap_err().to_string();
        assert!(text.contains("belongs to uid 65534, and this process runs as uid 0"), "{text}");
    }

    #[test]
    fn a_long_home_gets_a_short_socket_path_that_depends_on_the_home_alone() {
        let temp = tempfile::tempdir().unwrap();
        let short = Home::at(Path::new("/home/op/.airssys")).unwrap();
        let expected = [Path::new("/home/op/.airssys/run/host.sock")];
        assert_eq!(short.socket_candidates(None, temp.path()).unwrap(), expected);
        let long = Home::at(&temp.path().join("x".repeat(100))).unwrap();
        let other = Home::at(&temp.path().join("y".repeat(100))).unwrap();
        let runtime = Path::new("/run/user/1000");
        let candidates = long.socket_candidates(Some(runtime), temp.path()).unwrap();
        assert_eq!(candidates.len(), 2);
        assert!(candidates[0].starts_with(runtime) && candidates[1].starts_with(temp.path()));
        assert_eq!(candidates[1..], long.socket_candidates(None, temp.path()).unwrap());
        assert_ne!(candidates, other.socket_candidates(Some(runtime), temp.path()).unwrap());
        assert!(candidates.iter().all(|path| path.as_os_str().len() <= MAX_SOCKET_PATH_BYTES));
        let deep = Path::new("/tmp").join("z".repeat(100));
        assert!(matches!(long.socket_candidates(None, &deep), Err(HomeError::SocketPath(_))));
        Home::create_socket_dir(&candidates[1]).unwrap();
        assert_eq!(mode(candidates[1].parent().unwrap()), 0o700);
        std::os::unix::net::UnixListener::bind(&candidates[1]).unwrap();
    }

    #[test]
    fn a_socket_directory_that_somebody_prepared_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("airssys-0123456789abcdef");
        fs::create_dir(&dir).unwrap();
        set_mode(&dir, 0o777);
        assert!(matches!(Home::create_socket_dir(&dir.join("host.sock")), Err(HomeError::Mode { .. })));
        fs::remove_dir(&dir).unwrap();
        symlink(temp.path(), &dir).unwrap();
        assert!(matches!(Home::create_socket_dir(&dir.join("host.sock")), Err(HomeError::NotADirectory(_))));
    }

    #[test]
    fn terminal_sequences_in_a_path_are_escaped_in_messages() {
        let error = HomeError::NotADirectory(PathBuf::from("/a\u{1b}[2J"));
        assert_eq!(error.to_string(), "/a\\u{1b}[2J is not a directory; move it away");
    }
}
