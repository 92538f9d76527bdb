//! Measures how long a desired file takes from its rename into place to its component's first answer.
//!
//! A real host with its real watcher; the component's code is in the cache, and nothing else of it is
//! known. The floor is the sum of the parts that no host can leave out, measured by themselves in between.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use airssys_wasm::name::InstallationName;
use airssys_wasm::reconcile::notice::Notice;
use airssys_wasm::runtime::{COMMIT_INTERVAL_MS, Host, HostHandle};
use airssys_wasm::watch::debounce::BURST_GAP;
use rustix::fs::inotify;

use super::start::{bare, cached_code};
use super::table::{Row, Table, median, percentile, shown};
use super::world::{World, echo, name};

/// Files that are renamed into place; ten times as many under `AIRSSYS_TEST_SCALE=full`.
const COUNT: usize = 40;
/// The most that half of them, and 99 in a hundred, may take.
const MOST: Duration = Duration::from_millis(5);
/// Longest wait for a component.
const PATIENCE: Duration = Duration::from_secs(30);

/// One installation: from the rename to the notice that it was installed, to its answer, and the floor's parts.
struct Sample {
    installed: Duration,
    /// What the host says the pass took until the switch.
    pass: Duration,
    answered: Duration,
    floor: Floor,
}

struct Floor {
    event: Duration,
    durable: Duration,
    load: Duration,
}

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    let count = if std::env::var("AIRSSYS_TEST_SCALE").as_deref() == Ok("full") { 10 * COUNT } else { COUNT };
    let world = World::new()?;
    prepare(&world, count)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (tell, told) = channel();
    let samples = runtime.block_on(async {
        let host = Host::start(world.host("home")?, Arc::new(move |notice: &Notice| forward(&tell, notice))).await?;
        let handle = host.handle();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let running = tokio::spawn(host.run(stopped));
        let samples = tokio::task::spawn_blocking(move || drop_all(&world, count, &handle, &told)).await?;
        let _ = stop.send(true);
        running.await??;
        samples
    })?;
    add(table, &samples);
    Ok(())
}

/// Compiles everything into the cache of one home, and gives the cache to another, where nothing was ever installed.
fn prepare(world: &World, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        world.publish(&world.desired(), &name(number), &echo(&name(number))?)?;
    }
    world.settle();
    anyhow::ensure!(world.apply("compiler")? == count as u64);
    let [from, to] = ["compiler", "home"].map(|home| world.home(home));
    let (from, to) = (from?, to?);
    to.create_for_host()?;
    std::fs::rename(from.state_dir().join("cache"), to.state_dir().join("cache"))?;
    std::fs::rename(from.state_dir().join("cache-key"), to.state_dir().join("cache-key"))?;
    for number in 0..count {
        let file = format!("{}.toml", name(number));
        std::fs::rename(world.desired().join(&file), world.waiting().join(&file))?;
    }
    Ok(())
}

/// An installation that was done, and how long its pass took.
type Done = Result<(InstallationName, Duration), String>;

fn forward(tell: &Sender<Done>, notice: &Notice) {
    let done = match notice {
        Notice::Done { name, took, .. } => Ok((name.clone(), *took)),
        Notice::Failed { .. } | Notice::Problem { .. } | Notice::Held { .. } => Err(notice.to_string()),
        _ => return,
    };
    // Nobody listens any more once all are done.
    let _ = tell.send(done);
}

fn drop_all(world: &World, count: usize, handle: &HostHandle, told: &Receiver<Done>) -> anyhow::Result<Vec<Sample>> {
    let bench = FloorBench::new(world)?;
    (0..count)
        .map(|number| {
            // Past the interval between two commits and the end of the burst: what a person at work meets.
            std::thread::sleep(Duration::from_millis(COMMIT_INTERVAL_MS) + 2 * BURST_GAP);
            let floor = bench.measure(number)?;
            let name = name(number);
            let file = format!("{name}.toml");
            let begun = Instant::now();
            std::fs::rename(world.waiting().join(&file), world.desired().join(&file))?;
            let (installed, pass) = told.recv_timeout(PATIENCE)?.map_err(anyhow::Error::msg)?;
            let noticed = begun.elapsed();
            anyhow::ensure!(installed.as_str() == name);
            let reply = handle.request(&installed, b"hello".to_vec(), PATIENCE);
            let answered = begun.elapsed();
            anyhow::ensure!(matches!(&reply, Ok(Some(reply)) if reply.bytes == b"hello"), "{reply:?}");
            Ok(Sample { installed: noticed, pass, answered, floor })
        })
        .collect()
}

fn add(table: &mut Table, samples: &[Sample]) {
    let answered = |percent| percentile(samples.iter().map(|sample| sample.answered), percent);
    let (half, most) = (answered(50), answered(99));
    let part = |of: fn(&Sample) -> Duration| shown(median(samples.iter().map(of)));
    let floor = median(samples.iter().map(|s| s.floor.event + s.floor.durable + s.floor.load));
    let parts = format!(
        "floor: event {}, durable write {}, deserialize_file + instantiate {}",
        part(|s| s.floor.event),
        part(|s| s.floor.durable),
        part(|s| s.floor.load)
    );
    let own = format!(
        "of it until the pass began {}, the pass up to the switch {}, notice and answer {}",
        part(|s| s.installed.saturating_sub(s.pass)),
        part(|s| s.pass),
        part(|s| s.answered - s.installed)
    );
    for (which, time, notes) in [("p50", half, vec![parts, own]), ("p99", most, Vec::new())] {
        table.add(Row {
            what: format!("rename to first answer, {which} of {}", samples.len()),
            measured: shown(time),
            floor: format!("{} sum of parts", shown(floor)),
            result: format!("{:.1}x", time.div_duration_f64(floor)),
            target: format!("<= {}", shown(MOST)),
            met: time <= MOST,
            notes,
        });
    }
}

/// What the floor is measured with.
struct FloorBench {
    watch: rustix::fd::OwnedFd,
    directory: PathBuf,
    code: Vec<PathBuf>,
}

impl FloorBench {
    fn new(world: &World) -> anyhow::Result<Self> {
        let directory = world.path().join("floor");
        std::fs::create_dir(&directory)?;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, &directory, inotify::WatchFlags::MOVED_TO)?;
        let code = cached_code(&world.home("home")?.state_dir())?;
        Ok(Self { watch, directory, code })
    }

    fn measure(&self, number: usize) -> anyhow::Result<Floor> {
        Ok(Floor { event: self.event()?, durable: self.durable()?, load: bare(&self.code[number..=number])? })
    }

    /// From a rename to its event on another thread.
    fn event(&self) -> anyhow::Result<Duration> {
        let (from, to) = (self.directory.with_extension("new"), self.directory.join("file"));
        std::fs::write(&from, b"x")?;
        let arrived = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| rustix::io::read(&self.watch, &mut [0; 4096]).map(|_| Instant::now()));
            // The other thread must wait already.
            std::thread::sleep(Duration::from_millis(2));
            let begun = Instant::now();
            std::fs::rename(&from, &to)?;
            let arrived = waiting.join().expect("a read does not panic")?;
            anyhow::Ok(arrived.saturating_duration_since(begun))
        })?;
        Ok(arrived)
    }

    /// One file that replaces another durably: written, synced, renamed, its directory synced.
    fn durable(&self) -> anyhow::Result<Duration> {
        let (new, path) = (self.directory.join("new"), self.directory.join("durable"));
        let begun = Instant::now();
        write_durably(&new, &path, &self.directory)?;
        let took = begun.elapsed();
        // Its rename is no event that is waited for.
        rustix::io::read(&self.watch, &mut [0; 4096])?;
        Ok(took)
    }
}

pub(super) fn write_durably(new: &Path, path: &Path, directory: &Path) -> anyhow::Result<()> {
    let mut file = File::create(new)?;
    file.write_all(&[b'x'; 4096])?;
    file.sync_all()?;
    std::fs::rename(new, path)?;
    File::open(directory)?.sync_all()?;
    Ok(())
}
