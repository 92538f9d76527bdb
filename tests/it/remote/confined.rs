//! What the settings name reaches a worker that may read none of it: keys, known hosts and authorities under Landlock.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{desire, files, release, settings, url_source};
use crate::components::idle;
use crate::git::certificates::{Host, Identity, Validity};
use crate::git::server::{Behaviour, Server};
use crate::git::ssh;
use crate::harness::{TRUSTED_SEED, World, stderr, stdout};

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("mode set");
}

/// Plans; nothing is ready, for this reason.
#[track_caller]
fn refused(world: &World, code: &str) {
    let output = world.on_desired("plan", &[]);
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
    assert!(stdout(&output).contains(&format!("[{code}]")), "{}", stdout(&output));
}

#[track_caller]
fn installed(world: &World, name: &str) {
    let output = world.on_desired("apply", &[]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(world.committed().get(name).map(String::as_str), Some("1.0.0"));
}

#[test]
fn g9_a_component_comes_over_ssh_through_a_worker_that_can_read_no_key() {
    if ssh::is_missing() {
        return;
    }
    let world = World::new();
    let wasm = idle("1");
    let repository = super::git::Repository::new(&world);
    repository.commit(&files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    let sshd = ssh::start(&world.path().join("sshd"), "ed25519");
    let place = world.path().display();
    let source = format!(
        "[source.git]\nurl = \"ssh://{}@127.0.0.1:{}{place}/releases.git\"\nbranch = \"main\"\npath = \".\"\n",
        sshd.user, sshd.port
    );
    desire(&world, "a", &source);
    let with_hosts = |line: &str| {
        std::fs::write(world.path().join("known_hosts"), line).expect("written");
        settings(
            &world,
            &format!(
                "[credentials.\"127.0.0.1:{}\"]\nssh-key-file = \"{place}/sshd/user\"\n\
                 known-hosts-file = \"{place}/known_hosts\"\n",
                sshd.port
            ),
        );
    };
    with_hosts("");
    refused(&world, "unknown-host-key");
    let other = ssh::make_key(&world.path().join("other"), "ed25519");
    with_hosts(&sshd.known(&other));
    refused(&world, "host-key-changed");
    with_hosts(&sshd.known(&sshd.host_key));
    // The key is no file that others can read.
    std::fs::set_permissions(world.path().join("sshd/user"), std::fs::Permissions::from_mode(0o644)).expect("mode");
    refused(&world, "credentials-unreadable");
    std::fs::set_permissions(world.path().join("sshd/user"), std::fs::Permissions::from_mode(0o600)).expect("mode");
    installed(&world, "a");
}

#[test]
fn g10_u1_components_come_over_tls_of_a_private_authority_that_only_the_host_can_read() {
    let world = World::new();
    let wasm = idle("1");
    let content = files(&release("1.0.0", 1, &wasm), TRUSTED_SEED);
    super::git::Repository::new(&world).commit(&content);
    let authority = Identity::authority("ours");
    let here = Host::Address("127.0.0.1");
    let identity = authority.issue(&here, Validity::default());
    let git = Server::start(world.path(), Behaviour { tls: Some(identity.acceptor()), ..Behaviour::default() });
    let web = {
        let identity = authority.issue(&here, Validity::default());
        let answers = content.clone();
        let misbehave = move |request: &crate::git::server::Request, stream: &mut dyn crate::git::server::Stream| {
            match answers.get(request.target.rsplit('/').next().unwrap_or_default()) {
                Some(body) => crate::git::server::respond(stream, "200 OK", &[], body),
                None => crate::git::server::respond(stream, "404 Not Found", &[], b""),
            }
            true
        };
        let tls = Some(identity.acceptor());
        Server::start(
            world.path(),
            Behaviour { tls, misbehave: Some(std::sync::Arc::new(misbehave)), ..Behaviour::default() },
        )
    };
    let git_source = format!("[source.git]\nurl = \"{}\"\nbranch = \"main\"\npath = \".\"\n", git.url("releases.git"));
    let url = format!("[source.url]\nurl = \"{}\"\n", web.url("a/Component.toml"));
    for (name, source) in [("git", git_source), ("url", url)] {
        std::fs::remove_dir_all(world.home()).ok();
        std::fs::remove_file(world.desired().join("git.toml")).ok();
        desire(&world, name, &source);
        refused(&world, "bad-certificate");
        private(&world.path().join("ca.pem"), &Identity::authority("other").pem());
        let ca = format!("[credentials.\"127.0.0.1\"]\nca-file = \"{}/ca.pem\"\n", world.path().display());
        settings(&world, &ca);
        refused(&world, "bad-certificate");
        // Only the owner can read it, and the worker is nobody's.
        private(&world.path().join("ca.pem"), &authority.pem());
        installed(&world, name);
    }
}

#[test]
fn u9_what_is_not_pinned_is_refused_by_file_and_line_where_the_settings_require_pins() {
    let world = World::new();
    let wasm = idle("1");
    let server = super::Server::new(files(&release("1.0.0", 1, &wasm), TRUSTED_SEED));
    desire(&world, "plain", &url_source(server.port, "plain", ""));
    installed(&world, "plain");
    settings(&world, "[sources]\nrequire-pin = true\n");
    let before = server.asked().len();
    desire(&world, "new", &url_source(server.port, "new", ""));
    let planned = world.on_desired("plan", &[]);
    assert_eq!(planned.status.code(), Some(12), "{}", stderr(&planned));
    let text = stdout(&planned);
    for told in ["new.toml:3", "plain.toml:3", "[pin-required]", "add `sha256 = "] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(server.asked().len(), before, "something was fetched without a pin");
    // What runs goes on.
    assert_eq!(world.on_desired("apply", &[]).status.code(), Some(12));
    assert_eq!(world.committed().into_keys().collect::<Vec<_>>(), ["plain"]);
    let pin = format!("sha256 = \"{}\"", airssys_wasm::digest::Digest::of(&wasm).hex());
    for name in ["plain", "new"] {
        desire(&world, name, &url_source(server.port, name, &pin));
    }
    installed(&world, "new");
    installed(&world, "plain");
}
