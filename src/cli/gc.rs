//! `gc`: removes what no kept generation needs. A running host does it itself when it is asked.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;

use super::Global;
use super::control::{ask_raw, failure as refused};
use super::exit::Failure;
use super::output;
use crate::control::client::AskError;
use crate::control::documents::GcDocument;
use crate::quantity::ByteSize;
use crate::reconcile::unix_now_s;
use crate::remote::names;
use crate::state::{Keep, Options, Reader, SourcesInUse, Store};
use crate::status::collected::Collected;

/// Options of `gc`.
#[derive(Args)]
pub struct GcArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Removes old generations, objects and compiled code that only they need, and what is left of unused sources.
pub(crate) fn gc(global: &Global, args: GcArgs) -> Result<ExitCode, Failure> {
    let report = match ask_raw(global, async |client| client.gc(args.dry_run).await)? {
        Err(AskError::NoHost) => GcDocument::new(args.dry_run, collect(global, args.dry_run)?),
        answered => answered.map_err(refused)?,
    };
    output::print(global.output, &report, || text(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// Without a host nobody knows what the desired files name: sources that nothing committed uses go by their age.
fn collect(global: &Global, dry_run: bool) -> Result<Collected, Failure> {
    let home = global.home()?;
    let settings = global.config()?.state;
    let snapshot = Reader::new(&home).snapshot().map_err(|error| Failure::state(&error))?;
    // A home that no host ever used stays as it is.
    if snapshot.digest.is_none() {
        return Ok(Collected::default());
    }
    let options = Options::with(unix_now_s().unsigned_abs(), &settings);
    let opened = Store::open(&home, options).map_err(|error| Failure::state(&error))?;
    let keep = Keep::with(SystemTime::now(), &settings);
    let names = names::of_sources(opened.snapshot.records.values().map(|record| &record.spec.source));
    let keep = Keep { removes: !dry_run, sources: SourcesInUse { names, ..keep.sources }, ..keep };
    opened.store.collect(keep).wait().map_err(|error| Failure::state(&error))
}

fn text(report: &GcDocument) -> String {
    let Collected { generations, generation_bytes, objects, object_bytes, cache_entries, cache_bytes, .. } =
        report.collected;
    let Collected { sources, mirrors, mirror_bytes, scratch_bytes, .. } = report.collected;
    let (done, freed) = if report.dry_run { ("would remove", "would free") } else { ("removed", "freed") };
    let mut text = format!(
        "{done}  {generations} generations ({}), {objects} objects ({}), {cache_entries} entries of the code cache ({})\n",
        ByteSize(generation_bytes),
        ByteSize(object_bytes),
        ByteSize(cache_bytes),
    );
    if sources + mirrors + scratch_bytes > 0 {
        text += &format!(
            "{done}  {sources} unused sources and {mirrors} mirrors ({}), unfinished writes ({})\n",
            ByteSize(mirror_bytes),
            ByteSize(scratch_bytes)
        );
    }
    text + &format!("{freed}  {}\n", ByteSize(report.freed_bytes))
}
