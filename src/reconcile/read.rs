//! Reads the desired directory: what it says now, as far as it has settled.
//!
//! Parses only what changed. What a list that could not be made means is the planner's decision; here
//! it leaves what was known, marked as incomplete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::desired::file::{self, ParsedFile};
use crate::desired::{self, DesiredFile, DesiredState};
use crate::digest::Digest;
use crate::name::InstallationName;
use crate::resolution::Refusal;
use crate::safe_open::own_uid;
use crate::saved::DesiredInput;
use crate::watch::files::{FileCache, FileTimes, FileView, Look, MAX_SETTLING};
use crate::watch::listing::{ListError, Lister};

/// Reads one directory again and again.
pub struct Reader {
    directory: PathBuf,
    lister: Lister,
    cache: FileCache<ParsedFile>,
    state: DesiredState,
    /// The generation whose files were taken as last good ones for `state`.
    last_good_of: Option<u64>,
    look_again_after: Option<Duration>,
    has_links: bool,
}

/// What a look may know besides the directory itself.
pub struct Hints<'a> {
    /// Takes the files that were completed since the last look. Called once the list is made, so that
    /// a file completed meanwhile is not taken for one that the list shows.
    pub completed: &'a mut dyn FnMut() -> BTreeSet<String>,
    /// Whose clock stamps the files.
    pub times: FileTimes,
    /// Monotonic time.
    pub now: Duration,
}

impl Reader {
    /// A reader of `directory`; nothing is opened yet.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            lister: Lister::new(directory, own_uid()),
            cache: FileCache::default(),
            state: DesiredState::default(),
            last_good_of: None,
            look_again_after: None,
            has_links: false,
        }
    }

    /// Looks at the directory. `last_good` is asked for only when something changed; `generation` says
    /// when it would give another answer.
    pub fn read(
        &mut self,
        hints: Hints<'_>,
        generation: u64,
        last_good: impl FnOnce() -> BTreeMap<String, InstallationName>,
    ) -> (&DesiredState, Option<Refusal>) {
        let listing = match self.lister.list() {
            Ok(listing) => listing,
            Err(error) => {
                self.state.complete = false;
                self.last_good_of = None;
                self.look_again_after = None;
                return (&self.state, Some(self.problem(&error)));
            }
        };
        let Hints { completed, times, now } = hints;
        self.has_links = listing.has_links;
        let completed = completed();
        let step = self.cache.observe(Look { listing, completed: &completed, times, now });
        for name in &step.read {
            match self.lister.read(name) {
                Ok(content) => {
                    let parsed = Arc::new(file::parse(name, &content.bytes));
                    self.cache.fill(name, &content, parsed, now);
                }
                Err(error) => self.cache.fail(name, error, now),
            }
        }
        self.look_again_after = self.cache.look_again_after(now);
        if step.changed || self.last_good_of != Some(generation) {
            let files = self.cache.files().map(|(name, view)| (name.to_owned(), desired_file(name, &view)));
            self.state = desired::assemble(&files.collect(), &last_good());
            self.last_good_of = Some(generation);
        }
        (&self.state, None)
    }

    /// The desired state as of the last look.
    pub fn state(&self) -> &DesiredState {
        &self.state
    }

    /// The digest of every file as of the last look; none of one that could not be read.
    fn digests(&self) -> BTreeMap<String, Option<Digest>> {
        let digest = |view: &FileView<'_, ParsedFile>| match view {
            FileView::Content(parsed) => Some(parsed.digest),
            FileView::Unreadable(_) => None,
        };
        self.cache.files().map(|(name, view)| (name.to_owned(), digest(&view))).collect()
    }

    /// The directory as an input of a plan, as of the last look.
    pub fn input(&self, is_complete: bool) -> DesiredInput {
        let path = self.directory.to_string_lossy().into_owned();
        DesiredInput::Directory { path, is_complete, files: self.digests() }
    }

    /// When a file is still settling: how long until it is worth another look.
    pub fn look_again_after(&self) -> Option<Duration> {
        self.look_again_after
    }

    /// Whether a file was reached through a link, so that changes elsewhere in the directory count.
    pub fn has_links(&self) -> bool {
        self.has_links
    }

    /// Looks until everything has settled or `MAX_SETTLING` is over: for commands that look once.
    pub fn read_settled(
        &mut self,
        generation: u64,
        last_good: &BTreeMap<String, InstallationName>,
    ) -> (&DesiredState, Option<Refusal>) {
        let begun = Instant::now();
        loop {
            // Nobody watched, so no file is known to be complete; whose clock the directory has is not asked.
            let hints = Hints { completed: &mut BTreeSet::new, times: FileTimes::Local, now: begun.elapsed() };
            let problem = self.read(hints, generation, || last_good.clone()).1;
            match self.look_again_after {
                Some(wait) if begun.elapsed() + wait < MAX_SETTLING => std::thread::sleep(wait),
                _ => return (&self.state, problem),
            }
        }
    }

    fn problem(&self, error: &ListError) -> Refusal {
        let diagnostic = error.diagnostic(&self.directory);
        let refusal = Refusal::new("directory-unreadable", diagnostic.message);
        let hint = "nothing is removed while the directory can't be read; what runs goes on";
        refusal.hint(diagnostic.hint.unwrap_or_else(|| hint.to_owned()))
    }
}

fn desired_file(name: &str, view: &FileView<'_, ParsedFile>) -> DesiredFile {
    match view {
        FileView::Content(parsed) => DesiredFile::Parsed(Arc::clone(parsed)),
        FileView::Unreadable(error) => DesiredFile::Unreadable(error.diagnostic(name)),
    }
}

/// The desired state of a directory as it is, without any history: for `validate`.
pub fn once(directory: &Path) -> Result<DesiredState, Refusal> {
    let mut reader = Reader::new(directory);
    match reader.read_settled(0, &BTreeMap::new()) {
        (_, Some(problem)) => Err(problem),
        (state, None) => Ok(state.clone()),
    }
}
