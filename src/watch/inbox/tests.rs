use notify::event::{CreateKind, DataChange, Flag, MetadataKind, RemoveKind};

use super::*;
use crate::watch::interest::Interests;

const DIRECTORY: &str = "/home/desired";

fn inbox() -> Inbox {
    let mut inbox = Inbox::new(PathBuf::from(DIRECTORY), Duration::from_secs(60));
    inbox.touched = Touched::default();
    inbox
}

fn event(kind: EventKind, path: &str) -> notify::Result<Event> {
    Ok(Event::new(kind).add_path(PathBuf::from(path)))
}

fn closed(path: &str) -> notify::Result<Event> {
    event(EventKind::Access(AccessKind::Close(AccessMode::Write)), path)
}

fn renamed(mode: RenameMode, path: &str) -> notify::Result<Event> {
    event(EventKind::Modify(ModifyKind::Name(mode)), path)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn opening_reading_and_foreign_names_wake_nobody() {
    let mut inbox = inbox();
    let file = "/home/desired/a.toml";
    let silent = [
        event(EventKind::Access(AccessKind::Open(AccessMode::Any)), file),
        event(EventKind::Access(AccessKind::Read), file),
        event(EventKind::Access(AccessKind::Close(AccessMode::Read)), file),
        // The list itself.
        event(EventKind::Access(AccessKind::Open(AccessMode::Any)), DIRECTORY),
        closed("/home/desired/a.toml~"),
        closed("/home/desired/.a.toml.swp"),
        closed("/home/desired/4913"),
        event(EventKind::Create(CreateKind::File), "/home/desired/a.toml.tmp"),
        // Neighbours of the directory.
        closed("/home/other.toml"),
        renamed(RenameMode::To, "/home/desired-2"),
    ];
    for event in silent {
        let text = format!("{event:?}");
        assert!(!inbox.deliver(Origin::Desired, event, ms(5)), "{text}");
    }
    assert_eq!(inbox.take(ms(10)), Err(Duration::from_secs(60)));
}

#[test]
fn a_completed_file_is_looked_at_at_once_and_is_known_as_complete() {
    for completion in [closed("/home/desired/a.toml"), renamed(RenameMode::To, "/home/desired/a.toml")] {
        let mut inbox = inbox();
        assert!(inbox.deliver(Origin::Desired, completion, ms(5)));
        assert_eq!(inbox.take(ms(5)), Ok(Cause::Event("a.toml".to_owned())));
        assert_eq!(inbox.completed, BTreeSet::from(["a.toml".to_owned()]));
    }
}

#[test]
fn a_file_that_is_written_again_after_its_completion_is_not_complete() {
    let mut inbox = inbox();
    inbox.deliver(Origin::Desired, closed("/home/desired/a.toml"), ms(0));
    let written = event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/home/desired/a.toml");
    inbox.deliver(Origin::Desired, written, ms(1));
    assert_eq!(inbox.completed, BTreeSet::new());
}

#[test]
fn the_old_name_of_a_renamed_file_is_not_complete() {
    let mut inbox = inbox();
    let both = Event::new(EventKind::Modify(ModifyKind::Name(RenameMode::Both)))
        .add_path("/home/desired/a.toml".into())
        .add_path("/home/desired/b.toml".into());
    inbox.deliver(Origin::Desired, renamed(RenameMode::From, "/home/desired/a.toml"), ms(0));
    inbox.deliver(Origin::Desired, renamed(RenameMode::To, "/home/desired/b.toml"), ms(0));
    inbox.deliver(Origin::Desired, Ok(both), ms(0));
    assert_eq!(inbox.completed, BTreeSet::from(["b.toml".to_owned()]));
}

#[test]
fn mounted_configuration_of_kubernetes_is_noticed_by_its_data_link() {
    let mut inbox = inbox();
    inbox.deliver(Origin::Desired, renamed(RenameMode::To, "/home/desired/..data"), ms(0));
    assert_eq!(inbox.take(ms(0)), Ok(Cause::Event("..data".to_owned())));
}

#[test]
fn every_name_matters_once_files_are_reached_through_links() {
    let mut inbox = inbox();
    inbox.every_name_matters = true;
    inbox.deliver(Origin::Desired, closed("/home/desired/shared.conf"), ms(0));
    assert_eq!(inbox.take(ms(0)), Ok(Cause::Event("shared.conf".to_owned())));
}

#[test]
fn an_overflow_leads_to_a_full_list_at_once_and_to_one_a_second_at_most() {
    let mut inbox = inbox();
    let overflow = || Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan));
    inbox.deliver(Origin::Desired, closed("/home/desired/a.toml"), ms(0));
    assert!(inbox.deliver(Origin::Desired, overflow(), ms(0)));
    assert_eq!(inbox.take(ms(0)), Ok(Cause::Overflow));
    assert_eq!(inbox.completed, BTreeSet::new(), "a completion may be followed by a lost event");
    assert_eq!(inbox.touched, Touched::All);
    assert!(inbox.desired_watch_is_stale);
    inbox.deliver(Origin::Desired, overflow(), ms(10));
    assert_eq!(inbox.take(ms(10)), Err(ms(1_000)));
    assert_eq!(inbox.take(ms(1_000)), Ok(Cause::Overflow));
}

#[test]
fn a_watcher_error_leads_to_a_full_list_and_its_words_are_escaped() {
    let mut inbox = inbox();
    inbox.deliver(Origin::Artifacts, Err(notify::Error::generic("bad\u{1b}[2J")), ms(3));
    assert_eq!(inbox.take(ms(3)), Ok(Cause::WatcherError("bad\\u{1b}[2J".to_owned())));
    assert!(inbox.lost.holds(Path::new("/any")));
}

#[test]
fn a_hostile_file_name_is_escaped_in_the_cause() {
    let mut inbox = inbox();
    inbox.deliver(Origin::Desired, closed("/home/desired/a\u{202e}\n.toml"), ms(0));
    assert_eq!(inbox.take(ms(0)), Ok(Cause::Event("a\\u{202e}\\n.toml".to_owned())));
}

#[test]
fn the_regular_full_list_comes_even_when_events_keep_coming() {
    let mut inbox = inbox();
    let mut causes = Vec::new();
    for second in 0..130 {
        let now = Duration::from_secs(second);
        inbox.deliver(Origin::Desired, closed("/home/desired/a.toml"), now);
        while let Ok(cause) = inbox.take(now) {
            causes.push(cause);
        }
    }
    assert_eq!(causes.iter().filter(|cause| **cause == Cause::Interval).count(), 2);
}

#[test]
fn the_regular_full_list_looks_at_every_artifact_and_watch() {
    let mut inbox = inbox();
    assert_eq!(inbox.take(Duration::from_secs(60)), Ok(Cause::Interval));
    assert_eq!(inbox.touched, Touched::All);
    assert!(inbox.artifact_watches_are_stale);
}

#[test]
fn a_look_that_was_asked_for_comes_once() {
    let mut inbox = inbox();
    inbox.look_again_at = Some(ms(100));
    assert_eq!(inbox.take(ms(99)), Err(ms(100)));
    assert_eq!(inbox.take(ms(100)), Ok(Cause::LookAgain));
    assert_eq!(inbox.take(ms(101)), Err(Duration::from_secs(60)));
}

#[test]
fn the_directory_itself_going_away_makes_its_watch_stale() {
    for (kind, path) in [
        (EventKind::Remove(RemoveKind::Folder), DIRECTORY),
        (EventKind::Modify(ModifyKind::Name(RenameMode::From)), DIRECTORY),
        (EventKind::Create(CreateKind::Folder), DIRECTORY),
        (EventKind::Remove(RemoveKind::Folder), "/home"),
    ] {
        let mut inbox = inbox();
        assert!(inbox.deliver(Origin::Desired, event(kind, path), ms(0)));
        assert!(inbox.desired_watch_is_stale, "{kind:?} {path}");
    }
    let mut inbox = inbox();
    inbox.deliver(Origin::Desired, event(EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), DIRECTORY), ms(0));
    assert!(!inbox.desired_watch_is_stale);
    assert_eq!(inbox.take(ms(100)), Ok(Cause::Event(DIRECTORY.to_owned())), "its rights may have changed");
}

#[test]
fn a_change_of_an_artifact_touches_its_directory_only_and_waits_for_its_other_files() {
    let root = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| root.path().join(name));
    for directory in [&a, &b] {
        std::fs::create_dir(directory).unwrap();
    }
    let mut inbox = inbox();
    inbox.interests = Interests::in_artifacts(&BTreeSet::from([a.clone(), b])).by_path;
    let wasm = a.join("a.wasm");
    assert!(inbox.deliver(Origin::Artifacts, closed(wasm.to_str().unwrap()), ms(0)));
    assert_eq!(inbox.touched, Touched::Directories(BTreeSet::from([a.clone()])));
    assert_eq!(inbox.take(ms(99)), Err(ms(100)));
    assert!(!inbox.artifact_watches_are_stale);
    inbox.deliver(Origin::Artifacts, event(EventKind::Remove(RemoveKind::Folder), a.to_str().unwrap()), ms(99));
    assert!(inbox.artifact_watches_are_stale && inbox.lost.holds(&wasm) && !inbox.lost.holds(root.path()));
}

#[test]
fn a_flood_of_names_is_bounded() {
    let mut inbox = inbox();
    for n in 0..MAX_COMPLETED + 10 {
        inbox.deliver(Origin::Desired, closed(&format!("/home/desired/{n}.toml")), ms(0));
    }
    assert!(inbox.completed.len() <= MAX_COMPLETED);
    let many = (0..=MAX_TOUCHED).map(|n| PathBuf::from(format!("/artifacts/{n}"))).collect();
    inbox.touch(&many, ms(0));
    assert_eq!(inbox.touched, Touched::All);
}
