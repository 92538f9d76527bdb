//! Owns the log files: the one thread that writes and rotates them.
//!
//! A file that cannot be written loses lines, which are counted; it never stops a component.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Component, Components, Job, Level, LogLine, MAX_FILE_BYTES, MAX_FILES, Source, locked, now_ms};
use crate::name::InstallationName;

/// Files that are kept open between lines.
const MAX_OPEN_FILES: usize = 64;
/// Jobs after which buffers are written out even if more wait.
const MAX_BATCH: usize = 1_024;
/// How long losses are gathered before a line speaks of them, so that a flood gets one line and not many.
const LOSS_NOTICE: Duration = Duration::from_secs(1);

pub(super) fn start(directory: PathBuf, jobs: Receiver<Job>, components: Arc<Components>) -> io::Result<()> {
    let mut writer = Writer { directory, components, open: BTreeMap::new(), turn: 0, notice_at: None };
    std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run(&jobs)).map(drop)
}

/// The path of a component's file; 0 is the current one, higher numbers were put aside longer ago.
pub(super) fn path(directory: &Path, name: &InstallationName, number: usize) -> PathBuf {
    match number {
        0 => directory.join(format!("{name}.log")),
        _ => directory.join(format!("{name}.log.{number}")),
    }
}

struct Writer {
    directory: PathBuf,
    components: Arc<Components>,
    open: BTreeMap<InstallationName, OpenLog>,
    turn: u64,
    notice_at: Option<Instant>,
}

struct OpenLog {
    file: BufWriter<File>,
    size: u64,
    used: u64,
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        while let Some(first) = self.wait(jobs) {
            let mut batch = 0;
            let mut next = first;
            while let Some(job) = next {
                self.work(job);
                batch += 1;
                next = if batch < MAX_BATCH { jobs.try_recv().ok() } else { None };
            }
            if self.notice_at.is_some_and(|at| at <= Instant::now()) {
                self.notice_losses();
            }
            self.write_out();
        }
        self.notice_losses();
        self.write_out();
    }

    /// The next job; `Some(None)` when it is time to speak of losses, `None` when nobody can send any more.
    fn wait(&self, jobs: &Receiver<Job>) -> Option<Option<Job>> {
        let Some(at) = self.notice_at else { return jobs.recv().ok().map(Some) };
        match jobs.recv_timeout(at.saturating_duration_since(Instant::now())) {
            Ok(job) => Some(Some(job)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Line { component, line } => {
                self.append_or_lose(&component, &line, 1);
                if component.lost.load(Ordering::Relaxed) > 0 {
                    self.expect_notice();
                }
            }
            Job::Lost => self.expect_notice(),
            Job::Flush(done) => {
                self.notice_losses();
                self.write_out();
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }

    fn expect_notice(&mut self) {
        self.notice_at.get_or_insert_with(|| Instant::now() + LOSS_NOTICE);
    }

    fn notice_losses(&mut self) {
        self.notice_at = None;
        let components: Vec<_> = locked(&self.components).values().filter_map(std::sync::Weak::upgrade).collect();
        for component in components {
            let lost = component.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let lines = if lost == 1 { "1 line was".to_owned() } else { format!("{lost} lines were") };
                let line = LogLine {
                    ts_ms: now_ms(),
                    level: Level::Warn,
                    source: Source::Host,
                    instance: 0,
                    cut: false,
                    message: format!("{lines} dropped: more came than a log takes"),
                };
                self.append_or_lose(&component, &line, lost);
            }
        }
    }

    fn append_or_lose(&mut self, component: &Component, line: &LogLine, worth: u64) {
        if self.append(&component.name, line).is_err() {
            // The file is opened anew for the next line; by then the disk may have room again.
            self.open.remove(&component.name);
            component.lost.fetch_add(worth, Ordering::Relaxed);
        }
    }

    fn append(&mut self, name: &InstallationName, line: &LogLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.turn += 1;
        let turn = self.turn;
        let log = self.opened(name)?;
        if log.size > 0 && log.size + text.len() as u64 > MAX_FILE_BYTES {
            self.rotate(name)?;
        }
        let log = self.opened(name)?;
        log.file.write_all(&text)?;
        log.size += text.len() as u64;
        log.used = turn;
        Ok(())
    }

    fn opened(&mut self, name: &InstallationName) -> io::Result<&mut OpenLog> {
        if !self.open.contains_key(name) {
            self.make_room()?;
            let path = path(&self.directory, name, 0);
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
            let size = file.metadata()?.len();
            self.open.insert(name.clone(), OpenLog { file: BufWriter::new(file), size, used: self.turn });
        }
        Ok(self.open.get_mut(name).expect("it was there or was inserted above"))
    }

    fn make_room(&mut self) -> io::Result<()> {
        while self.open.len() >= MAX_OPEN_FILES {
            let longest_unused = self.open.iter().min_by_key(|(_, log)| log.used).map(|(name, _)| name.clone());
            if let Some(mut log) = longest_unused.and_then(|name| self.open.remove(&name)) {
                log.file.flush()?;
            }
        }
        Ok(())
    }

    fn rotate(&mut self, name: &InstallationName) -> io::Result<()> {
        if let Some(mut log) = self.open.remove(name) {
            log.file.flush()?;
        }
        for number in (0..MAX_FILES - 1).rev() {
            match std::fs::rename(path(&self.directory, name, number), path(&self.directory, name, number + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    fn write_out(&mut self) {
        // What cannot be written now stays in the buffer and fails at the next line, which is counted there.
        self.open.retain(|_, log| log.file.flush().is_ok());
    }
}
