//! Tests of logs: from a written line to a read one.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

struct Place {
    logs: Logs,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { logs: Logs::open(&directory.path().join("logs")).unwrap(), directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    fn tail(&self, name: &InstallationName, lines: usize) -> Vec<LogLine> {
        self.logs.flush();
        Follow::open(&self.path(), name, lines, None).unwrap().0
    }

    fn files(&self) -> Vec<(String, u64)> {
        let entries = std::fs::read_dir(self.path()).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
        });
        let mut files: Vec<_> = entries.collect();
        files.sort();
        files
    }
}

fn name(text: &str) -> InstallationName {
    text.parse().unwrap()
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| &*line.message).collect()
}

/// Fills the log beyond its rate, as tests must: the rate is the guest's, not the host's.
fn write_unmetered(place: &Place, name: &InstallationName, message: &str) {
    let log = place.logs.component(name);
    let line = LogLine {
        ts_ms: now_ms(),
        level: Level::Info,
        source: Source::Guest,
        instance: 1,
        cut: false,
        message: message.to_owned(),
    };
    log.queue.send(Job::Line { component: Arc::clone(&log.component), line }).unwrap();
}

#[test]
fn a_line_survives_the_way_through_the_file() {
    let (place, a) = (Place::new(), name("a"));
    let log = place.logs.component(&a).for_instance(7);
    log.write(Level::Warn, Source::Guest, "größer \u{1b}[31m \"quoted\" \n two lines \u{202e}");
    log.write(Level::Info, Source::Host, "");
    let lines = place.tail(&a, 10);
    assert_eq!(lines[0].message, "größer \u{1b}[31m \"quoted\" \n two lines \u{202e}");
    assert_eq!(
        (lines[0].level, lines[0].source, lines[0].instance, lines[0].cut),
        (Level::Warn, Source::Guest, 7, false)
    );
    assert!(lines[0].ts_ms > 1_700_000_000_000);
    assert_eq!((lines[1].source, &*lines[1].message), (Source::Host, ""));
}

#[test]
fn what_is_shown_is_escaped_and_says_who_wrote_it() {
    let line = LogLine {
        ts_ms: 1_793_836_800_123,
        level: Level::Error,
        source: Source::Host,
        instance: 1,
        cut: true,
        message: "\u{1b}]0;owned\u{7}\nINFO forged".to_owned(),
    };
    assert_eq!(line.to_string(), "2026-11-05T00:00:00.123Z ERROR host: \\u{1b}]0;owned\\u{7}\\nINFO forged [cut]");
    let on_disk = serde_json::to_string(&line).unwrap();
    assert_eq!(
        on_disk,
        r#"{"ts":"2026-11-05T00:00:00.123Z","level":"error","source":"host","instance":1,"cut":true,"message":"\u001b]0;owned\u0007\nINFO forged"}"#
    );
    assert_eq!(serde_json::from_str::<LogLine>(&on_disk).unwrap(), line);
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let (place, a) = (Place::new(), name("a"));
    place.logs.component(&a).write(Level::Info, Source::Guest, &format!("x{}", "ü".repeat(MAX_LINE_BYTES)));
    let lines = place.tail(&a, 1);
    assert!(lines[0].cut);
    assert_eq!(lines[0].message.len(), MAX_LINE_BYTES - 1);
}

#[test]
fn only_the_owner_can_read_logs() {
    let (place, a) = (Place::new(), name("a"));
    place.logs.component(&a).write(Level::Info, Source::Guest, "secret");
    place.logs.flush();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(place.path()), mode(place.path().join("a.log"))), (0o700, 0o600));
}

#[test]
fn files_are_put_aside_and_the_oldest_go() {
    let (place, a) = (Place::new(), name("a"));
    let text = "x".repeat(4000);
    // 6 files' worth.
    for number in 0..6_300 {
        write_unmetered(&place, &a, &format!("{number:04} {text}"));
    }
    let lines = place.tail(&a, MAX_TAIL_LINES);
    let files = place.files();
    assert_eq!(files.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a.log", "a.log.1", "a.log.2", "a.log.3"]);
    assert!(files.iter().all(|(_, size)| *size <= MAX_FILE_BYTES), "{files:?}");
    let numbers: Vec<u32> = lines.iter().map(|line| line.message[..4].parse().unwrap()).collect();
    assert!(numbers.len() > 3_000 && numbers.len() < 6_300);
    let first = 6_300 - u32::try_from(numbers.len()).unwrap();
    assert_eq!(numbers, (first..6_300).collect::<Vec<_>>(), "the last ones are there, in order and without a gap");
}

#[test]
fn tail_gives_the_last_lines_and_since_leaves_out_older_ones() {
    let (place, a) = (Place::new(), name("a"));
    let log = place.logs.component(&a);
    for number in 0..20 {
        log.write(Level::Info, Source::Guest, &number.to_string());
    }
    assert_eq!(texts(&place.tail(&a, 3)), ["17", "18", "19"]);
    let all = place.tail(&a, 100);
    assert_eq!(all.len(), 20);
    let since = |ms| Follow::open(&place.path(), &a, 100, Some(ms)).unwrap().0.len();
    assert_eq!((since(all[0].ts_ms), since(all[19].ts_ms + 1)), (20, 0));
}

#[test]
fn a_log_that_is_not_there_is_empty_and_can_be_followed() {
    let (place, a) = (Place::new(), name("a"));
    let (lines, mut follow) = Follow::open(&place.path(), &a, 10, None).unwrap();
    assert_eq!(lines, []);
    place.logs.component(&a).write(Level::Info, Source::Guest, "first");
    place.logs.flush();
    assert_eq!(texts(&follow.poll().unwrap()), ["first"]);
}

#[test]
fn following_misses_nothing_and_repeats_nothing_while_files_are_put_aside() {
    let (place, a) = (Place::new(), name("a"));
    write_unmetered(&place, &a, "before");
    place.logs.flush();
    let (before, mut follow) = Follow::open(&place.path(), &a, 10, None).unwrap();
    assert_eq!(texts(&before), ["before"]);
    let text = "x".repeat(4000);
    let mut seen = Vec::new();
    for round in 0..8 {
        // 1.5 files between two looks.
        for number in 0..1_500 {
            write_unmetered(&place, &a, &format!("{:05} {text}", round * 1_500 + number));
        }
        place.logs.flush();
        seen.extend(follow.poll().unwrap().iter().map(|line| line.message[..5].parse::<u32>().unwrap()));
    }
    assert_eq!(seen, (0..12_000).collect::<Vec<_>>());
    assert_eq!(follow.poll().unwrap(), []);
}

#[test]
fn half_a_line_is_not_read_before_its_end_and_foreign_lines_are_skipped() {
    use std::io::Write as _;
    let (place, a) = (Place::new(), name("a"));
    place.logs.component(&a).write(Level::Info, Source::Guest, "ours");
    place.logs.flush();
    let mut file = std::fs::OpenOptions::new().append(true).open(place.path().join("a.log")).unwrap();
    let line = std::fs::read(place.path().join("a.log")).unwrap();
    file.write_all(b"no json\n\n{\"ts\":1}\n").unwrap();
    file.write_all(&line[..20]).unwrap();
    let (lines, mut follow) = Follow::open(&place.path(), &a, 10, None).unwrap();
    assert_eq!(texts(&lines), ["ours"]);
    file.write_all(&line[20..]).unwrap();
    assert_eq!(texts(&follow.poll().unwrap()), ["ours"]);
}

#[test]
fn a_flood_beyond_burst_and_rate_is_dropped_counted_and_told_once() {
    let (place, a) = (Place::new(), name("a"));
    let log = place.logs.component(&a);
    let text = "x".repeat(4000);
    for _ in 0..3_000 {
        log.write(Level::Info, Source::Guest, &text);
    }
    let lines = place.tail(&a, MAX_TAIL_LINES);
    let lost = log.lost();
    assert!(lost > 1_000, "{lost}");
    assert_eq!(lines.iter().filter(|line| line.source == Source::Guest).count() as u64, 3_000 - lost);
    let told: u64 = lines
        .iter()
        .filter_map(|line| line.message.strip_suffix(" lines were dropped: more came than a log takes"))
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    assert_eq!(told, lost);
    // The host's own words are not in the guest's budget.
    log.write(Level::Error, Source::Host, "crashed");
    assert_eq!(texts(&place.tail(&a, 1)), ["crashed"]);
}

#[test]
fn a_new_handle_is_no_new_budget() {
    let (place, a) = (Place::new(), name("a"));
    let held = place.logs.component(&a);
    let text = "x".repeat(4000);
    for _ in 0..3_000 {
        place.logs.component(&a).write(Level::Info, Source::Guest, &text);
    }
    assert!(held.lost() > 1_000);
}

#[test]
fn a_directory_that_cannot_be_written_stops_nobody() {
    let (place, a) = (Place::new(), name("a"));
    std::fs::remove_dir(place.path()).unwrap();
    let log = place.logs.component(&a);
    log.write(Level::Info, Source::Guest, "lost");
    place.logs.flush();
    std::fs::create_dir(place.path()).unwrap();
    log.write(Level::Info, Source::Guest, "kept");
    let lines = place.tail(&a, 10);
    assert!(texts(&lines).contains(&"kept"), "{lines:?}");
    assert!(texts(&lines).contains(&"1 line was dropped: more came than a log takes"), "{lines:?}");
}

#[test]
fn many_components_write_at_the_same_time() {
    let place = Place::new();
    let names: Vec<InstallationName> = (0..200).map(|i| name(&format!("c{i}"))).collect();
    std::thread::scope(|scope| {
        for part in names.chunks(50) {
            let logs = &place.logs;
            scope.spawn(move || {
                for line in 0..5 {
                    for own in part {
                        logs.component(own).write(Level::Info, Source::Guest, &line.to_string());
                    }
                }
            });
        }
    });
    for own in &names {
        assert_eq!(texts(&place.tail(own, 10)), ["0", "1", "2", "3", "4"], "{own}");
    }
}
