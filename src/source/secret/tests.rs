use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Instant;

use super::*;

struct Place {
    dir: tempfile::TempDir,
    places: SecretPlaces,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let desired = dir.path().join("desired");
    fs::create_dir(&desired).unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    let rules = SecretRules { env: vec!["CARGO_*".into()], commands: vec!["/bin/sh".into(), "/bin/absent".into()] };
    let own = vec![dir.path().join("state")];
    let places = SecretPlaces { directory: Some(desired), rules, environment: Environment::Own, own };
    Place { dir, places }
}

impl Place {
    fn file(&self, name: &str, bytes: &[u8], mode: u32) {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(&self, reference: &SecretReference) -> Result<String, String> {
        let read = self.places.read(reference);
        read.map(|read| read.secret.expose().to_owned()).map_err(|why| format!("{} {}", why.code, why.message))
    }

    fn read_file(&self, path: &str) -> Result<String, String> {
        self.read(&SecretReference::File(path.to_owned()))
    }

    fn shell(&self, script: &str) -> Result<String, String> {
        self.read(&SecretReference::Command(["/bin/sh", "-c", script].map(str::to_owned).into()))
    }

    #[track_caller]
    fn refuses(&self, path: &str, wanted: &str) {
        let error = self.read_file(path).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_file_is_read_from_the_directory_of_the_desired_file_without_its_last_line_end() {
    let place = place();
    for (bytes, wanted) in [("hunter2\n", "hunter2"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("no end", "no end")] {
        place.file("token", bytes.as_bytes(), 0o600);
        assert_eq!(place.read_file("../token").unwrap(), wanted);
    }
    place.file("desired/token", b"near", 0o400);
    assert_eq!(place.read_file("token").unwrap(), "near");
    let absolute = place.dir.path().join("token");
    assert_eq!(place.read_file(absolute.to_str().unwrap()).unwrap(), "no end");
}

#[test]
fn a_file_that_others_can_read_and_everything_that_is_no_private_file_is_refused() {
    let place = place();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o610] {
        place.file("token", b"hunter2", mode);
        place.refuses("../token", "secret-refused");
    }
    place.file("big", &vec![b'x'; MAX_SECRET_BYTES + 1], 0o600);
    place.refuses("../big", "at most 65536 are read");
    place.file("empty", b"\n", 0o600);
    place.refuses("../empty", "is empty");
    place.file("binary", b"\xff\xfe", 0o600);
    place.refuses("../binary", "is no UTF-8 text");
    place.refuses("../absent", "secret-missing");
    place.refuses("..", "names no file");
    place.refuses("../desired", "not a regular file");
    fs::create_dir(place.dir.path().join("below")).unwrap();
    symlink("../big", place.dir.path().join("below/link")).unwrap();
    place.refuses("../below/link", "is a symbolic link");
}

#[test]
fn secrets_of_the_host_itself_reach_no_component() {
    let place = place();
    place.file("state/secret-key", b"the key", 0o600);
    place.refuses("../state/secret-key", "belongs to the host itself");
    symlink("state", place.dir.path().join("alias")).unwrap();
    place.refuses("../alias/secret-key", "belongs to the host itself");
    symlink("state/secret-key", place.dir.path().join("link")).unwrap();
    place.refuses("../link", "belongs to the host itself");
}

#[test]
fn the_environment_and_programs_are_read_only_as_far_as_the_host_allows() {
    let place = place();
    let own = place.read(&SecretReference::Env("CARGO_PKG_NAME".into()));
    assert_eq!(own.as_deref(), Ok("airssys-wasm"));
    assert!(place.read(&SecretReference::Env("PATH".into())).unwrap_err().contains("may not make this host read"));
    assert!(place.read(&SecretReference::Env("CARGO_ABSENT".into())).unwrap_err().contains("secret-missing"));
    let refused = place.places.read(&SecretReference::Command(vec!["/bin/cat".into()])).err().unwrap();
    assert_eq!(refused.hint.unwrap().lines().last(), Some("commands = [\"/bin/cat\"]"));
    let of_process = SecretPlaces { environment: Environment::Of(std::process::id()), ..place.places.clone() };
    if cfg!(target_os = "linux") {
        let read = of_process.read(&SecretReference::Env("CARGO_PKG_NAME".into()));
        assert_eq!(read.map(|read| read.secret.expose().to_owned()).ok().as_deref(), Some("airssys-wasm"));
    }
}

#[test]
fn a_command_is_its_output_and_every_other_end_is_an_error_without_it() {
    let place = place();
    assert_eq!(place.shell("printf 'a b\\n'").unwrap(), "a b");
    assert_eq!(place.shell("env | grep -c CARGO_PKG; true").unwrap(), "0", "the environment is not passed on");
    for (script, wanted) in [
        ("echo canary; exit 3", "exit status: 3"),
        ("echo canary >&2; kill -9 $$", "signal: 9"),
        ("yes canary", "printed more than"),
        ("true", "is empty"),
    ] {
        let error = place.shell(script).unwrap_err();
        assert!(error.contains(wanted) && !error.contains("canary"), "{error}");
    }
    let absent = place.read(&SecretReference::Command(vec!["/bin/absent".into()])).unwrap_err();
    assert!(absent.contains("can't be started"), "{absent}");
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let place = place();
    let begun = Instant::now();
    let error = place.shell("sleep 1000 & sleep 1000").unwrap_err();
    assert!(error.contains("it took longer than 10 s"), "{error}");
    assert!(begun.elapsed() < COMMAND_TIME * 2);
}

#[test]
fn desired_files_from_a_repository_name_no_file() {
    let place = place();
    place.file("token", b"hunter2", 0o600);
    let places = SecretPlaces { directory: None, ..place.places.clone() };
    let absolute = place.dir.path().join("token").to_string_lossy().into_owned();
    let refused = places.read(&SecretReference::File(absolute)).err().unwrap();
    assert!(refused.message.contains("come from a repository"), "{}", refused.message);
}
