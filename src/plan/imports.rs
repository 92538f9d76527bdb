//! Decides whether this host has what a component imports: without, it could not be started.

use super::action::Reason;
use crate::record::Record;
use crate::surface::{HostSurface, Missing, Unfit};

/// Most interfaces or functions that one list of an objection names.
const MAX_SHOWN: usize = 40;

/// What it imports and this host does not have.
pub(super) fn objection(record: &Record, host: &HostSurface<'_>) -> Option<Reason> {
    let surface = record.surface.as_ref()?;
    let missing = host.missing(surface);
    if !missing.is_empty() {
        return Some(missing_interfaces(&missing, host));
    }
    let unfit = host.unfit(surface);
    let (others, missing): (Vec<&Unfit<'_>>, Vec<&Unfit<'_>>) =
        unfit.iter().partition(|unfit| unfit.signatures.is_some());
    match (missing.is_empty(), others.is_empty()) {
        (false, _) => Some(missing_functions(&missing)),
        (true, false) => Some(other_types(&others)),
        (true, true) => None,
    }
}

fn missing_interfaces(missing: &[Missing], host: &HostSurface<'_>) -> Reason {
    let names = shown(&mut missing.iter().map(|missing| missing.name.clone()));
    let near = missing.iter().filter_map(|missing| Some((&missing.name, missing.near.as_ref()?)));
    let near = near.take(MAX_SHOWN).map(|(name, near)| format!("{name}: there is {near}; did you mean that?"));
    let offered = format!("this host offers: {}", shown(&mut host.offers.iter().map(|name| (*name).to_owned())));
    let hint = near.chain([offered]).collect::<Vec<_>>().join("\n");
    Reason::new("missing-import", format!("it imports what this host does not offer: {names}")).hint(hint)
}

fn missing_functions(missing: &[&Unfit<'_>]) -> Reason {
    let names = shown(&mut missing.iter().map(|unfit| full(unfit)));
    let mut hints: Vec<String> = Vec::new();
    for unfit in missing {
        let there = unfit.there.iter().map(|item| (*item).to_owned());
        let hint = format!("{} has here: {}", unfit.interface, shown(&mut there.into_iter()));
        if !hints.contains(&hint) && hints.len() < MAX_SHOWN {
            hints.push(hint);
        }
    }
    hints.push(NEWER.to_owned());
    Reason::new("missing-import", format!("it imports what this host does not offer: {names}")).hint(hints.join("\n"))
}

fn other_types(others: &[&Unfit<'_>]) -> Reason {
    let names = shown(&mut others.iter().map(|unfit| full(unfit)));
    let both = others.iter().filter_map(|unfit| Some((full(unfit), unfit.signatures.as_ref()?)));
    let both = both.take(MAX_SHOWN).map(|(name, (theirs, here))| format!("{name}: it wants {theirs}; here is {here}"));
    let hint = both.chain([NEWER.to_owned()]).collect::<Vec<_>>().join("\n");
    Reason::new("other-import-type", format!("it imports what is of another type on this host: {names}")).hint(hint)
}

/// What leads on: versions within one line count as one interface, and not all have the same in them.
const NEWER: &str =
    "it was built against another version of that interface: use a release for this host, or another host";

/// Interface and function in one word, as in the changes of an interface.
fn full(unfit: &Unfit<'_>) -> String {
    if unfit.item.is_empty() { unfit.interface.clone() } else { format!("{}#{}", unfit.interface, unfit.item) }
}

fn shown(names: &mut dyn Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(MAX_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.into_iter().take(MAX_SHOWN).collect::<Vec<_>>().join(", "))
}
