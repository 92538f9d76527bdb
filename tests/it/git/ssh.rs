//! Git over SSH against Debian's sshd, with keys of its own on a free port.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use airssys_wasm::source::remote::{Access, GitJob};

use super::port::fetch;
use super::repository::{Origin, WASM, branch, commit};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd that lets one key in, ended with the test.
pub struct Sshd {
    child: Child,
    pub port: u16,
    pub host_key: String,
    user_key: String,
    pub user: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without the tools the test is not run, except where everything must be.
pub fn is_missing() -> bool {
    let missing = [SSHD, "/usr/bin/ssh-keygen"].into_iter().find(|tool| !Path::new(tool).exists());
    if let Some(tool) = missing {
        assert!(std::env::var_os("CI").is_none(), "{tool} is missing: install openssh-server and git");
        println!("not run: needs {tool}");
    }
    missing.is_some()
}

pub fn make_key(path: &Path, kind: &str) -> String {
    let made = Command::new("/usr/bin/ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success());
    fs::read_to_string(path.with_extension("pub")).expect("the public half")
}

pub fn start(directory: &Path, host_kind: &str) -> Sshd {
    fs::create_dir_all(directory).expect("made");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("private");
    let host_key = make_key(&directory.join("host"), host_kind);
    let authorized = make_key(&directory.join("user"), "ed25519");
    fs::write(directory.join("authorized"), authorized).expect("written");
    // Free a moment ago; nobody else starts servers on chosen ports here.
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
    let place = directory.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/authorized\n\
         PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n"
    );
    fs::write(directory.join("config"), config).expect("written");
    // Its place for processes without rights, which only root may need to make.
    let _ = fs::create_dir_all("/run/sshd");
    let child = Command::new(SSHD)
        .args(["-D", "-e", "-f"])
        .arg(directory.join("config"))
        .stderr(fs::File::create(directory.join("log")).expect("made"))
        .stdin(Stdio::null())
        .spawn()
        .expect("sshd starts");
    let user = Command::new("id").arg("-un").output().expect("id runs").stdout;
    let user = String::from_utf8(user).expect("UTF-8").trim().to_owned();
    let user_key = fs::read_to_string(directory.join("user")).expect("the private half");
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(Instant::now() < until, "sshd does not answer: {}", log());
        std::thread::yield_now();
    }
    Sshd { child, port, host_key, user_key, user }
}

impl Sshd {
    /// The line of a `known_hosts` file that names this server with a key.
    pub fn known(&self, key: &str) -> String {
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    fn job(&self, origin: &Origin, known_hosts: Option<String>) -> GitJob {
        let url = format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, origin.path().display());
        GitJob {
            url: url.parse().expect("a URL"),
            access: Access { ssh_key: Some(self.user_key.as_str().into()), known_hosts, ..Access::default() },
            ..origin.job(branch("main"))
        }
    }
}

#[test]
fn g9_only_a_host_whose_key_the_settings_name_is_spoken_to() {
    if is_missing() {
        return;
    }
    let (origin, first) = Origin::with_artifact();
    let second = origin.release("main", "manifest 2");
    let sshd = start(&origin.root().join("sshd"), "ed25519");
    let right = sshd.known(&sshd.host_key);
    let fetched = fetch(&sshd.job(&origin, Some(right.clone())), WASM.len()).expect("fetched");
    assert_eq!((fetched.commit, fetched.wasm.as_slice()), (second.to_string(), WASM));
    let by_id = GitJob { at: commit(first), ..sshd.job(&origin, Some(right.clone())) };
    assert_eq!(fetch(&by_id, WASM.len()).expect("fetched").commit, first.to_string());

    let code = |known_hosts: Option<String>| fetch(&sshd.job(&origin, known_hosts), 1).expect_err("refused").code;
    assert_eq!(code(None), "unknown-host-key");
    assert_eq!(code(Some(String::new())), "unknown-host-key");
    assert_eq!(code(Some(format!("example.com {}", sshd.host_key))), "unknown-host-key");
    assert_eq!(code(Some(format!("127.0.0.1 {}", sshd.host_key))), "unknown-host-key");
    // Somebody else's key of the same kind: the host's was swapped.
    let other = make_key(&origin.root().join("other"), "ed25519");
    assert_eq!(code(Some(sshd.known(&other))), "host-key-changed");
    assert_eq!(code(Some(format!("@revoked {right}"))), "host-key-changed");
    assert_eq!(code(Some(format!("{right}\n@revoked {right}"))), "host-key-changed");
}

#[test]
fn g2_a_key_that_is_not_let_in_is_tried_once_and_shown_nowhere() {
    if is_missing() {
        return;
    }
    let (origin, _) = Origin::with_artifact();
    let sshd = start(&origin.root().join("sshd"), "rsa");
    let right = Some(sshd.known(&sshd.host_key));
    assert!(fetch(&sshd.job(&origin, right.clone()), WASM.len()).is_ok(), "an RSA host key is as good");
    make_key(&origin.root().join("stranger"), "ed25519");
    let stranger = fs::read_to_string(origin.root().join("stranger")).expect("a key");
    let refused = |change: &dyn Fn(&mut Access)| {
        let mut job = sshd.job(&origin, right.clone());
        change(&mut job.access);
        fetch(&job, 1).expect_err("refused")
    };
    let error = refused(&|access| access.ssh_key = Some(stranger.as_str().into()));
    assert_eq!(error.code, "bad-credentials", "{error}");
    assert!(!format!("{error:?}").contains("OPENSSH"), "{error:?}");
    assert_eq!(refused(&|access| access.ssh_key = None).code, "bad-credentials");
    assert_eq!(refused(&|access| access.ssh_key = Some("rubbish".into())).code, "bad-credentials");
    assert_eq!(refused(&|access| access.proxy = Some("http://127.0.0.1:1".into())).code, "bad-settings");
}
