use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use notify::ErrorKind;
use notify::event::{Event, EventKind, Flag};
use tempfile::TempDir;

use super::*;
use crate::safe_open::own_uid;
use crate::watch::backend::{Feed, poll_cause};
use crate::watch::files::{FileCache, FileView, Look};
use crate::watch::listing::Lister;
use crate::watch::{Cause, Touched};

/// Far longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A loop over a real directory: a file's content is its own meaning.
struct Loop {
    root: TempDir,
    watcher: Watcher,
    wake: Wake,
    lister: Lister,
    cache: FileCache<String>,
}

impl Loop {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let desired = root.path().join("desired");
        fs::create_dir(&desired).unwrap();
        fs::set_permissions(&desired, fs::Permissions::from_mode(0o755)).unwrap();
        prepare(&desired);
        let (watcher, wake) = Watcher::open(&desired, 0);
        assert_eq!(*watcher.mode(), WatchMode::Events);
        let lister = Lister::new(&desired, own_uid());
        let mut this = Self { root, watcher, wake, lister, cache: FileCache::default() };
        this.pass();
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join("desired").join(name)
    }

    fn pass(&mut self) {
        self.watcher.refresh();
        let Ok(listing) = self.lister.list() else { return };
        self.wake.set_has_links(listing.has_links);
        let completed = self.wake.take_completed();
        let now = self.wake.now();
        let look = Look { listing, completed: &completed, times: self.watcher.file_times(), now };
        for name in self.cache.observe(look).read {
            match self.lister.read(&name) {
                Ok(content) => {
                    let text = String::from_utf8(content.bytes.clone()).unwrap();
                    self.cache.fill(&name, &content, Arc::new(text), now);
                }
                Err(error) => self.cache.fail(&name, error, now),
            }
        }
        self.wake.look_again_after(self.cache.look_again_after(now));
    }

    /// `name=content` of every file; `?` for one that cannot be used.
    fn view(&self) -> String {
        let show = |(name, view): (&str, FileView<'_, String>)| match view {
            FileView::Content(content) => format!("{name}={content}"),
            FileView::Unreadable(_) => format!("{name}=?"),
        };
        self.cache.files().map(show).collect::<Vec<_>>().join(" ")
    }

    async fn next(&mut self) -> Cause {
        let Ok(cause) = tokio::time::timeout(PATIENCE, self.wake.next()).await else {
            panic!("nothing came; the view is `{}`", self.view());
        };
        cause
    }

    /// Passes until the view is `wanted`; each view on the way must be one of `allowed`.
    async fn until(&mut self, wanted: &str, allowed: &[&str]) {
        while self.view() != wanted {
            self.next().await;
            self.pass();
            let view = self.view();
            assert!(view == wanted || allowed.contains(&view.as_str()), "`{view}` on the way to `{wanted}`");
        }
    }

    /// Passes until nothing waits any more but the regular list, which is beyond [`PATIENCE`].
    async fn until_calm(&mut self) {
        while self.watcher.shared.inbox().is_waiting() {
            self.next().await;
            self.pass();
        }
    }
}

#[tokio::test]
async fn a_file_that_is_renamed_into_place_is_seen_at_once_and_read_without_waiting() {
    let mut host = Loop::new(|_| {});
    fs::write(host.at(".a.toml.tmp"), "one").unwrap();
    fs::rename(host.at(".a.toml.tmp"), host.at("a.toml")).unwrap();
    assert_eq!(host.next().await, Cause::Event("a.toml".to_owned()));
    host.pass();
    assert_eq!(host.view(), "a.toml=one");
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_read_when_it_is_closed_and_never_in_part() {
    let mut host = Loop::new(|desired| fs::write(desired.join("a.toml"), "old").unwrap());
    host.until("a.toml=old", &["a.toml=?"]).await;
    for n in 0..5 {
        let (before, text) = (host.view(), format!("{n}{}", "x".repeat(100_000)));
        fs::write(host.at("a.toml"), &text).unwrap();
        host.until(&format!("a.toml={text}"), &[&before]).await;
    }
}

#[tokio::test]
async fn a_writer_that_keeps_the_file_open_is_waited_for() {
    use std::io::Write as _;
    let mut host = Loop::new(|_| {});
    let mut file = fs::File::create(host.at("a.toml")).unwrap();
    file.write_all(b"first half, ").unwrap();
    assert_eq!(host.next().await, Cause::Event("a.toml".to_owned()));
    host.pass();
    file.write_all(b"second half").unwrap();
    drop(file);
    host.until("a.toml=first half, second half", &["a.toml=?", "a.toml=first half, "]).await;
}

#[tokio::test]
async fn editors_replace_a_file_without_its_ever_being_gone() {
    let mut host = Loop::new(|desired| fs::write(desired.join("a.toml"), "0").unwrap());
    host.until("a.toml=0", &["a.toml=?"]).await;
    let vim_renames = |desired: &Path, text: &str| {
        fs::write(desired.join(".a.toml.swp"), "swap").unwrap();
        fs::write(desired.join("4913"), "").unwrap();
        fs::remove_file(desired.join("4913")).unwrap();
        fs::rename(desired.join("a.toml"), desired.join("a.toml~")).unwrap();
        fs::write(desired.join("a.toml"), text).unwrap();
        fs::remove_file(desired.join("a.toml~")).unwrap();
        fs::remove_file(desired.join(".a.toml.swp")).unwrap();
    };
    let truncates = |desired: &Path, text: &str| fs::write(desired.join("a.toml"), text).unwrap();
    let removes_and_writes = |desired: &Path, text: &str| {
        fs::remove_file(desired.join("a.toml")).unwrap();
        fs::write(desired.join("a.toml"), text).unwrap();
    };
    let renames_into_place = |desired: &Path, text: &str| {
        fs::write(desired.join("a.toml.tmp"), text).unwrap();
        fs::rename(desired.join("a.toml.tmp"), desired.join("a.toml")).unwrap();
    };
    type Save<'a> = &'a dyn Fn(&Path, &str);
    let patterns: [Save<'_>; 4] = [&vim_renames, &truncates, &removes_and_writes, &renames_into_place];
    for (n, save) in patterns.iter().cycle().take(12).enumerate() {
        let before = host.view();
        let text = (n + 1).to_string();
        save(&host.root.path().join("desired"), &text);
        host.until(&format!("a.toml={text}"), &[&before]).await;
    }
}

#[tokio::test]
async fn mounted_configuration_of_kubernetes_flips_as_one() {
    let write = |desired: &Path, version: &str, text: &str| {
        fs::create_dir(desired.join(version)).unwrap();
        for name in ["a.toml", "b.toml"] {
            fs::write(desired.join(version).join(name), text).unwrap();
        }
    };
    let mut host = Loop::new(|desired| {
        write(desired, "..v1", "1");
        symlink("..v1", desired.join("..data")).unwrap();
        for name in ["a.toml", "b.toml"] {
            symlink(Path::new("..data").join(name), desired.join(name)).unwrap();
        }
    });
    host.until("a.toml=1 b.toml=1", &["a.toml=? b.toml=?"]).await;
    let desired = host.root.path().join("desired");
    write(&desired, "..v2", "2");
    symlink("..v2", desired.join("..data_tmp")).unwrap();
    fs::rename(desired.join("..data_tmp"), desired.join("..data")).unwrap();
    fs::remove_dir_all(desired.join("..v1")).unwrap();
    host.until("a.toml=2 b.toml=2", &["a.toml=1 b.toml=1"]).await;
}

#[tokio::test]
async fn looking_and_reading_wake_nobody() {
    let mut host = Loop::new(|desired| {
        for n in 0..50 {
            fs::write(desired.join(format!("{n}.toml")), "x").unwrap();
        }
    });
    while host.view().contains('?') {
        host.next().await;
        host.pass();
    }
    for _ in 0..3 {
        host.lister.list().unwrap();
        for n in 0..50 {
            host.lister.read(&format!("{n}.toml")).unwrap();
        }
    }
    fs::write(host.at(".z.toml.tmp"), "marker").unwrap();
    fs::rename(host.at(".z.toml.tmp"), host.at("z.toml")).unwrap();
    assert_eq!(host.next().await, Cause::Event("z.toml".to_owned()));
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let mut host = Loop::new(|desired| fs::write(desired.join("a.toml"), "old").unwrap());
    host.until("a.toml=old", &["a.toml=?"]).await;
    let desired = host.root.path().join("desired");
    for round in 0..3 {
        fs::rename(&desired, host.root.path().join(format!("old-{round}"))).unwrap();
        fs::create_dir(&desired).unwrap();
        fs::write(desired.join("b.toml"), "new").unwrap();
        host.until(
            "b.toml=new",
            &["a.toml=old", "a.toml=old b.toml=?", "b.toml=?", "a.toml=old b.toml=new", &host.view()],
        )
        .await;
        // The watch is on the new one.
        host.until_calm().await;
        fs::write(host.at("c.toml"), "seen").unwrap();
        host.until("b.toml=new c.toml=seen", &["b.toml=new", "b.toml=new c.toml=?"]).await;
    }
}

#[tokio::test]
async fn a_directory_that_goes_away_keeps_what_was_known_and_its_return_is_noticed() {
    let mut host = Loop::new(|desired| fs::write(desired.join("a.toml"), "old").unwrap());
    host.until("a.toml=old", &["a.toml=?"]).await;
    let [desired, away] = ["desired", "away"].map(|name| host.root.path().join(name));
    fs::rename(&desired, &away).unwrap();
    while *host.watcher.mode() != (WatchMode::Polled { cause: PollCause::Missing }) {
        host.next().await;
        host.pass();
        assert_eq!(host.view(), "a.toml=old");
    }
    fs::write(away.join("b.toml"), "new").unwrap();
    fs::rename(&away, &desired).unwrap();
    host.until("a.toml=old b.toml=new", &["a.toml=old", "a.toml=old b.toml=?"]).await;
    assert_eq!(*host.watcher.mode(), WatchMode::Events);
}

#[tokio::test]
async fn a_desired_directory_that_is_a_link_is_watched_where_the_link_leads_now() {
    let root = tempfile::tempdir().unwrap();
    for version in ["v1", "v2"] {
        fs::create_dir(root.path().join(version)).unwrap();
        fs::write(root.path().join(version).join("a.toml"), version).unwrap();
    }
    let mut host = Loop::new(|desired| {
        fs::remove_dir(desired).unwrap();
        symlink(root.path().join("v1"), desired).unwrap();
    });
    host.until("a.toml=v1", &["a.toml=?"]).await;
    symlink(root.path().join("v2"), host.root.path().join("next")).unwrap();
    fs::rename(host.root.path().join("next"), host.root.path().join("desired")).unwrap();
    host.until("a.toml=v2", &["a.toml=v1"]).await;
    fs::write(root.path().join("v2/b.toml"), "b").unwrap();
    host.until("a.toml=v2 b.toml=b", &["a.toml=v2", "a.toml=v2 b.toml=?"]).await;
}

#[tokio::test]
async fn lost_events_lead_to_a_full_list_that_finds_what_they_told() {
    let mut host = Loop::new(|_| {});
    let overflow = || Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan));
    let now = host.wake.now();
    host.watcher.shared.inbox().deliver(Origin::Desired, overflow(), now);
    host.watcher.shared.announce();
    assert_eq!(host.next().await, Cause::Overflow);
    host.pass();
    // The watches were set anew and work.
    fs::write(host.at("a.toml"), "one").unwrap();
    host.until("a.toml=one", &["", "a.toml=?"]).await;
}

#[tokio::test]
async fn a_watcher_whose_thread_ends_is_replaced() {
    let mut host = Loop::new(|_| {});
    let is_dead = Arc::clone(&host.watcher.desired.as_ref().unwrap().is_dead);
    drop(Feed { shared: Arc::clone(&host.watcher.shared), origin: Origin::Desired, is_dead });
    assert_eq!(host.next().await, Cause::WatcherError("its thread ended".to_owned()));
    host.pass();
    assert!(!host.watcher.desired.as_ref().unwrap().is_dead());
    fs::write(host.at("a.toml"), "one").unwrap();
    host.until("a.toml=one", &["", "a.toml=?"]).await;
}

#[tokio::test]
async fn waiting_can_be_given_up_and_loses_nothing() {
    let mut host = Loop::new(|_| {});
    fs::write(host.at("a.toml"), "one").unwrap();
    let mut given_up = 0;
    let cause = loop {
        tokio::select! {
            biased;
            cause = host.wake.next() => break cause,
            () = tokio::task::yield_now() => given_up += 1,
        }
    };
    assert_eq!(cause, Cause::Event("a.toml".to_owned()), "after giving up {given_up} times");
}

#[tokio::test]
async fn a_host_with_nothing_to_do_is_not_woken() {
    let mut host = Loop::new(|desired| fs::write(desired.join("a.toml"), "one").unwrap());
    host.until("a.toml=one", &["a.toml=?"]).await;
    // The content was read once more after it became quiet, or will be with the next look; neither
    // asks for a look of its own.
    let woken = tokio::time::timeout(Duration::from_secs(2), host.wake.next()).await;
    assert!(woken.is_err(), "{woken:?}");
}

impl Loop {
    fn watch_artifacts(&mut self, directories: &[&Path]) {
        self.watcher.set_artifact_dirs(&directories.iter().map(|path| (*path).to_owned()).collect());
    }

    /// Passes until `directory` was touched.
    async fn until_touched(&mut self, directory: &Path) {
        loop {
            self.next().await;
            self.pass();
            match self.wake.take_touched() {
                Touched::Directories(touched) if touched.contains(directory) => return,
                Touched::Directories(_) => {}
                Touched::All => panic!("it must be known which"),
            }
        }
    }
}

#[tokio::test]
async fn artifacts_are_watched_while_they_come_change_go_and_return() {
    let mut host = Loop::new(|_| {});
    let artifact = host.root.path().join("components/a");
    let other = host.root.path().join("components/b");
    assert_eq!(host.wake.take_touched(), Touched::All, "at first nothing was looked at");
    host.watch_artifacts(&[&artifact]);
    // The watch of the nearest ancestor is new, so what happened before is not known.
    host.until_touched(&artifact).await;
    // Not there yet, and neither is its parent.
    fs::create_dir_all(&artifact).unwrap();
    host.until_touched(&artifact).await;
    for round in 0..3 {
        for name in ["Component.toml", "Component.toml.sig", "a.wasm"] {
            // What was touched by the watches' being set anew is taken, so that only the file is left.
            while host.watcher.shared.inbox().artifact_watches_are_stale {
                host.pass();
            }
            fs::write(artifact.join(name), format!("{round}")).unwrap();
            host.until_touched(&artifact).await;
        }
        fs::rename(&artifact, &other).unwrap();
        host.until_touched(&artifact).await;
        fs::rename(&other, &artifact).unwrap();
        host.until_touched(&artifact).await;
    }
    assert_eq!(*host.watcher.artifact_mode(), WatchMode::Events);
}

#[tokio::test]
async fn an_artifact_that_is_deployed_by_exchanging_a_link_is_noticed() {
    let mut host = Loop::new(|_| {});
    let root = host.root.path().to_owned();
    for version in ["v1", "v2"] {
        fs::create_dir(root.join(version)).unwrap();
    }
    let current = root.join("current");
    symlink("v1", &current).unwrap();
    host.wake.take_touched();
    host.watch_artifacts(&[&current]);
    host.until_touched(&current).await;
    symlink("v2", root.join("next")).unwrap();
    fs::rename(root.join("next"), &current).unwrap();
    host.until_touched(&current).await;
    // Twice: for the link, and for the watch that now is on the other directory.
    while !host.watcher.watched_artifacts.values().any(|id| Some(*id) == directory_id(&root.join("v2"))) {
        host.next().await;
        host.pass();
    }
    host.wake.take_touched();
    fs::write(root.join("v2/a.wasm"), "new").unwrap();
    host.until_touched(&current).await;
}

#[tokio::test]
async fn artifacts_that_are_no_longer_wanted_are_no_longer_watched() {
    let mut host = Loop::new(|_| {});
    let [a, b] = ["a", "b"].map(|name| host.root.path().join(name));
    for directory in [&a, &b] {
        fs::create_dir(directory).unwrap();
    }
    host.wake.take_touched();
    host.watch_artifacts(&[&a, &b]);
    host.until_touched(&b).await;
    host.watch_artifacts(&[&b]);
    assert_eq!(host.watcher.watched_artifacts.keys().collect::<Vec<_>>(), [&b]);
    fs::write(a.join("x"), "").unwrap();
    fs::write(b.join("x"), "").unwrap();
    loop {
        host.next().await;
        match host.wake.take_touched() {
            Touched::Directories(touched) if touched.is_empty() => {}
            touched => break assert_eq!(touched, Touched::Directories(BTreeSet::from([b]))),
        }
    }
}

#[test]
fn the_jitter_moves_the_full_list_by_a_tenth_at_most() {
    let at = |permille| with_jitter(permille).as_millis();
    assert_eq!([0, 50, 100, -100].map(at), [60_000, 63_000, 66_000, 54_000]);
    assert_eq!([i16::MAX, i16::MIN].map(at), [66_000, 54_000]);
}

#[test]
fn a_used_up_limit_is_told_apart_from_other_failures() {
    let io = |errno: rustix::io::Errno| notify::Error::io(errno.into());
    assert_eq!(poll_cause(notify::Error::new(ErrorKind::MaxFilesWatch)), PollCause::WatchLimit);
    assert_eq!(poll_cause(io(rustix::io::Errno::MFILE)), PollCause::WatchLimit);
    assert_eq!(poll_cause(notify::Error::path_not_found()), PollCause::Missing);
    assert!(matches!(poll_cause(io(rustix::io::Errno::ACCESS)), PollCause::Failed(_)));
    expect_test::expect!["the limit of inotify watches is reached (fs.inotify.max_user_watches)"]
        .assert_eq(&PollCause::WatchLimit.to_string());
}

#[test]
fn where_events_do_not_come_the_list_comes_every_five_seconds() {
    let root = tempfile::tempdir().unwrap();
    let (mut watcher, _wake) = Watcher::open(&root.path().join("missing"), 0);
    assert_eq!(*watcher.mode(), WatchMode::Polled { cause: PollCause::Missing });
    assert_eq!(watcher.shared.inbox().interval, POLL_INTERVAL);
    fs::create_dir(root.path().join("missing")).unwrap();
    watcher.refresh();
    assert_eq!(*watcher.mode(), WatchMode::Events);
    assert_eq!(watcher.shared.inbox().interval, FULL_LIST_INTERVAL);
}

#[test]
fn paths_with_dots_and_slashes_at_the_end_are_watched_as_what_they_mean() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("desired")).unwrap();
    let canonical = fs::canonicalize(root.path()).unwrap().join("desired");
    for spelling in ["desired/", "desired/.", "./desired", "desired/x/.."] {
        fs::create_dir_all(root.path().join("desired/x")).unwrap();
        let path = normalize(&canonical.parent().unwrap().join(spelling));
        assert_eq!(path, canonical, "{spelling}");
    }
}
