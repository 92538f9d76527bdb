//! Owns one connection to a repository: its references, and the packs that come through it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use git2::{AutotagOption, Direction, FetchOptions, Oid, Remote, RemoteCallbacks, RemoteConnection, RemoteRedirect};

use crate::remote_url::{RemoteUrl, Transport};
use crate::source::remote::{Access, FetchFailure, Port};

use super::failure::{self, of_mirror};
use super::limits::MAX_REFERENCES;
use super::locate::Depth;
use super::meter::Meter;
use super::mirror::Mirror;
use super::{http, ssh};

/// Between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// What is connected to, and how.
pub(super) struct Reach<'a> {
    pub(super) url: &'a RemoteUrl,
    pub(super) access: &'a Access,
    pub(super) meter: Arc<Meter>,
}

impl Reach<'_> {
    /// Why a transfer ended: the reason that one of our own parts gave, else what libgit2 says.
    pub(super) fn failure(&self, error: &git2::Error, attempted: &str) -> FetchFailure {
        let attempted = format!("{attempted} {}", self.url);
        self.meter.take_failure().unwrap_or_else(|| failure::of_transfer(error, self.access, &attempted))
    }
}

/// One reference that the repository shows.
pub(super) struct Head {
    pub(super) name: String,
    pub(super) id: Oid,
}

/// A connection that stands.
pub(super) struct Connection<'r, 'c, 'p> {
    remote: RemoteConnection<'r, 'c, 'c>,
    mirror: &'c Mirror,
    reach: &'c Reach<'c>,
    port: &'c RefCell<&'p mut dyn Port>,
}

/// Connects, and does something while the connection stands.
pub(super) fn connect<T>(
    mirror: &Mirror,
    reach: &Reach<'_>,
    port: &mut dyn Port,
    then: impl FnOnce(&mut Connection<'_, '_, '_>) -> Result<T, FetchFailure>,
) -> Result<T, FetchFailure> {
    port.progress("connect", 0)?;
    reach.meter.remaining()?;
    let port = RefCell::new(port);
    match reach.url.transport() {
        Transport::File => stand(mirror, reach, &port, reach.url.as_str(), RemoteCallbacks::new(), then),
        Transport::Https | Transport::Http => {
            let _way = http::Way::open(reach)?;
            stand(mirror, reach, &port, reach.url.as_str(), RemoteCallbacks::new(), then)
        }
        Transport::Ssh => {
            let way = ssh::Way::open(reach, mirror.place())?;
            stand(mirror, reach, &port, way.url(), way.callbacks(&reach.meter), then)
        }
    }
}

fn stand<T>(
    mirror: &Mirror,
    reach: &Reach<'_>,
    port: &RefCell<&mut dyn Port>,
    url: &str,
    callbacks: RemoteCallbacks<'_>,
    then: impl FnOnce(&mut Connection<'_, '_, '_>) -> Result<T, FetchFailure>,
) -> Result<T, FetchFailure> {
    let mut remote: Remote<'_> = mirror.repository().remote_anonymous(url).map_err(|error| of_mirror(&error))?;
    let remote =
        remote.connect_auth(Direction::Fetch, Some(callbacks), None).map_err(|error| match reach.url.transport() {
            Transport::File => failure::of_opening(&error, &format!("open {}", reach.url)),
            _ => reach.failure(&error, "connect to"),
        })?;
    then(&mut Connection { remote, mirror, reach, port })
}

impl Connection<'_, '_, '_> {
    /// The references that the repository shows. Names that are not UTF-8 are passed over: none can be asked for.
    pub(super) fn heads(&self) -> Result<Vec<Head>, FetchFailure> {
        let heads = self.remote.list().map_err(|error| self.reach.failure(&error, "list the references of"))?;
        if heads.len() > MAX_REFERENCES {
            let message = format!("the repository shows {} references, at most {MAX_REFERENCES} are read", heads.len());
            return Err(FetchFailure::new("repository-too-large", message));
        }
        // The library has no other way to the name than one that panics.
        let name = |head: &git2::RemoteHead<'_>| catch_unwind(AssertUnwindSafe(|| head.name().to_owned())).ok();
        Ok(heads.iter().filter_map(|head| Some(Head { name: name(head)?, id: head.oid() })).collect())
    }

    /// Fetches what the specifications name. Nothing of the repository's own making is written but objects.
    pub(super) fn download(&mut self, specs: &[String], depth: Depth) -> Result<(), FetchFailure> {
        // The transport for repositories on this machine knows no depth.
        let depth = match (depth, self.reach.url.transport()) {
            (_, Transport::File) => 0,
            // What is there with less history is asked for again.
            (Depth::Full, _) if self.mirror.repository().is_shallow() => i32::MAX,
            (Depth::Full, _) => 0,
            (Depth::One, _) => 1,
        };
        let ended = {
            let mut options = FetchOptions::new();
            options.remote_callbacks(self.callbacks()).download_tags(AutotagOption::None).update_fetchhead(false);
            options.follow_redirects(RemoteRedirect::None).depth(depth);
            self.mirror.writing()?;
            self.remote.remote().download(specs, Some(&mut options))
        };
        self.mirror.written()?;
        ended.map_err(|error| match error.message() {
            text if text.contains("cannot fetch a specific object") => {
                FetchFailure::new(failure::NOT_BY_ID, "the server hands out no commit by its id")
            }
            _ => self.reach.failure(&error, "fetch from"),
        })
    }

    fn callbacks<'a>(&self) -> RemoteCallbacks<'a>
    where
        Self: 'a,
    {
        let (meter, port) = (Arc::clone(&self.reach.meter), self.port);
        let mut callbacks = RemoteCallbacks::new();
        let mut reported: Option<Instant> = None;
        let judge = Arc::clone(&meter);
        callbacks.transfer_progress(move |progress| {
            let bytes = progress.received_bytes() as u64;
            let is_whole = progress.total_objects() > 0 && progress.received_objects() == progress.total_objects();
            let judged = if is_whole { judge.remaining().map(|_| ()) } else { judge.check_received(bytes) };
            let told = judged.and_then(|()| match reported {
                Some(at) if at.elapsed() < REPORT_EVERY => Ok(()),
                _ => {
                    reported = Some(Instant::now());
                    port.borrow_mut().progress("receive", bytes)
                }
            });
            told.map_err(|failure| judge.fail(failure)).is_ok()
        });
        let mut told: Option<Instant> = None;
        callbacks.sideband_progress(move |_| {
            let judged = meter.remaining().and_then(|_| match told {
                Some(at) if at.elapsed() < REPORT_EVERY => Ok(()),
                _ => {
                    told = Some(Instant::now());
                    port.borrow_mut().progress("wait", 0)
                }
            });
            judged.map_err(|failure| meter.fail(failure)).is_ok()
        });
        callbacks
    }
}
