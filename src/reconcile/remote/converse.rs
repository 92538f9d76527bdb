//! One conversation about one source: found, verified, and only then the wasm.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::known::{is_complete, verify};
use super::{RemoteParts, url};
use crate::desired::spec::{GitReference, Source, Spec};
use crate::digest::Digest;
use crate::escape::escape;
use crate::remote::memo::{MAX_REVISION_BYTES, Memo};
use crate::remote::names;
use crate::resolution::{Class, Refusal, class, class_of_verdict, is_unreachable};
use crate::source::credentials;
use crate::source::remote::{FetchFailure, FetchJob, Found, GitJob, UrlJob, WasmWanted};
use crate::trust::TrustPolicy;
use crate::worker::OnProgress;

/// Longest message or hint that is taken from a fetch, in characters.
const MAX_TEXT_CHARS: usize = 2_000;

/// Why a source is not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Code, sentence and remedy.
    pub refusal: Refusal,
    /// What it asks for.
    pub class: Class,
    /// Whether it is about what was found: then what was known before is not what is wanted any more.
    pub is_verdict: bool,
    /// Whether the host could not be spoken to.
    pub is_unreachable: bool,
    /// How long the other side asked to be left alone, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failed {
    /// A rule refuses what was found.
    fn verdict(refusal: Refusal) -> Self {
        let class = class_of_verdict(&refusal.code);
        Self { refusal, class, is_verdict: true, is_unreachable: false, retry_after_ms: None }
    }

    /// A thread ended without a word.
    pub(super) fn panicked() -> Self {
        FetchFailure::new("panicked", "the fetch ended in a panic").into()
    }
}

impl From<FetchFailure> for Failed {
    fn from(failure: FetchFailure) -> Self {
        let FetchFailure { code, message, hint, retry_after_ms } = failure;
        let (class, is_unreachable) = (class(&code), is_unreachable(&code));
        let cut = |text: &str| text.chars().take(MAX_TEXT_CHARS).collect::<String>();
        let message = escape(&cut(&message));
        let hint = hint.map(|hint| cut(&hint).lines().map(escape).collect::<Vec<_>>().join("\n"));
        let refusal = Refusal { code: escape(&cut(&code)), message, hint };
        Self { refusal, class, is_verdict: false, is_unreachable, retry_after_ms }
    }
}

/// What a conversation is about.
pub(super) struct Subject {
    pub spec: Arc<Spec>,
    pub policy: Arc<TrustPolicy>,
    pub previous: Option<Arc<Memo>>,
}

/// Fetches, verifies, stores, remembers. Blocks for as long as it takes.
pub(super) fn converse(
    parts: &RemoteParts,
    subject: &Subject,
    stop: &Arc<AtomicBool>,
    on_progress: OnProgress,
) -> Result<Memo, Failed> {
    let Subject { spec, policy, previous } = subject;
    let complete = previous.as_ref().filter(|memo| is_complete(&parts.objects, memo));
    let job = job(parts, &spec.source, complete.map(|memo| &**memo))?;
    let conversation = parts.fetcher.fetch(job, stop, on_progress)?;
    let (revision, manifest, signature) = match conversation.found() {
        Found::Artifact { revision, manifest, signature } => (revision.clone(), manifest, signature),
        Found::Unchanged => {
            let unasked = || FetchFailure::new("worker-protocol", "nothing was known, and it is said to be unchanged");
            return complete.map(|memo| Memo::clone(memo)).ok_or_else(|| unasked().into());
        }
        Found::Tree { .. } => {
            return Err(FetchFailure::new("worker-protocol", "files were found where an artifact was wanted").into());
        }
    };
    let revision = revision.filter(|revision| revision.len() <= MAX_REVISION_BYTES);
    check_tag(&spec.source, previous.as_deref(), revision.as_deref()).map_err(Failed::verdict)?;
    let now_unix_s = super::super::unix_now_s();
    let verified = verify(spec, policy, manifest, signature, now_unix_s).map_err(Failed::verdict)?;
    let stored = |error: crate::state::StateError| {
        let message = format!("the artifact could not be copied into the content store: {error}");
        FetchFailure::new("not-stored", message).hint("it is tried again; what runs goes on")
    };
    let wanted = verified.manifest().wasm.clone();
    let memo = Memo {
        revision,
        manifest: Digest::of(manifest),
        signature: Digest::of(signature),
        wasm: wanted.digest,
        at_unix_s: now_unix_s,
    };
    parts.objects.put_object(manifest).map_err(stored)?;
    parts.objects.put_object(signature).map_err(stored)?;
    if parts.objects.glance_at(&wanted.digest).is_none_or(|(size, _)| size != wanted.size) {
        let mut sink = parts.objects.sink();
        conversation.wasm(&WasmWanted { file: wanted.file.clone(), size: wanted.size }, &mut sink)?;
        let found = sink.digest();
        if found != wanted.digest {
            let message = format!("`{}` is {found}, and {} is signed", escape(&wanted.file), wanted.digest);
            let hint = "the source may be half updated; it is fetched again";
            return Err(FetchFailure::new("wrong-digest", message).hint(hint).into());
        }
        sink.keep().map_err(stored)?;
    }
    parts.objects.remember(&names::of_source(&spec.source), &memo).map_err(stored)?;
    Ok(memo)
}

/// A tag that means another commit than before was moved, by whomever: it is not followed.
fn check_tag(source: &Source, previous: Option<&Memo>, found: Option<&str>) -> Result<(), Refusal> {
    let Source::Git { at: GitReference::Tag(tag), .. } = source else { return Ok(()) };
    let (Some(before), Some(now)) = (previous.and_then(|memo| memo.revision.as_deref()), found) else { return Ok(()) };
    if before == now {
        return Ok(());
    }
    let (before, now, tag) = (escape(before), escape(now), escape(tag));
    let message = format!("tag {tag} was commit {before} and is commit {now} now; a tag that moves is not followed");
    Err(Refusal::new("tag-moved", message)
        .hint(format!("if the new commit is meant, write commit = \"{now}\" in [source.git], or name a new tag")))
}

fn job(parts: &RemoteParts, source: &Source, complete: Option<&Memo>) -> Result<FetchJob, FetchFailure> {
    let access = |url| credentials::access(parts.settings.of(url), &parts.home);
    match source {
        Source::Git { url, at, path } => Ok(FetchJob::Git(GitJob {
            url: url.clone(),
            at: at.clone(),
            path: path.clone(),
            mirror: parts.mirrors.join(names::of_repository(url.as_str())).join("git"),
            offline: false,
            access: access(url)?,
        })),
        Source::Url { url, .. } => {
            let etag = complete.and_then(|memo| memo.revision.clone());
            Ok(FetchJob::Url(UrlJob { url: url.clone(), etag, access: access(url)? }))
        }
        Source::File { .. } => {
            debug_assert!(url(source).is_none(), "files are not fetched");
            Err(FetchFailure::new("worker-protocol", "a source on this machine is read, not fetched"))
        }
    }
}
