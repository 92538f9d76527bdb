//! Remote sources with a fetcher that fails as it is told.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::desired::{DesiredFile, DesiredState, assemble, file};
use crate::digest::Digest;
use crate::reconcile::resolve::Resolver;
use crate::resolution::{Refusal, Resolution};
use crate::source::remote::{FetchFailure, FetchJob, Found, WasmWanted};
use crate::state::{ObjectStore, Options};
use crate::trust::{SigningKey, sign_manifest};
use crate::worker::OnProgress;

const PATIENCE: Duration = Duration::from_secs(30);
const COMMIT: &str = "1111111111111111111111111111111111111111";
const OTHER_COMMIT: &str = "2222222222222222222222222222222222222222";

/// What a URL gives.
#[derive(Clone)]
enum Answer {
    Artifact { revision: &'static str, manifest: Vec<u8>, signature: Vec<u8>, wasm: Vec<u8> },
    Fails(&'static str),
    Panics,
    Hangs,
}

#[derive(Default)]
struct Fake {
    answers: Mutex<BTreeMap<String, Answer>>,
    fetches: Mutex<Vec<String>>,
    wasm: Arc<AtomicUsize>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Fake {
    fn answer(&self, url: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(url.to_owned(), answer);
    }

    fn fetches(&self) -> usize {
        self.fetches.lock().unwrap().len()
    }
}

struct Talk {
    found: Found,
    wasm: Vec<u8>,
    asked: Arc<AtomicUsize>,
}

impl Conversation for Talk {
    fn found(&self) -> &Found {
        &self.found
    }

    fn wasm(self: Box<Self>, _: &WasmWanted, sink: &mut dyn Write) -> Result<(), FetchFailure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        sink.write_all(&self.wasm).map_err(|error| FetchFailure::new("not-stored", error.to_string()))
    }
}

impl Fetcher for Fake {
    fn fetch(
        &self,
        job: FetchJob,
        stop: &Arc<AtomicBool>,
        _: OnProgress,
    ) -> Result<Box<dyn Conversation>, FetchFailure> {
        let url = match &job {
            FetchJob::Git(job) => job.url.as_str().to_owned(),
            FetchJob::Url(job) => job.url.as_str().to_owned(),
            FetchJob::Tree(_) => unreachable!("nobody asks for a tree"),
        };
        self.fetches.lock().unwrap().push(url.clone());
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let answer = self.answers.lock().unwrap().get(&url).cloned().unwrap_or(Answer::Fails("cannot-connect"));
        let result: Result<Box<dyn Conversation>, FetchFailure> = match answer {
            Answer::Artifact { revision, manifest, signature, wasm } => Ok(Box::new(Talk {
                found: Found::Artifact { revision: Some(revision.to_owned()), manifest, signature },
                wasm,
                asked: self.wasm.clone(),
            })),
            Answer::Fails(code) => Err(FetchFailure::new(code, format!("{url} did \u{1b}[2J not answer"))),
            Answer::Panics => {
                self.running.fetch_sub(1, Ordering::SeqCst);
                panic!("on purpose")
            }
            Answer::Hangs => {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                Err(FetchFailure::new("stopping", "it was told to stop"))
            }
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

struct World {
    _dir: tempfile::TempDir,
    home: Home,
    key: SigningKey,
    fake: Arc<Fake>,
    store: ObjectStore,
    offline: bool,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(&dir.path().join("home")).unwrap();
        let store = ObjectStore::open(&home, Options::at(1)).unwrap();
        let key = SigningKey::from_seed(&[3; 32]);
        Self { _dir: dir, home, key, fake: Arc::default(), store, offline: false }
    }

    fn policy(&self, key: &SigningKey) -> Arc<TrustPolicy> {
        let text = format!(
            "schema = 1\n[publisher.test]\nkeys = [\"{}\"]\nnames = [\"test:*\"]\npermissions-max = {{}}\n",
            key.public()
        );
        Arc::new(TrustPolicy::parse("trust.toml", text.as_bytes()).unwrap())
    }

    fn artifact(&self, revision: &'static str, sequence: u64) -> Answer {
        // A component with nothing but a section of no meaning.
        let mark = format!("m{sequence:08}");
        let wasm = [&b"\0asm\x0d\0\x01\0\x00\x0a\x01"[..], mark.as_bytes()].concat();
        let manifest = format!(
            "schema = 1\n[package]\nname = \"test:a\"\nversion = \"1.0.{sequence}\"\nsequence = {sequence}\n\
             [wasm]\nfile = \"a.wasm\"\nworld = \"airssys:component/actor@0.1.0\"\n"
        );
        let signed = sign_manifest(&manifest, &wasm, None, &self.key).unwrap();
        let (manifest, signature) = (signed.manifest.into_bytes(), signed.signature.into_bytes());
        Answer::Artifact { revision, manifest, signature, wasm }
    }

    fn resolver(&self) -> Resolver {
        let settings = SourceSettings { allow: Some(vec!["127.0.0.1".to_owned()]), ..SourceSettings::default() };
        let options = RemoteOptions { home: self.home.clone(), settings, offline: self.offline };
        let parts = options.parts(self.fake.clone(), self.store.objects().clone());
        Resolver::new(self.home.root(), Arc::new(Remote::new(parts)))
    }

    fn resolve(&self, resolver: &mut Resolver, state: &DesiredState, key: &SigningKey) -> BTreeMap<String, Resolution> {
        let resolutions = resolver.resolve(state, &BTreeMap::new(), &self.policy(key), self.store.objects(), 1_000_000);
        resolutions.iter().map(|(name, resolution)| (name.to_string(), resolution.clone())).collect()
    }

    /// Looks, waits for what is fetched, and looks again.
    fn settle(&self, resolver: &mut Resolver, state: &DesiredState, key: &SigningKey) -> BTreeMap<String, Resolution> {
        self.resolve(resolver, state, key);
        resolver.remote().wait(|_, _| {});
        self.resolve(resolver, state, key)
    }
}

fn git(url: &str, at: &str) -> String {
    format!("[source.git]\nurl = \"{url}\"\n{at}\npath = \".\"\n")
}

fn url(url: &str, pin: &str) -> String {
    format!("[source.url]\nurl = \"{url}/Component.toml\"\n{pin}\n")
}

fn desired(sources: &[(&str, String)]) -> DesiredState {
    let files = sources.iter().map(|(name, source)| {
        let text = format!("package = \"test:a\"\n{source}");
        let parsed = file::parse(&format!("{name}.toml"), text.as_bytes());
        (format!("{name}.toml"), DesiredFile::Parsed(Arc::new(parsed)))
    });
    let state = assemble(&files.collect(), &BTreeMap::new());
    assert_eq!((state.entries.len(), state.unknown.len()), (sources.len(), 0), "{state:?}");
    state
}

#[track_caller]
fn ready(resolutions: &BTreeMap<String, Resolution>, name: &str) -> String {
    match &resolutions[name] {
        Resolution::Ready(candidate) => candidate.artifact.version.to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

#[track_caller]
fn code(resolutions: &BTreeMap<String, Resolution>, name: &str) -> String {
    match &resolutions[name] {
        Resolution::Refused(Refusal { code, .. }) => format!("refused {code}"),
        Resolution::Unavailable(Refusal { code, .. }) => format!("unavailable {code}"),
        Resolution::Ready(_) => "ready".to_owned(),
    }
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn what_is_not_trusted_is_refused_before_a_byte_of_its_wasm_and_taken_once_the_policy_trusts_it() {
    let world = World::new();
    world.fake.answer("https://127.0.0.1/a/Component.toml", world.artifact("etag", 1));
    let state = desired(&[("a", url("https://127.0.0.1/a", ""))]);
    let mut resolver = world.resolver();
    let stranger = SigningKey::from_seed(&[4; 32]);
    let resolutions = world.settle(&mut resolver, &state, &stranger);
    assert_eq!(code(&resolutions, "a"), "refused unknown-signer");
    assert_eq!(world.fake.wasm.load(Ordering::Relaxed), 0, "no byte of the wasm was asked for");
    let resolutions = world.settle(&mut resolver, &state, &world.key);
    assert_eq!(ready(&resolutions, "a"), "1.0.1");
    assert_eq!(world.fake.wasm.load(Ordering::Relaxed), 1);
    // What is known is judged by the policy of now, at once and without a fetch.
    let fetches = world.fake.fetches();
    assert_eq!(code(&world.resolve(&mut resolver, &state, &stranger), "a"), "refused unknown-signer");
    assert!(world.fake.fetches() <= fetches + 1);
}

#[test]
fn a_commit_and_a_pinned_url_that_are_known_need_no_network_ever() {
    let world = World::new();
    let Answer::Artifact { wasm, .. } = world.artifact("r", 1) else { unreachable!() };
    let pin = format!("sha256 = \"{}\"", Digest::of(&wasm).hex());
    world.fake.answer("https://127.0.0.1/r.git", world.artifact(COMMIT, 1));
    world.fake.answer("https://127.0.0.1/a/Component.toml", world.artifact("etag", 1));
    let state = desired(&[
        ("git", git("https://127.0.0.1/r.git", &format!("commit = \"{COMMIT}\""))),
        ("url", url("https://127.0.0.1/a", &pin)),
    ]);
    let resolutions = world.settle(&mut world.resolver(), &state, &world.key);
    assert_eq!((ready(&resolutions, "git"), ready(&resolutions, "url")), ("1.0.1".into(), "1.0.1".into()));
    assert_eq!(world.fake.fetches(), 2);
    // A restart, and an operator who wants everything looked at.
    let mut resolver = world.resolver();
    let resolutions = world.resolve(&mut resolver, &state, &world.key);
    assert_eq!((ready(&resolutions, "git"), ready(&resolutions, "url")), ("1.0.1".into(), "1.0.1".into()));
    resolver.forget_all();
    world.settle(&mut resolver, &state, &world.key);
    assert_eq!(world.fake.fetches(), 2, "{:?}", world.fake.fetches.lock().unwrap());
}

#[test]
fn u9_a_pin_that_is_not_what_is_signed_is_refused_without_its_wasm_and_not_tried_again() {
    let world = World::new();
    world.fake.answer("https://127.0.0.1/a/Component.toml", world.artifact("etag", 1));
    let pin = format!("sha256 = \"{}\"", Digest::of(b"another").hex());
    let state = desired(&[("a", url("https://127.0.0.1/a", &pin))]);
    let mut resolver = world.resolver();
    for _ in 0..5 {
        assert_eq!(code(&world.settle(&mut resolver, &state, &world.key), "a"), "refused pin-mismatch");
    }
    assert_eq!((world.fake.fetches(), world.fake.wasm.load(Ordering::Relaxed)), (1, 0));
}

#[test]
fn a_tag_that_moves_is_refused_over_restarts_and_a_branch_that_moves_is_followed() {
    let world = World::new();
    world.fake.answer("https://127.0.0.1/r.git", world.artifact(COMMIT, 1));
    let state = desired(&[
        ("branch", git("https://127.0.0.1/r.git", "branch = \"main\"")),
        ("tag", git("https://127.0.0.1/r.git", "tag = \"v1\"")),
    ]);
    let resolutions = world.settle(&mut world.resolver(), &state, &world.key);
    assert_eq!((ready(&resolutions, "branch"), ready(&resolutions, "tag")), ("1.0.1".into(), "1.0.1".into()));
    world.fake.answer("https://127.0.0.1/r.git", world.artifact(OTHER_COMMIT, 2));
    let mut resolver = world.resolver();
    let resolutions = world.settle(&mut resolver, &state, &world.key);
    assert_eq!(
        (ready(&resolutions, "branch"), code(&resolutions, "tag")),
        ("1.0.2".into(), "refused tag-moved".into())
    );
    // Moved back, it is what it was.
    world.fake.answer("https://127.0.0.1/r.git", world.artifact(COMMIT, 1));
    resolver.forget_all();
    assert_eq!(ready(&world.settle(&mut resolver, &state, &world.key), "tag"), "1.0.1");
}

#[test]
fn p17_a_source_that_hangs_holds_up_no_pass_and_a_changed_file_cancels_it() {
    let world = World::new();
    world.fake.answer("https://127.0.0.1/slow.git", Answer::Hangs);
    world.fake.answer("https://127.0.0.1/good.git", world.artifact(COMMIT, 1));
    let slow = git("https://127.0.0.1/slow.git", "tag = \"v1\"");
    let good = git("https://127.0.0.1/good.git", "tag = \"v1\"");
    let mut resolver = world.resolver();
    let begun = Instant::now();
    let resolutions = world.resolve(&mut resolver, &desired(&[("a", slow.clone())]), &world.key);
    assert_eq!(code(&resolutions, "a"), "unavailable fetching");
    assert!(begun.elapsed() < Duration::from_secs(5), "the pass did not wait");
    until("the start", || world.fake.fetches() == 1);
    let changed = desired(&[("a", good)]);
    until("the new source", || code(&world.resolve(&mut resolver, &changed, &world.key), "a") == "ready");
    until("the end of the old one", || world.fake.cancelled.load(Ordering::Relaxed) == 1);
    drop(resolver);
    // A host that ends takes its fetches with it.
    let mut resolver = world.resolver();
    world.resolve(&mut resolver, &desired(&[("a", slow)]), &world.key);
    until("another start", || world.fake.running.load(Ordering::SeqCst) == 1);
    drop(resolver);
    until("its end", || world.fake.running.load(Ordering::SeqCst) == 0);
}

#[test]
fn u10_a_thousand_sources_on_a_dead_host_cost_two_fetches_at_a_time_and_all_say_why() {
    let world = World::new();
    let sources: Vec<(String, String)> =
        (0..1_000).map(|n| (format!("c{n}"), url(&format!("https://127.0.0.1/{n}"), ""))).collect();
    let sources: Vec<(&str, String)> = sources.iter().map(|(name, source)| (name.as_str(), source.clone())).collect();
    let state = desired(&sources);
    let mut resolver = world.resolver();
    let resolutions = world.settle(&mut resolver, &state, &world.key);
    assert!(resolutions.values().all(|r| matches!(r, Resolution::Unavailable(why) if why.code == "cannot-connect")));
    assert!(world.fake.most_running.load(Ordering::SeqCst) <= 2);
    assert!(world.fake.fetches() <= 3, "{} fetches", world.fake.fetches());
    let status = resolver.remote().status(&"c999".parse().unwrap()).unwrap();
    assert!(status.next_try_ms.is_some(), "{status:?}");
    assert!(!format!("{resolutions:?}").contains('\u{1b}'), "foreign text is escaped");
    // It heals by itself.
    for n in 0..1_000 {
        world.fake.answer(&format!("https://127.0.0.1/{n}/Component.toml"), world.artifact("etag", 1));
    }
    until("all are resolved", || {
        world.resolve(&mut resolver, &state, &world.key).values().all(|r| matches!(r, Resolution::Ready(_)))
    });
    assert!(world.fake.most_running.load(Ordering::SeqCst) <= 2);
}

#[test]
fn what_was_fetched_before_goes_on_while_its_host_is_away() {
    let world = World::new();
    world.fake.answer("https://127.0.0.1/r.git", world.artifact(COMMIT, 1));
    let state = desired(&[("a", git("https://127.0.0.1/r.git", "branch = \"main\""))]);
    world.settle(&mut world.resolver(), &state, &world.key);
    for (answer, class) in [("cannot-connect", "again by itself"), ("bad-certificate", "waits for a change")] {
        world.fake.answer("https://127.0.0.1/r.git", Answer::Fails(answer));
        let mut resolver = world.resolver();
        assert_eq!(ready(&world.settle(&mut resolver, &state, &world.key), "a"), "1.0.1");
        let stale = resolver.remote().stale();
        assert_eq!((stale.len(), stale[0].code.as_str()), (1, answer));
        assert!(stale[0].hint.as_deref().is_some_and(|hint| hint.contains(class)), "{stale:?}");
    }
}

#[test]
fn a_fetch_that_panics_is_a_fault_of_this_program_and_costs_its_source_only() {
    let world = World::new();
    world.fake.answer("https://127.0.0.1/bad.git", Answer::Panics);
    world.fake.answer("https://127.0.0.1/good.git", world.artifact(COMMIT, 1));
    let state = desired(&[
        ("bad", git("https://127.0.0.1/bad.git", "tag = \"v1\"")),
        ("good", git("https://127.0.0.1/good.git", "tag = \"v1\"")),
    ]);
    let resolutions = world.settle(&mut world.resolver(), &state, &world.key);
    assert_eq!(ready(&resolutions, "good"), "1.0.1");
    let Resolution::Unavailable(why) = &resolutions["bad"] else { panic!("{resolutions:?}") };
    assert_eq!(why.code, "panicked");
    assert!(why.hint.as_deref().is_some_and(|hint| hint.contains("please report it")), "{why:?}");
}

#[test]
fn offline_fetches_nothing_and_says_what_is_missing() {
    let mut world = World::new();
    world.fake.answer("https://127.0.0.1/r.git", world.artifact(COMMIT, 1));
    let known = ("known", git("https://127.0.0.1/r.git", "branch = \"main\""));
    world.settle(&mut world.resolver(), &desired(std::slice::from_ref(&known)), &world.key);
    let fetches = world.fake.fetches();
    world.offline = true;
    let state = desired(&[known, ("new", git("https://127.0.0.1/new.git", "tag = \"v1\""))]);
    let mut resolver = world.resolver();
    let resolutions = world.settle(&mut resolver, &state, &world.key);
    assert_eq!(
        (ready(&resolutions, "known"), code(&resolutions, "new")),
        ("1.0.1".into(), "unavailable offline".into())
    );
    resolver.forget_all();
    world.settle(&mut resolver, &state, &world.key);
    assert_eq!(world.fake.fetches(), fetches);
}

#[test]
fn an_object_that_is_gone_is_fetched_again_and_a_host_that_is_not_allowed_never() {
    let world = World::new();
    world.fake.answer("https://127.0.0.1/r.git", world.artifact(COMMIT, 1));
    let at = format!("commit = \"{COMMIT}\"");
    let state = desired(&[
        ("a", git("https://127.0.0.1/r.git", &at)),
        ("b", git("https://elsewhere.example/r.git", "tag = \"v1\"")),
    ]);
    let resolutions = world.settle(&mut world.resolver(), &state, &world.key);
    assert_eq!(code(&resolutions, "b"), "refused host-not-allowed");
    let Resolution::Ready(candidate) = &resolutions["a"] else { panic!("{resolutions:?}") };
    for digest in [candidate.artifact.wasm, candidate.artifact.manifest] {
        let hex = digest.hex();
        std::fs::remove_file(world.home.state_dir().join("objects/sha256").join(&hex[..2]).join(&hex)).unwrap();
        let before = world.fake.fetches();
        assert_eq!(ready(&world.settle(&mut world.resolver(), &state, &world.key), "a"), "1.0.1");
        assert_eq!(world.fake.fetches(), before + 1);
    }
    assert!(!world.fake.fetches.lock().unwrap().iter().any(|url| url.contains("elsewhere")));
}
