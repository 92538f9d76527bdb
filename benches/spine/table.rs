//! Owns the table of results and the arithmetic behind it.
//!
//! It measures nothing.

use std::fmt;
use std::time::{Duration, Instant};

/// What was found, with notes on how.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

/// One result.
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How long it took.
    pub measured: String,
    /// The least that it could take, and how long that took in the same run.
    pub floor: String,
    /// What is compared with the target.
    pub result: String,
    /// What it should be.
    pub target: String,
    /// Whether it is.
    pub met: bool,
    /// How it came about.
    pub notes: Vec<String>,
}

/// Times of one thing and of its floor, which took turns.
#[derive(Default)]
pub struct Pairs(Vec<(Duration, Duration)>);

impl Table {
    /// Adds a result.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds the median of the ratios of all pairs.
    pub fn ratio(&mut self, what: &str, floor: &str, pairs: &Pairs, most: f64, mut notes: Vec<String>) {
        let ratio = pairs.ratio();
        notes.insert(0, pairs.spread());
        self.add(Row {
            what: what.to_owned(),
            measured: shown(median(pairs.0.iter().map(|(measured, _)| *measured))),
            floor: format!("{} {floor}", shown(median(pairs.0.iter().map(|(_, floor)| *floor)))),
            result: if ratio < 0.1 { format!("{ratio:.4}x") } else { format!("{ratio:.2}x") },
            target: format!("<= {most}x"),
            met: ratio <= most,
            notes,
        });
    }
}

impl Pairs {
    /// Adds what was measured, and its floor beside it.
    pub fn add(&mut self, measured: Duration, floor: Duration) {
        self.0.push((measured, floor));
    }

    fn ratios(&self) -> Vec<f64> {
        let mut ratios: Vec<f64> = self.0.iter().map(|(measured, floor)| measured.div_duration_f64(*floor)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    fn ratio(&self) -> f64 {
        let ratios = self.ratios();
        ratios[ratios.len() / 2]
    }

    fn spread(&self) -> String {
        let ratios = self.ratios();
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        format!("median of {} pairs; the smallest ratio was {least:.2}, the largest {most:.2}", ratios.len())
    }
}

/// How many of something are measured: all of them, or a few under `AIRSSYS_BENCH_SCALE=tiny`, to see that it works.
pub fn count(full: usize) -> usize {
    if std::env::var("AIRSSYS_BENCH_SCALE").as_deref() == Ok("tiny") { (full / 100).max(10) } else { full }
}

/// Runs `work` and says how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = work();
    (result, begun.elapsed())
}

/// The value below which `percent` of all lie.
pub fn percentile(times: impl IntoIterator<Item = Duration>, percent: usize) -> Duration {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// The one in the middle.
pub fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    percentile(times, 50)
}

/// A time as people read it.
pub fn shown(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 1.0 => format!("{:.0} us", ms * 1e3),
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms => format!("{ms:.1} ms"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |row: &Row| {
            let met = if row.met { "met" } else { "MISSED" };
            [&row.what, &row.measured, &row.floor, &row.result, &row.target]
                .map(Clone::clone)
                .into_iter()
                .chain([met.to_owned()])
                .collect::<Vec<_>>()
        };
        let heads = ["what", "measured", "floor", "result", "target", ""].map(str::to_owned).to_vec();
        let lines: Vec<Vec<String>> = std::iter::once(heads).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        for (place, line) in lines.iter().enumerate() {
            let padded: Vec<String> =
                line.iter().enumerate().map(|(c, cell)| format!("{cell:<0$}", width(c))).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
            for note in place.checked_sub(1).map_or(&[][..], |row| &self.rows[row].notes) {
                writeln!(f, "    {note}")?;
            }
        }
        Ok(())
    }
}
