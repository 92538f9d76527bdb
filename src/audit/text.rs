//! Writes records as text for people. Whatever came from elsewhere is escaped once more.

use std::fmt::Write as _;

use super::Record;
use super::query::{Audit, Chain};
use crate::escape::{Escaped, escape};
use crate::name::MAX_NAME_PART_BYTES;

/// What `audit` prints.
pub fn audit(audit: &Audit) -> String {
    let mut text = String::new();
    let wide = |of: &dyn Fn(&Record) -> usize| audit.records.iter().map(of).max().unwrap_or(0);
    let kind = wide(&|record| record.kind.as_str().len());
    // In the log of a host, no name is longer; a width has a bound of its own, beyond which formatting panics.
    let name = wide(&|record| shown_name(record).len()).min(MAX_NAME_PART_BYTES);
    for record in &audit.records {
        let (time, installation) = (Escaped(&record.time), shown_name(record));
        let _ = write!(text, "{time}  {:<kind$}  {installation:<name$}  ", record.kind.as_str());
        let _ = writeln!(text, "{}", Escaped(&what(record)));
    }
    let shown = audit.records.len() as u64;
    if audit.matching == 0 {
        text.push_str("no record matches\n");
    } else if shown < audit.matching {
        let _ = writeln!(text, "the newest {shown} of {} that match; -n N shows more", audit.matching);
    }
    text
}

fn shown_name(record: &Record) -> String {
    escape(record.installation.as_deref().unwrap_or("-"))
}

fn what(record: &Record) -> String {
    let mut text = record.what.clone();
    if let Some(accepted) = &record.accepted {
        let signers = accepted.signers.join(", ");
        let _ =
            write!(text, "; {} {} of {}, signed by {signers}", accepted.package, accepted.version, accepted.publisher);
    }
    if let Some(count) = record.count.filter(|_| record.kind != super::Kind::Rotate) {
        let _ = write!(text, "; {count} times");
    }
    record.by.iter().for_each(|by| text.push_str(&format!("; by {by}")));
    let _ = write!(text, "  [generation {}]", record.generation);
    text
}

/// What `audit --verify` prints of the chain.
pub fn chain(chain: &Chain) -> String {
    let mut text = String::new();
    for place in &chain.breaks {
        let _ = writeln!(text, "{}", Escaped(place));
    }
    let more = chain.broken.saturating_sub(chain.breaks.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "and {more} more places");
    }
    match (chain.broken, chain.first) {
        (0, None) => text.push_str("nothing was recorded yet\n"),
        (0, Some(first)) => {
            let _ = writeln!(text, "records {first} to {} are whole; the last one is {}", chain.last, chain.head);
        }
        (broken, _) => {
            let places = if broken == 1 { "place" } else { "places" };
            let _ = writeln!(text, "the log was changed, or part of it is lost: {broken} {places}");
        }
    }
    text
}
