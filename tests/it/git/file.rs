//! Repositories on this machine: what is found in them, and what is refused.

use std::os::unix::fs::PermissionsExt as _;

use airssys_wasm::source::remote::{GitJob, Port as _};
use git2::{ObjectType, Oid};

use super::port::{Recording, fetch, fetch_tree};
use super::repository::{Origin, WASM, branch, commit, tag};

#[test]
fn g4_tag_branch_and_commit_lead_to_the_artifact_and_the_commits_id() {
    let (origin, first) = Origin::with_artifact();
    origin.point("refs/tags/light", first);
    origin.annotate("heavy", first);
    origin.annotate("heavier", origin.repository.refname_to_id("refs/tags/heavy").expect("there"));
    let second = origin.release("main", "manifest 2");
    for (at, id, manifest) in [
        (tag("light"), first, "manifest 1"),
        (tag("heavy"), first, "manifest 1"),
        (tag("heavier"), first, "manifest 1"),
        (branch("main"), second, "manifest 2"),
        (commit(first), first, "manifest 1"),
        (commit(second), second, "manifest 2"),
    ] {
        let fetched = fetch(&origin.job(at.clone()), WASM.len()).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!((fetched.commit, fetched.manifest.as_str()), (id.to_string(), manifest), "{at}");
        assert_eq!(fetched.signature, format!("signature of {manifest}"));
        assert_eq!(fetched.wasm, WASM);
    }
}

#[test]
fn g4_a_commit_inside_the_history_is_had_with_all_of_it_and_kept() {
    let (origin, first) = Origin::with_artifact();
    origin.release("main", "manifest 2");
    let job = origin.job(commit(first));
    assert!(fetch(&job, WASM.len()).expect("fetched").connected);
    assert!(!fetch(&job, WASM.len()).expect("fetched again").connected, "the mirror held it");
    let hidden = origin.commit(origin.artifact("hidden"), &[first], "hidden");
    assert_eq!(fetch(&origin.job(commit(hidden)), 1).expect_err("no reference shows it").code, "no-such-commit");
}

#[test]
fn g4_a_forced_branch_and_a_moved_tag_are_told_as_what_they_are() {
    let origin = Origin::new();
    let files = |text: &str| origin.tree(&[("100644", b"a.toml", origin.blob(text.as_bytes()))]);
    let first = origin.commit_on("main", files("1"), "1");
    let second = origin.commit_on("main", files("2"), "2");
    let told = fetch_tree(&origin.tree_job("main", Some(first))).expect("fetched");
    assert_eq!(told.commit, second.to_string());
    assert!(told.ancestry.is_fast_forward && !told.ancestry.is_cut);
    assert_eq!(told.ancestry.commits.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), [second.to_string()]);
    // Back to the older one: second is no ancestor of it.
    origin.point("refs/heads/main", first);
    let told = fetch_tree(&origin.tree_job("main", Some(second))).expect("fetched");
    assert_eq!((told.commit, told.ancestry.is_fast_forward), (first.to_string(), false));
    // Another history.
    let other = origin.commit(files("3"), &[], "3");
    origin.point("refs/heads/main", other);
    let told = fetch_tree(&origin.tree_job("main", Some(second))).expect("fetched");
    assert_eq!((told.commit, told.ancestry.is_fast_forward), (other.to_string(), false));
    // The same in a mirror that never saw the old history.
    std::fs::remove_dir_all(origin.mirror()).expect("removed");
    assert!(!fetch_tree(&origin.tree_job("main", Some(second))).expect("fetched").ancestry.is_fast_forward);
    // A tag that moved: each time the commit that it names now. That it moved is for the host to judge.
    let one = origin.release("app", "manifest 1");
    origin.point("refs/tags/v1", one);
    assert_eq!(fetch(&origin.job(tag("v1")), WASM.len()).expect("fetched").commit, one.to_string());
    let two = origin.release("app", "manifest 2");
    origin.point("refs/tags/v1", two);
    let fetched = fetch(&origin.job(tag("v1")), WASM.len()).expect("fetched");
    assert_eq!((fetched.commit, fetched.manifest.as_str()), (two.to_string(), "manifest 2"));
}

#[test]
fn commits_are_handed_out_as_they_are_stored_newest_first_and_not_without_end() {
    let origin = Origin::new();
    let tree = origin.tree(&[]);
    let ids: Vec<Oid> = (0..1_005).map(|n| origin.commit_on("main", tree, &format!("commit {n}"))).collect();
    let told = fetch_tree(&origin.tree_job("main", Some(ids[1_000]))).expect("fetched").ancestry;
    let expected: Vec<String> = ids[1_001..].iter().rev().map(Oid::to_string).collect();
    assert_eq!(told.commits.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), expected);
    for commit in &told.commits {
        assert_eq!(Oid::hash_object(ObjectType::Commit, &commit.bytes).expect("hashed").to_string(), commit.id);
    }
    let all = fetch_tree(&origin.tree_job("main", Some(ids[0]))).expect("fetched").ancestry;
    assert!(all.is_fast_forward && all.is_cut);
    assert_eq!(all.commits.len(), 1_000);
    let none = fetch_tree(&origin.tree_job("main", None)).expect("fetched").ancestry;
    assert_eq!((none.commits.len(), none.is_fast_forward), (1, true));
    let same = fetch_tree(&origin.tree_job("main", Some(ids[1_004]))).expect("fetched").ancestry;
    assert_eq!((same.commits.len(), same.is_fast_forward), (0, true));
}

#[test]
fn what_is_not_there_is_named_with_a_code() {
    let (origin, first) = Origin::with_artifact();
    let code = |job: &GitJob| fetch(job, WASM.len()).expect_err("refused").code;
    assert_eq!(code(&origin.job(tag("v9"))), "no-such-reference");
    assert_eq!(code(&origin.job(branch("v9"))), "no-such-reference");
    assert_eq!(code(&GitJob { path: "nowhere".into(), ..origin.job(commit(first)) }), "no-directory");
    assert_eq!(code(&GitJob { path: ".".into(), ..origin.job(commit(first)) }), "no-manifest");
    assert_eq!(
        code(&GitJob { url: "file:///nowhere.git".parse().expect("a URL"), ..origin.job(tag("v")) }),
        "no-repository"
    );
    origin.point("refs/tags/blob", origin.blob(b"no commit"));
    assert_eq!(code(&origin.job(tag("blob"))), "not-a-commit");
    let unsigned = origin.tree(&[("100644", b"Component.toml", origin.blob(b"m"))]);
    let unsigned = origin.commit_on("unsigned", unsigned, "unsigned");
    assert_eq!(code(&GitJob { path: ".".into(), ..origin.job(commit(unsigned)) }), "unsigned");
    assert_eq!(fetch(&origin.job(commit(first)), WASM.len() + 1).expect_err("refused").code, "wrong-size");
    let error = fetch(&origin.job(tag("v9")), 1).expect_err("refused");
    assert!(error.message.contains("tag v9") && error.hint.is_some(), "{error:?}");
}

#[test]
fn offline_nothing_is_connected_to_and_what_is_missing_is_named() {
    let (origin, first) = Origin::with_artifact();
    let offline = |at| GitJob { offline: true, ..origin.job(at) };
    let error = fetch(&offline(branch("main")), 1).expect_err("never fetched");
    assert_eq!(error.code, "offline");
    assert!(error.message.contains("branch main"), "{error}");
    fetch(&origin.job(branch("main")), WASM.len()).expect("fetched");
    origin.release("main", "manifest 2");
    for at in [branch("main"), commit(first)] {
        let fetched = fetch(&offline(at), WASM.len()).expect("held");
        assert_eq!((fetched.commit, fetched.connected), (first.to_string(), false));
    }
    assert_eq!(fetch(&offline(tag("main")), 1).expect_err("a tag is no branch").code, "offline");
}

#[test]
fn g5_only_regular_files_on_a_path_of_directories_are_read() {
    let origin = Origin::new();
    let blob = origin.blob(b"target");
    let file = |mode, name: &'static str| origin.tree(&[(mode, name.as_bytes(), blob)]);
    let whole = |manifest_mode, signature_mode| {
        origin.tree(&[
            (manifest_mode, b"Component.toml", blob),
            (signature_mode, b"Component.toml.sig", blob),
            ("100644", b"component.wasm", blob),
        ])
    };
    let link = origin.blob(b"/etc");
    let large = |bytes: usize| origin.blob(&vec![b'x'; bytes]);
    let sized = |manifest, signature| {
        origin.tree(&[("100644", b"Component.toml", manifest), ("100644", b"Component.toml.sig", signature)])
    };
    let good = whole("100644", "100755");
    // Names that are odd on other systems only.
    let id = origin.commit_on("odd", origin.tree(&[("40000", b"CON", good)]), "odd");
    fetch(&GitJob { path: "CON".to_owned(), ..origin.job(commit(id)) }, 6).expect("a directory like any other");
    let cases = [
        (".", whole("120000", "100644"), "not-a-file"),
        (".", whole("160000", "100644"), "not-a-file"),
        (".", origin.tree(&[("40000", b"Component.toml", origin.tree(&[]))]), "not-a-file"),
        (".", whole("104755", "100644"), "not-a-file"),
        (".", whole("100644", "120000"), "not-a-file"),
        (".", sized(large(64 * 1024 + 1), blob), "manifest-too-large"),
        (".", sized(blob, large(16 * 1024 + 1)), "signature-too-large"),
        ("app", origin.tree(&[("120000", b"app", link)]), "path-refused"),
        ("app", origin.tree(&[("160000", b"app", good)]), "path-refused"),
        ("app", file("100644", "app"), "path-refused"),
        ("app/inner", origin.tree(&[("120000", b"app", link)]), "path-refused"),
        ("app", origin.tree(&[("40000", b"app", good), ("40000", b"app", good)]), "path-refused"),
        (".git", origin.tree(&[("40000", b".git", good)]), "path-refused"),
        ("app/../app", origin.tree(&[("40000", b"app", good)]), "path-refused"),
        ("a\\b", origin.tree(&[("40000", b"a\\b", good)]), "path-refused"),
        ("a\rb", origin.tree(&[("40000", b"a\rb", good)]), "path-refused"),
        // Last: a repository with one broken branch is as a whole not fetched over this transport.
        (".", whole("40000", "100644"), "bad-pack"),
    ];
    for (n, (path, tree, code)) in cases.into_iter().enumerate() {
        let id = origin.commit_on(&format!("case{n}"), tree, "hostile");
        let error = fetch(&GitJob { path: path.to_owned(), ..origin.job(commit(id)) }, 6).expect_err(code);
        assert_eq!(error.code, code, "case {n}: {error}");
        assert!(!error.message.contains(char::is_control), "{error:?}");
    }
}

#[test]
fn g5_a_tree_of_very_many_entries_and_a_very_deep_one_are_refused() {
    let origin = Origin::new();
    let blob = origin.blob(b"x");
    let names: Vec<String> = (0..300_000).map(|n| format!("{n:07}.toml")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), blob)).collect();
    let wide = origin.commit_on("main", origin.tree(&entries), "wide");
    assert_eq!(fetch_tree(&origin.tree_job("main", None)).expect_err("refused").code, "tree-too-large");
    let job = GitJob { path: ".".to_owned(), ..origin.job(commit(wide)) };
    assert_eq!(fetch(&job, 1).expect_err("refused").code, "tree-too-large");
    let deep = (0..4_000).fold(origin.tree(&[]), |below, _| origin.tree(&[("40000", b"d", below)]));
    let id = origin.commit_on("deep", deep, "deep");
    let path = vec!["d"; 4_000].join("/");
    assert_eq!(fetch(&GitJob { path, ..origin.job(commit(id)) }, 1).expect_err("refused").code, "path-refused");
    let at_limit = vec!["d"; 64].join("/");
    let error = fetch(&GitJob { path: at_limit, ..origin.job(commit(id)) }, 1).expect_err("no manifest there");
    assert_eq!(error.code, "no-manifest");
}

#[test]
fn desired_files_are_those_of_the_directory_and_what_can_not_be_read_is_listed() {
    let origin = Origin::new();
    let blob = origin.blob(b"package");
    let large = origin.blob(&vec![b'#'; 256 * 1024 + 1]);
    let below = origin.tree(&[("100644", b"deeper.toml", blob)]);
    let tree = origin.tree(&[
        ("100644", b".hidden.toml", blob),
        ("100644", b"README.md", blob),
        ("100755", b"a.toml", blob),
        ("100644", b"b.toml~", blob),
        ("40000", b"directory.toml", below),
        ("100644", b"large.toml", large),
        ("120000", b"link.toml", blob),
        ("100644", b"not-\xff.toml", blob),
        ("160000", b"submodule.toml", blob),
        ("40000", b"sub", below),
        ("100644", b"z.toml", origin.blob(b"")),
    ]);
    origin.commit_on("main", tree, "files");
    let snapshot = fetch_tree(&origin.tree_job("main", None)).expect("fetched");
    assert_eq!(snapshot.files, [("a.toml".to_owned(), b"package".to_vec()), ("z.toml".to_owned(), Vec::new())]);
    let unreadable: Vec<&str> = snapshot.unreadable.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(unreadable, ["directory.toml", "large.toml", "link.toml", "not-\u{fffd}.toml", "submodule.toml"]);
    assert!(snapshot.unreadable[1].1.contains("262145 bytes"), "{:?}", snapshot.unreadable);
    let twice = origin.tree(&[("100644", b"a.toml", blob), ("100644", b"a.toml", large)]);
    origin.commit_on("main", twice, "twice");
    assert_eq!(fetch_tree(&origin.tree_job("main", None)).expect_err("refused").code, "path-refused");
}

#[test]
fn g7_hooks_filters_and_local_configuration_of_a_repository_run_nothing() {
    let (origin, _) = Origin::with_artifact();
    let canary = origin.root().join("canary");
    let program = origin.root().join("program");
    std::fs::write(&program, format!("#!/bin/sh\ntouch '{}'\ncat\n", canary.display())).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    for hook in ["post-upload-pack", "pre-upload-pack", "post-checkout", "reference-transaction", "update"] {
        std::fs::create_dir_all(origin.path().join("hooks")).expect("made");
        std::fs::copy(&program, origin.path().join("hooks").join(hook)).expect("copied");
    }
    let program = program.display();
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfsmonitor = {program}\n\tsshCommand = {program}\n\
         \taskPass = {program}\n\thooksPath = {}\n[filter \"evil\"]\n\tsmudge = {program}\n\tclean = {program}\n\
         \trequired = true\n[uploadpack]\n\tpackObjectsHook = {program}\n[credential]\n\thelper = {program}\n",
        origin.path().join("hooks").display()
    );
    std::fs::write(origin.path().join("config"), config).expect("written");
    let app = origin.tree(&[
        ("100644", b".gitattributes", origin.blob(b"* filter=evil diff=evil merge=evil\n")),
        ("100644", b"Component.toml", origin.blob(b"m")),
        ("100644", b"Component.toml.sig", origin.blob(b"s")),
        ("100644", b"component.wasm", origin.blob(WASM)),
    ]);
    origin.commit_on("main", origin.tree(&[("40000", b"app", app)]), "evil");
    let fetched = fetch(&origin.job(branch("main")), WASM.len()).expect("fetched");
    assert_eq!(fetched.wasm, WASM);
    fetch_tree(&origin.tree_job("main", None)).expect("fetched");
    assert!(!canary.exists(), "something was run");
}

#[test]
fn g8_submodules_are_not_touched() {
    let (origin, first) = Origin::with_artifact();
    let victim = origin.root().join("victim");
    let modules = format!(
        "[submodule \"a\"]\n\tpath = a\n\turl = -oProxyCommand=touch${{IFS}}{0}\n[submodule \"../../x\"]\n\tpath = ../../x\n\
         \turl = file://{0}\n",
        victim.display()
    );
    let app = origin.repository.find_commit(first).expect("there").tree_id();
    let app = origin.repository.find_tree(app).expect("there").get_name("app").expect("there").id();
    let tree = origin.tree(&[
        ("100644", b".gitmodules", origin.blob(modules.as_bytes())),
        ("160000", b"a", first),
        ("40000", b"app", app),
    ]);
    origin.commit_on("main", tree, "submodules");
    fetch(&origin.job(branch("main")), WASM.len()).expect("fetched");
    assert!(!victim.exists() && !origin.mirror().join("snapshot.git/modules").exists());
}

#[test]
fn g12_an_interrupted_or_damaged_mirror_is_made_anew() {
    let (origin, first) = Origin::with_artifact();
    let job = origin.job(branch("main"));
    fetch(&job, WASM.len()).expect("fetched");
    let repository = origin.mirror().join("snapshot.git");
    let packs = || std::fs::read_dir(repository.join("objects/pack")).expect("listed").count();
    // Killed in the middle: the note is there, and half a pack.
    std::fs::write(origin.mirror().join("snapshot.fetching"), b"").expect("written");
    std::fs::write(repository.join("objects/pack/tmp_pack_x"), vec![0; 1 << 20]).expect("written");
    assert_eq!(fetch(&job, WASM.len()).expect("redone").commit, first.to_string());
    assert_eq!(packs(), 2, "a pack and its index");
    // A flipped byte in the middle of the pack.
    let mut pack =
        std::fs::read_dir(repository.join("objects/pack")).expect("listed").map(|e| e.expect("an entry").path());
    let pack = pack.find(|path| path.extension().is_some_and(|e| e == "pack")).expect("a pack");
    let mut bytes = std::fs::read(&pack).expect("read");
    for byte in &mut bytes[20..60] {
        *byte ^= 0x55;
    }
    std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o644)).expect("writable");
    std::fs::write(&pack, bytes).expect("written");
    assert_eq!(fetch(&job, WASM.len()).expect("redone").wasm, WASM);
    // Rubbish in place of the files of the repository.
    for file in ["HEAD", "config", "packed-refs"] {
        std::fs::write(repository.join(file), b"\xff\0rubbish").expect("written");
        assert_eq!(fetch(&job, WASM.len()).unwrap_or_else(|e| panic!("{file}: {e}")).wasm, WASM);
    }
}

#[test]
fn the_mirrors_own_configuration_counts_for_nothing() {
    let (origin, first) = Origin::with_artifact();
    fetch(&origin.job(branch("main")), WASM.len()).expect("fetched");
    let config = "[core]\n\tbare = true\n[url \"file:///nowhere/\"]\n\tinsteadOf = file:///\n";
    std::fs::write(origin.mirror().join("snapshot.git/config"), config).expect("written");
    let second = origin.release("main", "manifest 2");
    let fetched = fetch(&origin.job(branch("main")), WASM.len()).expect("fetched");
    assert_ne!(first, second);
    assert_eq!(fetched.commit, second.to_string());
}

#[test]
fn two_fetches_into_one_mirror_wait_for_each_other_and_not_for_ever() {
    let (origin, _) = Origin::with_artifact();
    let job = origin.job(branch("main"));
    std::fs::create_dir_all(&job.mirror).expect("made");
    let lock = std::fs::File::create(job.mirror.join("lock")).expect("made");
    lock.lock().expect("locked");
    let limits =
        airssys_wasm::source::git::Limits { lock_wait: std::time::Duration::from_millis(50), ..Default::default() };
    let error = super::port::fetch_within(&job, WASM.len(), &limits).expect_err("busy");
    assert_eq!(error.code, "mirror-busy");
    drop(lock);
    fetch(&job, WASM.len()).expect("free");
    let mut port = Recording::default();
    assert!(port.progress("x", 0).is_ok() && !port.connected());
}
