//! Measures the reconciler and the actors against bare floors: how much they add to the least that the system can do.
//!
//! Asserts nothing about time: machines differ and are busy. It ends with an error only when something
//! is broken. Each ratio is of two things that took turns in this one run.
//!
//! `cargo bench` runs all rows, `cargo bench -- pass plan` only those. Under `AIRSSYS_BENCH_SCALE=tiny` the newer rows
//! (`change`, `syncs`, `storage`, `many`) take a hundredth, to see that they work: their ratios mean nothing then.

mod change;
mod checks;
mod cold;
mod install;
mod many;
mod memory;
mod messages;
mod nats;
mod pass;
mod plan;
mod runaway;
mod start;
mod storage;
mod syncs;
mod table;
mod world;

use table::Table;

/// A group of rows and what it is called on the command line.
type Rows = (&'static str, fn(&mut Table) -> anyhow::Result<()>);

const ROWS: [Rows; 13] = [
    ("pass", pass::measure),
    ("change", change::measure),
    ("plan", plan::measure),
    ("start", start::measure),
    ("cold", cold::measure),
    ("install", install::measure),
    ("syncs", syncs::measure),
    ("messages", messages::measure),
    ("checks", checks::measure),
    ("runaway", runaway::measure),
    ("memory", memory::measure),
    ("many", many::measure),
    ("storage", storage::measure),
];

fn main() -> anyhow::Result<()> {
    // Cargo adds options of its own; what is no option chooses rows.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut table = Table::default();
    for (name, measure) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == name) {
            eprintln!("measuring: {name}");
            measure(&mut table)?;
        }
    }
    print!("{table}");
    Ok(())
}
