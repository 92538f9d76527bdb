//! The processes in which fetching and compiling happen: what they may, what they cost, and what hostile ones get.

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::actor::{System, SystemConfig};
use airssys_wasm::config::sources::SourceSettings;
use airssys_wasm::desired::spec::Require;
use airssys_wasm::engine::{Engine, EngineConfig};
use airssys_wasm::home::Home;
use airssys_wasm::logs::Logs;
use airssys_wasm::name::PackageName;
use airssys_wasm::reconcile::remote::RemoteOptions;
use airssys_wasm::reconcile::{Parts, Reconciler, offline, unix_now_s};
use airssys_wasm::resolution::Refusal;
use airssys_wasm::secret::SecretRules;
use airssys_wasm::source::remote::{Access, FetchFailure, FetchJob, Found, UrlJob, WasmWanted};
use airssys_wasm::source::secret::Environment;
use airssys_wasm::source::trust_file::TrustLocation;
use airssys_wasm::state::{Options, Store};
use airssys_wasm::trust::{
    Expectation, SigningKey, StoredWasm, TrustPolicy, VerifiedArtifact, sign_manifest, verify_manifest,
};
use airssys_wasm::worker::{CompileFailure, CompileLimits, FetchLimits, WORKER_COMMAND, Workers};
use tempfile::TempDir;

use crate::bombs;
use crate::components::idle;
use crate::harness::{PATIENCE, Release, TRUSTED_SEED, World, stdout};

pub fn processes() -> Workers {
    Workers::Exe(PathBuf::from(env!("CARGO_BIN_EXE_airssys-wasm")))
}

fn engine() -> Engine {
    Engine::new(&EngineConfig::default()).expect("an engine")
}

pub fn goes_on() -> Arc<AtomicBool> {
    Arc::default()
}

/// What a signed release of this wasm is to the engine.
fn verified(wasm: &[u8]) -> VerifiedArtifact {
    let key = SigningKey::from_seed(&TRUSTED_SEED);
    let release = Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm };
    let signed = sign_manifest(&release.draft(), wasm, None, &key).expect("signed");
    let policy = format!("schema = 1\n[publisher.test]\nkeys = [\"{}\"]\nnames = [\"test:*\"]\n", key.public());
    let policy = TrustPolicy::parse("trust.toml", policy.as_bytes()).expect("a policy");
    let package: PackageName = "test:idle".parse().expect("a name");
    let expectation = Expectation { package: &package, require: &Require::default() };
    verify_manifest(&policy, &expectation, signed.manifest.as_bytes(), signed.signature.as_bytes(), unix_now_s())
        .and_then(|manifest| manifest.admit(&StoredWasm::of(wasm)))
        .expect("verified")
}

fn compile(workers: &Workers, wasm: &[u8], limits: &CompileLimits) -> Result<Vec<u8>, CompileFailure> {
    let code = workers.compile(&engine(), &verified(wasm), wasm, limits, &goes_on())?;
    Ok(code.bytes().to_vec())
}

#[track_caller]
fn refused(workers: &Workers, wasm: &[u8], limits: &CompileLimits) -> Refusal {
    match compile(workers, wasm, limits).expect_err("it was compiled") {
        CompileFailure::Worker(refusal) => refusal,
        CompileFailure::Refused(error) => panic!("the component was refused: {error}"),
    }
}

#[test]
fn a_process_and_this_process_make_the_same_code_and_it_loads() {
    for name in ["sensor", "aggregator", "alerter"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/components/{name}/{name}.wasm"));
        let wasm = std::fs::read(path).expect("readable");
        let (engine, artifact, limits) = (engine(), verified(&wasm), CompileLimits::default());
        let code = |workers: Workers| {
            let begun = Instant::now();
            let code = workers.compile(&engine, &artifact, &wasm, &limits, &goes_on()).expect("compiled");
            println!("{name}: {} in {:?}", workers.text(), begun.elapsed());
            code
        };
        let (there, here) = (code(processes()), code(Workers::InProcess));
        assert!(there.bytes() == here.bytes(), "{name}: {} and {} bytes", there.bytes().len(), here.bytes().len());
        assert_eq!(engine.load_fresh(&artifact, &there).expect("loaded").wasm(), artifact.identity().wasm);
        let other = verified(&idle("other"));
        engine.load_fresh(&other, &there).expect_err("loaded for another artifact");
    }
}

#[test]
fn what_the_compiler_refuses_reads_the_same_from_a_process() {
    let modules = format!("(component {})", "(core module)".repeat(65));
    let invalid = "(component (core module (memory 1 1 shared)))".to_owned();
    for text in [modules, invalid] {
        let wasm = wat::parse_str(&text).expect("component text");
        let limits = CompileLimits::default();
        let failures = [processes(), Workers::InProcess].map(|workers| compile(&workers, &wasm, &limits));
        assert!(matches!(&failures[0], Err(CompileFailure::Refused(_))), "{:?}", failures[0]);
        assert_eq!(failures[0], failures[1]);
    }
}

#[test]
fn r13_a_compile_bomb_is_ended_at_each_limit_and_the_limit_is_named() {
    let (long, many) = (bombs::long_function(1_000_000), bombs::many_functions());
    let ended = |bomb, limits| {
        let refusal = refused(&processes(), bomb, &limits);
        (refusal.code, refusal.message)
    };
    let most = CompileLimits::default();
    let (code, message) = ended(&many, CompileLimits { cpu_s: 1, ..most.clone() });
    assert_eq!(
        (&*code, &*message),
        ("worker-killed", "the compilation was ended: it used more than 1 s of processor time")
    );
    let (code, message) = ended(&many, CompileLimits { time: Duration::from_millis(300), ..most.clone() });
    assert_eq!((&*code, &*message), ("worker-timeout", "the compilation took longer than 300 ms and was ended"));
    let (code, message) = ended(&long, CompileLimits { memory_bytes: 300 << 20, ..most });
    assert_eq!(
        (&*code, &*message),
        ("worker-killed", "the compilation was ended: it needed more than 300 MiB of memory")
    );
}

#[test]
fn r13_each_of_24_compile_bombs_costs_its_own_turn_at_most() {
    let limits =
        CompileLimits { memory_bytes: 1 << 30, cpu_s: 2, time: Duration::from_secs(20), ..CompileLimits::default() };
    let bombs = bombs::all();
    assert_eq!(bombs.len(), 24);
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    for (what, wasm) in bombs {
        let begun = Instant::now();
        let outcome = compile(&processes(), &wasm, &limits);
        // For people: it waited for its turn, too.
        let took = begun.elapsed();
        let end = match outcome {
            Ok(_) => "compiled".to_owned(),
            Err(CompileFailure::Refused(_)) => "refused".to_owned(),
            Err(CompileFailure::Worker(refusal)) => {
                assert!(matches!(&*refusal.code, "worker-killed" | "worker-timeout"), "{what}: {refusal:?}");
                println!("{what}: {}", refusal.message);
                refusal.code
            }
        };
        println!("{what}: {end} in {took:?}");
        *ends.entry(end).or_default() += 1;
    }
    // Which of the limits ends it depends on what else the machine has to do.
    let of = |end: &str| ends.get(end).copied().unwrap_or_default();
    assert!(of("refused") >= 3 && of("worker-killed") + of("worker-timeout") >= 3, "{ends:?}");
    // What follows is as if nothing had been.
    compile(&processes(), &idle("after"), &CompileLimits::default()).expect("compiled");
}

/// A reconciler of the world that compiles within these limits.
pub fn reconciler(world: &World, workers: Workers, compile_limits: CompileLimits) -> Reconciler {
    let home = Home::at(&world.home()).expect("a home");
    home.create_for_host().expect("made");
    let opened = Store::open(&home, Options::at(unix_now_s().unsigned_abs())).expect("opened");
    let engine = engine();
    let logs = Logs::open(&home.logs_dir()).expect("opened");
    let actors = Arc::new(System::start(SystemConfig::new(engine.clone(), logs)).expect("started"));
    let parts = |store| Parts {
        desired: world.desired(),
        from_git: None,
        trust: TrustLocation::Named(world.trust()),
        store,
        engine,
        actors,
        runs: true,
        workers,
        compile_limits,
        remote: RemoteOptions { home: home.clone(), settings: SourceSettings::default(), offline: false },
        secrets: offline::secret_places(&home, Some(&world.desired()), &SecretRules::default(), Environment::Own),
        tell: Arc::new(|_: &_| {}),
        keep: airssys_wasm::config::StateSettings::default(),
        stopping: goes_on(),
    };
    Reconciler::new(opened, parts).expect("a reconciler")
}

#[test]
fn a_compile_bomb_costs_one_component_its_turn_and_nothing_else() {
    let world = World::new();
    let (good, bomb) = (idle("1"), bombs::many_functions());
    let release = |wasm| Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm };
    world.publish("good", &release(&good));
    world.publish("bomb", &release(&bomb));
    for name in ["a", "b"] {
        world.desire(name, "test:idle", "good", "");
    }
    world.desire("bomb", "test:idle", "bomb", "");
    // However little of the processor it gets, its pass waits for its end.
    let most = CompileLimits::default();
    let limits = CompileLimits { cpu_s: 1, first_turn: most.time, ..most };
    let mut reconciler = reconciler(&world, processes(), limits);
    let pass = reconciler.pass_settled(None).expect("a pass");
    assert_eq!(pass.failed.len(), 1);
    assert_eq!((pass.failed[0].action.name.as_str(), &*pass.failed[0].why.code), ("bomb", "worker-killed"));
    assert!(pass.failed[0].why.message.contains("more than 1 s of processor time"), "{:?}", pass.failed[0].why);
    assert!(pass.failed[0].why.hint.as_ref().is_some_and(|hint| hint.contains("the publisher")));
    let actors = reconciler.actors();
    let running = ["a", "b"].map(|name| actors.phase(&name.parse().expect("a name")));
    assert!(running.iter().all(|phase| *phase == Some(airssys_wasm::actor::ActorPhase::Running)), "{running:?}");
}

#[test]
fn a_compilation_that_nobody_waits_for_any_more_ends_soon() {
    let stop = goes_on();
    let bomb = bombs::many_functions();
    let artifact = verified(&bomb);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::park_timeout(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
        });
        let failure = processes().compile(&engine(), &artifact, &bomb, &CompileLimits::default(), &stop);
        match failure.expect_err("compiled") {
            // At the end of its time it would be another one.
            CompileFailure::Worker(refusal) => assert_eq!(refusal.code, "stopping"),
            CompileFailure::Refused(error) => panic!("{error}"),
        }
    });
}

// The real worker, spoken to directly.

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short");
    [&[kind][..], &length.to_le_bytes(), bytes].concat()
}

struct Worker(Child);

impl Worker {
    fn spawn() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_airssys-wasm"));
        command.arg(WORKER_COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().expect("started"))
    }

    fn say(&mut self, kind: u8, bytes: &[u8]) {
        self.0.stdin.as_mut().expect("piped").write_all(&frame(kind, bytes)).expect("written");
    }

    fn hear(&mut self) -> (u8, Vec<u8>) {
        let stdout = self.0.stdout.as_mut().expect("piped");
        let mut header = [0; 5];
        stdout.read_exact(&mut header).expect("a header");
        let mut bytes = vec![0; u32::from_le_bytes(header[1..].try_into().expect("four")) as usize];
        stdout.read_exact(&mut bytes).expect("a frame");
        (header[0], bytes)
    }

    /// Confined for `task`, with the limits of a fetch.
    fn ready(task: &str, readable: &[&Path], writable: &[&Path]) -> (Self, serde_json::Value) {
        let mut worker = Self::spawn();
        let setup = serde_json::json!({
            "task": task, "memory_bytes": 512u64 << 20, "cpu_s": 20, "file_bytes": 1 << 20,
            "open_files": 64, "is_idle": false, "readable": readable, "writable": writable,
        });
        worker.say(1, setup.to_string().as_bytes());
        let (kind, bytes) = worker.hear();
        assert_eq!(kind, 6, "{}", String::from_utf8_lossy(&bytes));
        (worker, serde_json::from_slice(&bytes).expect("JSON"))
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0.id()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether this machine has what a test looks into.
fn is_linux(what: &str) -> bool {
    if cfg!(target_os = "linux") {
        return true;
    }
    println!("not run: {what} needs Linux");
    false
}

#[test]
fn a_worker_has_no_descriptor_no_right_and_the_limits_before_it_sees_a_job() {
    if !is_linux("looking at a process") {
        return;
    }
    // A descriptor that every child inherits, as a careless library leaves it.
    let leaked = std::fs::File::open("/dev/null").expect("opened");
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("set");
    let inherits = Command::new("/bin/sh")
        .args(["-c", &format!("test -e /proc/self/fd/{}", leaked.as_raw_fd())])
        .status()
        .expect("sh runs");
    assert!(inherits.success(), "the test's own descriptor is not inherited");
    let (worker, _) = Worker::ready("fetch", &[], &[]);
    let mut open: Vec<_> =
        std::fs::read_dir(worker.proc("fd")).expect("listed").map(|e| e.expect("one").file_name()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    let status = std::fs::read_to_string(worker.proc("status")).expect("readable");
    for line in ["NoNewPrivs:\t1", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "Threads:\t1"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let limits = std::fs::read_to_string(worker.proc("limits")).expect("readable");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    for (name, soft, hard) in [
        ("Max address space", "536870912", "536870912"),
        // The signal of the softer one says which limit it was.
        ("Max cpu time", "20", "21"),
        ("Max file size", "1048576", "1048576"),
        ("Max open files", "64", "64"),
        ("Max core file size", "0", "0"),
    ] {
        assert_eq!(limit(name), [soft, hard], "{name}");
    }
    let niceness = |path: &Path| -> i32 {
        let stat = std::fs::read_to_string(path).expect("readable");
        let after_name = stat.rsplit(") ").next().expect("fields");
        after_name.split(' ').nth(16).and_then(|text| text.parse().ok()).expect("a number")
    };
    assert_eq!(niceness(&worker.proc("stat")), (niceness(Path::new("/proc/self/stat")) + 10).min(19));
}

#[test]
fn a_worker_that_is_spoken_to_out_of_turn_ends() {
    for said in [frame(2, b"{}"), frame(1, b"{}"), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![4, 255, 255, 255, 255]] {
        let mut worker = Worker::spawn();
        worker.0.stdin.take().expect("piped").write_all(&said).expect("written");
        assert!(!worker.0.wait().expect("ended").success());
    }
    // A compiling worker is no fetching one.
    let (mut worker, ready) = Worker::ready("compile", &[], &[]);
    assert!(ready["code_hash"].as_str().is_some_and(|hash| hash == engine().code_hash().to_string()), "{ready}");
    worker.say(2, b"{}");
    assert!(!worker.0.wait().expect("ended").success());
}

// Hostile workers: a few lines of shell in place of the program.

struct Fake {
    dir: TempDir,
}

/// A shell command that sends a frame.
fn says(kind: u8, text: &str) -> String {
    format!("printf '{}'", frame(kind, text.as_bytes()).iter().map(|byte| format!("\\{byte:03o}")).collect::<String>())
}

/// What a worker says when it is confined.
fn ready() -> String {
    says(6, r#"{"landlock":"none","code_hash":null}"#)
}

fn unchanged() -> String {
    says(8, "\"unchanged\"")
}

impl Fake {
    fn new(lines: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let script = format!("#!/bin/sh\necho $$ > {}\n{}\n", dir.path().join("pid").display(), lines.join("\n"));
        std::fs::write(dir.path().join("fake"), script).expect("written");
        std::fs::set_permissions(dir.path().join("fake"), PermissionsExt::from_mode(0o755)).expect("made executable");
        Self { dir }
    }

    fn fetch(&self, time: Duration) -> Result<airssys_wasm::worker::Fetching, FetchFailure> {
        let job = url_job("https://example.com/Component.toml");
        let limits = FetchLimits { time, ..FetchLimits::of(&job) };
        Workers::Exe(self.dir.path().join("fake")).fetch(job, &limits, &goes_on(), Box::new(|_, _| {}))
    }

    #[track_caller]
    fn failure(lines: &[&str], time: Duration) -> FetchFailure {
        let fake = Self::new(lines);
        let failure = fake.fetch(time).expect_err("it was taken");
        fake.is_gone();
        assert!(!failure.message.contains(|c: char| c.is_control()), "{failure:?}");
        failure
    }

    /// The process and what it started are gone, reaped too.
    #[track_caller]
    fn is_gone(&self) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).expect("it ran");
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{pid} is still there");
    }
}

fn url_job(url: &str) -> FetchJob {
    FetchJob::Url(UrlJob { url: url.parse().expect("a URL"), etag: None, access: Access::default() })
}

#[test]
fn a_worker_that_talks_nonsense_is_ended_and_called_so() {
    let too_much = r#"{"artifact":{"manifest":99999999,"signature":0}}"#;
    let other_text = r#"{"artifact":{"revision":"\u001b[2J","manifest":0,"signature":0}}"#;
    let tree = r#"{"tree":{"commit":"c","files":[["../x.toml",0]],"unreadable":[],"is_fast_forward":true,"commits":[],"is_cut":false}}"#;
    for (said, needle) in [
        ("echo garbage".to_owned(), "unknown kind 103"),
        ("cat /dev/zero".to_owned(), "unknown kind 0"),
        (r"printf '\004\377\377\377\377'".to_owned(), "announced 4294967295 bytes"),
        (says(6, "{}"), "can't be read"),
        (format!("{}; {}", ready(), says(8, "\"x\"")), "can't be read"),
        (format!("{}; {}", ready(), says(5, "")), "no place here"),
        (format!("{0}; {0}", ready()), "no place here"),
        (format!("{}; {}", ready(), says(8, too_much)), "found more than it may"),
        (format!("{}; {}", ready(), says(8, other_text)), "is no word"),
        (format!("{}; {}", ready(), says(8, tree)), "file name"),
        (
            format!(
                "{}; {}",
                ready(),
                says(10, r#"{"fetch":{"code":"No Code","message":"m","hint":null,"retry_after_ms":null}}"#)
            ),
            "is no code",
        ),
    ] {
        let lines = &[&*said, "sleep 60"][..];
        let failure = Fake::failure(lines, PATIENCE);
        assert_eq!(failure.code, "worker-protocol", "{lines:?}: {failure:?}");
        assert!(failure.message.contains(needle), "{needle}: {failure:?}");
    }
}

#[test]
fn a_worker_that_dies_says_how_and_its_last_words_are_harmless() {
    let failure = Fake::failure(&["printf 'no \\033[2J memory' >&2; exit 3"], PATIENCE);
    assert_eq!((&*failure.code, failure.message.contains("exit code 3")), ("worker-crashed", true), "{failure:?}");
    assert!(failure.message.contains("it said: no \\u{1b}[2J memory"), "{failure:?}");
    let failure = Fake::failure(&[&ready(), "kill -SEGV $$"], PATIENCE);
    assert!(failure.code == "worker-crashed" && failure.message.contains("SIGSEGV"), "{failure:?}");
    let failure = Fake::failure(&[&ready(), "kill -KILL $$"], PATIENCE);
    assert!(failure.code == "worker-killed" && failure.message.contains("memory is short"), "{failure:?}");
    let failure = Fake::failure(&[&ready(), "kill -XCPU $$"], PATIENCE);
    assert!(failure.code == "worker-killed" && failure.message.contains("120 s of processor time"), "{failure:?}");
    let failure = Fake::failure(&["exit 0"], PATIENCE);
    assert_eq!(failure.code, "worker-crashed", "{failure:?}");
}

#[test]
fn a_worker_that_is_silent_slow_or_only_loud_is_ended_at_the_deadline() {
    let (confined, slow) = (ready(), r"printf '\006\100\000\000\000'; while :; do printf ' '; sleep 0.05; done");
    for lines in [&["sleep 60"][..], &[&*confined, "sleep 60"], &[slow], &["yes 'out of order' >&2"]] {
        let failure = Fake::failure(lines, Duration::from_millis(400));
        assert_eq!(failure.code, "timeout", "{lines:?}: {failure:?}");
        assert!(failure.message.contains("400 ms"), "{failure:?}");
    }
}

#[test]
fn a_worker_that_closes_its_stream_and_lives_on_is_ended() {
    let failure = Fake::failure(&[&ready(), "exec 1>&-; exec 0<&-; sleep 60"], PATIENCE);
    assert_eq!(failure.code, "worker-protocol", "{failure:?}");
}

#[test]
fn a_fetch_that_is_dropped_leaves_no_process_and_nothing_that_it_started() {
    let fake = Fake::new(&[&ready(), &unchanged(), "sleep 600 & echo $! > ${0}.child; wait"]);
    let fetching = fake.fetch(PATIENCE).expect("found");
    assert_eq!(*fetching.found(), Found::Unchanged);
    let child = fake.dir.path().join("fake.child");
    let deadline = Instant::now() + PATIENCE;
    let child = loop {
        match std::fs::read_to_string(&child).ok().filter(|text| text.ends_with('\n')) {
            Some(pid) => break pid,
            None => assert!(Instant::now() < deadline, "it starts nothing"),
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    drop(fetching);
    fake.is_gone();
    let is_there = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let deadline = Instant::now() + PATIENCE;
    while is_there() {
        assert!(Instant::now() < deadline, "what it started lives on");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn not_one_byte_more_than_the_signed_size_is_taken() {
    let artifact = says(8, r#"{"artifact":{"revision":null,"manifest":2,"signature":2}}"#);
    let (body, piece) = (says(4, "abcd"), says(4, "wasm"));
    let done = format!("{}; sleep 60", says(5, ""));
    for (size, code) in [(8, None), (7, Some("wrong-size")), (9, Some("wrong-size"))] {
        let fake = Fake::new(&[&ready(), &artifact, &body, &piece, &piece, &done]);
        let fetching = fake.fetch(PATIENCE).expect("found");
        let found = Found::Artifact { revision: None, manifest: b"ab".to_vec(), signature: b"cd".to_vec() };
        assert_eq!(*fetching.found(), found);
        let mut taken = Vec::new();
        let result = fetching.wasm(&WasmWanted { file: "it.wasm".to_owned(), size }, &mut taken);
        assert_eq!(result.err().map(|failure| failure.code).as_deref(), code);
        assert!(taken.len() as u64 <= size);
        fake.is_gone();
    }
}

#[test]
fn t25_a_worker_sees_nothing_of_the_hosts_environment() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() || std::env::var_os("PATH").is_some(), "nothing to hide");
    let fake = Fake::new(&[
        "tr '\\0' '\\n' < /proc/$$/environ > ${0}.env",
        "pwd > ${0}.pwd",
        &ready(),
        &unchanged(),
        "sleep 60",
    ]);
    drop(fake.fetch(PATIENCE).expect("found"));
    let environment = std::fs::read_to_string(fake.dir.path().join("fake.env")).expect("written");
    let mut names: Vec<&str> =
        environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["MALLOC_ARENA_MAX", "RAYON_NUM_THREADS"]);
    assert_eq!(std::fs::read_to_string(fake.dir.path().join("fake.pwd")).expect("written"), "/\n");
}

#[test]
fn a_program_that_is_not_there_or_compiles_for_another_version_is_named() {
    let missing = Workers::Exe(PathBuf::from("/nowhere/airssys-wasm"));
    let refusal = refused(&missing, &idle("1"), &CompileLimits::default());
    assert_eq!(refusal.code, "worker-failed");
    assert!(refusal.hint.is_some_and(|hint| hint.contains("/nowhere/airssys-wasm")));
    let fake = Fake::new(&[&ready(), "sleep 60"]);
    let other = Workers::Exe(fake.dir.path().join("fake"));
    let refusal = refused(&other, &idle("1"), &CompileLimits::default());
    assert_eq!(refusal.code, "worker-other-version");
    fake.is_gone();
}

#[test]
fn a_host_that_is_killed_takes_its_workers_along() {
    if !is_linux("a process that ends with its parent") {
        return;
    }
    let world = World::new();
    let bomb = bombs::many_functions();
    world.publish("bomb", &Release { package: "test:idle", version: "1.0.0", sequence: 1, more: "", wasm: &bomb });
    world.desire("bomb", "test:idle", "bomb", "");
    let mut host = world.run();
    host.wait_for(&["bomb", "compiling"]);
    let is_worker = |pid: &Path| {
        let command = std::fs::read(pid.join("cmdline")).unwrap_or_default();
        let status = std::fs::read_to_string(pid.join("status")).unwrap_or_default();
        command.ends_with(b"\0worker\0") && status.contains(&format!("PPid:\t{}\n", host.pid()))
    };
    let deadline = Instant::now() + PATIENCE;
    let worker = loop {
        let mut all = std::fs::read_dir("/proc").expect("listed").filter_map(|entry| Some(entry.ok()?.path()));
        match all.find(|path| is_worker(path)) {
            Some(path) => break path,
            None => assert!(Instant::now() < deadline, "no worker:\n{}", host.told()),
        }
    };
    host.kill();
    let lives = || std::fs::read_to_string(worker.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(10);
    while lives() {
        assert!(Instant::now() < deadline, "the worker lives on");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn status_says_where_fetching_and_compiling_happen() {
    let world = World::new();
    let mut host = world.run();
    host.wait_for(&["converged"]);
    let text = stdout(&world.output(&["status"]));
    assert!(text.contains("workers: processes of their own"), "{text}");
    assert!(host.stop().success());
}
