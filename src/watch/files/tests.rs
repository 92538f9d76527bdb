use super::*;

const SETTLED: u64 = 100;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn identity(n: u64) -> Identity {
    Identity { dev: 1, ino: 1, size: n, mtime_ns: 0, ctime_ns: 0 }
}

fn file(name: &str, n: u64) -> Listed {
    Listed { name: name.into(), found: Found::File { identity: identity(n), is_quiet: false } }
}

fn quiet(name: &str, n: u64) -> Listed {
    Listed { name: name.into(), found: Found::File { identity: identity(n), is_quiet: true } }
}

fn unreadable(name: &str, error: FileError) -> Listed {
    Listed { name: name.into(), found: Found::Unreadable(error) }
}

fn broken() -> FileError {
    FileError::Io { doing: "look at", file: "x".to_owned(), reason: "input/output error".to_owned() }
}

/// A cache of strings with a reader that reads what the test says.
#[derive(Default)]
struct World {
    cache: FileCache<String>,
    foreign: bool,
}

impl World {
    fn look(&mut self, at: u64, entries: Vec<Listed>, completed: &[&str]) -> Step {
        let listing = Listing { entries, has_links: false };
        let completed = completed.iter().map(|name| (*name).to_owned()).collect();
        let times = if self.foreign { FileTimes::Foreign } else { FileTimes::Local };
        self.cache.observe(Look { listing: &listing, completed: &completed, times, now: ms(at) })
    }

    /// Looks, and reads whatever is asked for; returns those names.
    fn pass(&mut self, at: u64, entries: Vec<Listed>, completed: &[&str]) -> Vec<String> {
        let contents: BTreeMap<String, (Identity, bool)> = entries
            .iter()
            .filter_map(|entry| match entry.found {
                Found::File { identity, is_quiet } => Some((entry.name.to_string(), (identity, is_quiet))),
                Found::Unreadable(_) => None,
            })
            .collect();
        let step = self.look(at, entries, completed);
        for name in &step.read {
            let (identity, was_quiet) = contents[name];
            let content = Content { bytes: Vec::new(), identity, was_quiet };
            self.cache.fill(name, &content, Arc::new(format!("{name}{}", identity.size)), ms(at));
        }
        step.read
    }

    /// `name=content` of every file; `?` for one that cannot be used.
    fn view(&self) -> String {
        let show = |(name, view): (&str, FileView<'_, String>)| match view {
            FileView::Content(content) => format!("{name}={content}"),
            FileView::Unreadable(_) => format!("{name}=?"),
        };
        self.cache.files().map(show).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_quiet_file_is_read_once_and_then_costs_nothing() {
    let mut world = World::default();
    assert_eq!(world.pass(0, vec![quiet("a", 1)], &[]), ["a"]);
    assert_eq!(world.view(), "a=a1");
    let step = world.look(1, vec![quiet("a", 1)], &[]);
    assert_eq!(step, Step::default());
    assert_eq!(world.cache.look_again_after(ms(1)), None);
}

#[test]
fn a_file_that_changed_a_moment_ago_waits_for_a_second_equal_look() {
    let mut world = World::default();
    assert!(world.pass(0, vec![file("a", 1)], &[]).is_empty());
    assert_eq!(world.view(), "a=?", "it must not count as absent");
    assert_eq!(world.cache.look_again_after(ms(0)), Some(ms(SETTLED)));
    assert!(world.pass(99, vec![file("a", 1)], &[]).is_empty());
    assert_eq!(world.pass(SETTLED, vec![file("a", 1)], &[]), ["a"]);
    assert_eq!(world.view(), "a=a1");
}

#[test]
fn a_file_whose_completion_was_seen_is_read_at_once() {
    let mut world = World::default();
    assert_eq!(world.pass(0, vec![file("a", 1)], &["a"]), ["a"]);
}

#[test]
fn a_file_that_was_read_before_it_was_quiet_is_read_once_more() {
    let mut world = World::default();
    world.pass(0, vec![file("a", 1)], &["a"]);
    assert_eq!(world.cache.look_again_after(ms(0)), None, "the next look is soon enough");
    assert!(world.pass(50, vec![file("a", 1)], &[]).is_empty());
    assert_eq!(world.pass(200, vec![quiet("a", 1)], &[]), ["a"]);
    assert!(world.pass(300, vec![quiet("a", 1)], &[]).is_empty());
}

#[test]
fn a_file_that_is_written_slowly_keeps_its_old_content_until_it_is_settled() {
    let mut world = World::default();
    world.pass(0, vec![quiet("a", 1)], &[]);
    for step in 1..=20 {
        assert!(world.pass(step * 90, vec![file("a", 100 + step)], &[]).is_empty());
        assert_eq!(world.view(), "a=a1");
    }
    assert_eq!(world.pass(20 * 90 + SETTLED, vec![file("a", 120)], &[]), ["a"]);
    assert_eq!(world.view(), "a=a120");
}

#[test]
fn a_file_that_never_settles_is_reported_and_read_when_it_does() {
    let mut world = World::default();
    world.pass(0, vec![quiet("a", 1)], &[]);
    for step in 0..=60 {
        world.pass(step * 90, vec![file("a", 100 + step)], &[]);
    }
    assert_eq!(world.view(), "a=?");
    assert_eq!(world.cache.look_again_after(ms(60 * 90)), Some(RETRY_AFTER));
    assert_eq!(world.pass(60 * 90 + SETTLED, vec![file("a", 160)], &[]), ["a"]);
    assert_eq!(world.view(), "a=a160");
}

#[test]
fn times_from_another_machine_and_completions_prove_nothing() {
    let mut world = World { foreign: true, ..World::default() };
    assert!(world.pass(0, vec![quiet("a", 1)], &["a"]).is_empty());
    assert_eq!(world.pass(SETTLED, vec![quiet("a", 1)], &[]), ["a"]);
    assert!(world.pass(2_900, vec![quiet("a", 1)], &[]).is_empty());
    assert_eq!(world.pass(5_000, vec![quiet("a", 1)], &[]), ["a"], "the clock's step may hide a change");
    assert!(world.pass(10_000, vec![quiet("a", 1)], &[]).is_empty());
}

#[test]
fn a_removed_file_is_gone_after_a_second_look() {
    let mut world = World::default();
    world.pass(0, vec![quiet("a", 1), quiet("b", 1)], &[]);
    world.pass(1_000, vec![quiet("b", 1)], &[]);
    assert_eq!(world.view(), "a=a1 b=b1");
    assert_eq!(world.cache.look_again_after(ms(1_000)), Some(ms(SETTLED)));
    let step = world.look(1_000 + SETTLED, vec![quiet("b", 1)], &[]);
    assert!(step.changed);
    assert_eq!(world.view(), "b=b1");
    assert_eq!(world.cache.look_again_after(ms(2_000)), None);
}

#[test]
fn an_editor_that_takes_the_file_away_for_a_moment_removes_nothing() {
    let mut world = World::default();
    world.pass(0, vec![quiet("a", 1)], &[]);
    world.pass(1_000, vec![], &[]);
    assert_eq!(world.view(), "a=a1");
    assert_eq!(world.pass(1_050, vec![file("a", 2)], &["a"]), ["a"]);
    assert_eq!(world.view(), "a=a2");
}

#[test]
fn a_removal_waits_for_files_that_are_being_written() {
    let mut world = World::default();
    world.pass(0, vec![quiet("old", 1)], &[]);
    world.pass(1_000, vec![file("new", 1)], &[]);
    world.pass(1_000 + SETTLED - 1, vec![file("new", 2)], &[]);
    world.pass(1_000 + SETTLED, vec![file("new", 2)], &[]);
    assert_eq!(world.view(), "new=? old=old1");
    let wait = world.cache.look_again_after(ms(1_000 + SETTLED)).unwrap();
    assert!(wait >= ms(90), "an absence that waits for others must not make the loop spin: {wait:?}");
    world.pass(1_000 + 2 * SETTLED, vec![file("new", 2)], &[]);
    assert_eq!(world.view(), "new=new2");
}

#[test]
fn a_file_that_never_settles_delays_no_removal_for_ever() {
    let mut world = World::default();
    world.pass(0, vec![quiet("a", 1)], &[]);
    for step in 1..=60 {
        world.pass(step * 90, vec![file("log", step)], &[]);
    }
    assert_eq!(world.view(), "log=?");
}

#[test]
fn an_unreadable_file_stays_on_the_list_and_is_looked_at_again() {
    let mut world = World::default();
    world.pass(0, vec![quiet("a", 1)], &[]);
    world.pass(1_000, vec![unreadable("a", broken())], &[]);
    assert_eq!(world.view(), "a=?");
    assert_eq!(world.cache.look_again_after(ms(1_000)), Some(RETRY_AFTER));
    let step = world.look(2_000, vec![unreadable("a", broken())], &[]);
    assert!(!step.changed);
    assert!(world.pass(3_000, vec![quiet("a", 1)], &[]).is_empty(), "the content is still known");
    assert_eq!(world.view(), "a=a1");
}

#[test]
fn a_refused_file_is_not_looked_at_again_on_its_own() {
    let mut world = World::default();
    world.pass(0, vec![unreadable("a", FileError::WorldWritable { file: "a".to_owned() })], &[]);
    assert_eq!(world.view(), "a=?");
    assert_eq!(world.cache.look_again_after(ms(0)), None);
}

#[test]
fn a_file_that_vanishes_during_the_list_is_looked_for_again_before_it_is_gone() {
    let mut world = World::default();
    world.pass(0, vec![quiet("a", 1)], &[]);
    world.pass(1_000, vec![unreadable("a", FileError::Missing { file: "a".to_owned() })], &[]);
    assert_eq!(world.view(), "a=a1");
    world.pass(2_000, vec![], &[]);
    assert_eq!(world.view(), "");
}

#[test]
fn a_failed_read_keeps_the_content_when_the_file_is_moving_and_not_when_it_is_broken() {
    let changed = FileError::Changed { file: "a".to_owned() };
    let missing = FileError::Missing { file: "a".to_owned() };
    for (error, view) in [(changed, "a=a1"), (missing, "a=a1"), (broken(), "a=?")] {
        let mut world = World::default();
        world.pass(0, vec![quiet("a", 1)], &[]);
        assert_eq!(world.look(1_000, vec![quiet("a", 2)], &[]).read, ["a"]);
        world.cache.fail("a", error.clone(), ms(1_000));
        assert_eq!(world.view(), view, "{error}");
        assert!(world.cache.look_again_after(ms(1_000)).is_some(), "{error}");
    }
}

#[test]
fn a_file_that_was_to_be_read_and_was_not_is_asked_for_again() {
    let mut world = World::default();
    assert_eq!(world.look(0, vec![quiet("a", 1)], &[]).read, ["a"]);
    assert_eq!(world.look(1, vec![file("a", 1)], &[]).read, ["a"]);
}

#[test]
fn a_file_that_changed_between_the_list_and_the_read_is_not_taken_for_the_listed_one() {
    let mut world = World::default();
    assert_eq!(world.look(0, vec![quiet("a", 1)], &[]).read, ["a"]);
    let newer = Content { bytes: Vec::new(), identity: identity(2), was_quiet: false };
    world.cache.fill("a", &newer, Arc::new("newer".to_owned()), ms(0));
    assert_eq!(world.pass(1, vec![quiet("a", 2)], &[]), ["a"]);
}

proptest::proptest! {
    /// Random files come, change and go at random looks; once they stay as they are, a few looks at
    /// the times that the cache asks for show exactly what is there.
    #[test]
    fn whatever_happened_the_view_ends_equal_to_the_directory(
        looks in proptest::collection::vec((0_u64..150, proptest::collection::btree_map("[a-d]", 0_u64..3, 0..4), proptest::bool::ANY), 1..20),
        foreign: bool,
    ) {
        let mut world = World { foreign, ..World::default() };
        let mut now = 0;
        for (wait, files, is_quiet) in &looks {
            now += wait;
            let entry = |(name, n): (&String, &u64)| if *is_quiet { quiet(name, *n) } else { file(name, *n) };
            world.pass(now, files.iter().map(entry).collect(), &[]);
        }
        let (_, files, _) = looks.last().unwrap();
        let mut rounds = 0;
        while let Some(wait) = world.cache.look_again_after(ms(now)) {
            proptest::prop_assert!(wait >= SHORTEST_WAIT);
            now += u64::try_from(wait.as_millis()).unwrap().max(1);
            world.pass(now, files.iter().map(|(name, n)| quiet(name, *n)).collect(), &[]);
            rounds += 1;
            proptest::prop_assert!(rounds < 10, "it asks for ever");
        }
        let expected: Vec<String> = files.iter().map(|(name, n)| format!("{name}={name}{n}")).collect();
        proptest::prop_assert_eq!(world.view(), expected.join(" "));
    }
}
