//! What passes and status see of a remote source.

use std::sync::Arc;

use super::{Failed, Remote, SourceKey, State, host_and_port, url};
use crate::desired::spec::Source;
use crate::name::InstallationName;
use crate::remote::memo::Memo;
use crate::remote::table::Standing;
use crate::resolution::{Class, Refusal};
use crate::status::SourceStatus;

/// What is known of a source at this moment.
#[derive(Debug, Clone)]
pub struct SourceView {
    /// What it was last.
    pub known: Option<Arc<Memo>>,
    /// Why the last attempt failed, its own or that of its host.
    pub failed: Option<Failed>,
}

impl Remote {
    /// What is known of the source of a spec; none when sources may not be on its host.
    pub fn view(&self, key: &SourceKey) -> Option<SourceView> {
        let state = self.shared.state();
        state
            .specs
            .contains_key(key)
            .then(|| SourceView { known: state.known.get(&key.source).cloned(), failed: state.failure(key).cloned() })
    }

    /// Whether a source lacks the pin that the settings ask for: nothing is fetched from it.
    pub fn misses_pin(&self, source: &Source) -> bool {
        self.shared.parts.settings.misses_pin(source)
    }

    /// Whether nothing is fetched at all.
    pub fn is_offline(&self) -> bool {
        self.shared.parts.offline
    }

    /// What was known of a source is not in the store any more: it is fetched again.
    pub fn lost(&self, source: &Source) {
        let mut state = self.shared.state();
        let now_ms = self.shared.now_ms();
        state.known.remove(source);
        let keys: Vec<SourceKey> = state.specs.keys().filter(|key| key.source == *source).cloned().collect();
        keys.iter().for_each(|key| state.table.lost(key, now_ms));
        drop(state);
        self.shared.moved.notify_all();
    }

    /// Failures beside which what was known before goes on: one for each host.
    pub fn stale(&self) -> Vec<Refusal> {
        let state = self.shared.state();
        let mut seen = std::collections::BTreeSet::new();
        let mut stale = Vec::new();
        for key in state.specs.keys().filter(|key| state.known.contains_key(&key.source)) {
            let Some(failed) = state.failure(key).filter(|failed| !failed.is_verdict) else { continue };
            let place = url(&key.source).and_then(host_and_port).unwrap_or_else(|| source_text(&key.source));
            if seen.insert(place.clone()) {
                let message = format!("{place} can't be looked at again: {}", failed.refusal.message);
                let hint = hint(failed.refusal.hint.as_deref(), failed.class);
                let hint = format!("what was fetched before goes on\n{hint}");
                stale.push(Refusal { code: failed.refusal.code.clone(), message, hint: Some(hint) });
            }
        }
        stale
    }

    /// How the source of an installation stands, for status; none for sources on this machine.
    pub fn status(&self, name: &InstallationName) -> Option<SourceStatus> {
        let state = self.shared.state();
        let key = state.names.get(name)?;
        let now_ms = self.shared.now_ms();
        let standing = if self.shared.parts.offline { None } else { state.table.standing(key) };
        let (what, next_try_ms) = match standing {
            Some(Standing::Fetching) => {
                let progress = state.progress.get(key);
                let text = progress.map_or_else(
                    || "being fetched".to_owned(),
                    |(step, bytes)| format!("being fetched: {step}, {bytes} bytes"),
                );
                (text, None)
            }
            Some(Standing::Waiting { next_ms }) => {
                ("waits for its next look".to_owned(), Some(next_ms.saturating_sub(now_ms)))
            }
            Some(Standing::Resting) if state.failure(key).is_some() => ("waits for a changed input".to_owned(), None),
            Some(Standing::Resting) => ("needs no further look".to_owned(), None),
            None => ("not looked at".to_owned(), None),
        };
        let revision = state.known.get(&key.source).and_then(|memo| memo.revision.as_deref());
        Some(SourceStatus {
            source: source_text(&key.source),
            revision: revision.map(crate::escape::escape),
            state: what,
            next_try_ms,
            last_error: state.failure(key).map(|failed| failed.refusal.clone()),
        })
    }
}

impl State {
    /// Why a source failed last; where it was never tried, why its host can't be spoken to.
    pub(super) fn failure(&self, key: &SourceKey) -> Option<&Failed> {
        self.failed.get(key).or_else(|| self.unreachable.get(&host_and_port(url(&key.source)?)?))
    }
}

/// A source in a few words.
pub fn source_text(source: &Source) -> String {
    match source {
        Source::File { path } => crate::escape::escape(path),
        Source::Git { url, at, path } => format!("{url} {at}, {path}", url = url.as_str()),
        Source::Url { url, .. } => url.as_str().to_owned(),
    }
}

/// The remedy of a failure, and who must do something.
pub(in crate::reconcile) fn hint(own: Option<&str>, class: Class) -> String {
    let what = match class {
        Class::Transient => "it is tried again by itself while a host runs",
        Class::Stalled => "it waits for a change: mend it, then change the file or run `airssys-wasm sync`",
        Class::Bug => "this is a fault of airssys-wasm itself: please report it; it is tried again meanwhile",
    };
    match own {
        Some(own) => format!("{own}\n{what}"),
        None => what.to_owned(),
    }
}
