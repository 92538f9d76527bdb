//! Groups starts into waves: what is in one wave may start at the same time.
//!
//! Pure. Order inside a wave is the order of the names.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::InstallationName;

/// Waves of names such that each name comes after those of `depends_on` that are in the set.
///
/// Members of a cycle come in a last wave of their own: what was committed once must be startable,
/// and the planner is the one that refuses cycles.
pub fn waves(depends_on: &BTreeMap<InstallationName, BTreeSet<InstallationName>>) -> Vec<Vec<InstallationName>> {
    let mut left: BTreeMap<&InstallationName, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&InstallationName, Vec<&InstallationName>> = BTreeMap::new();
    for (name, needs) in depends_on {
        let inside = needs.iter().filter(|need| depends_on.contains_key(*need));
        left.insert(name, inside.clone().count());
        inside.for_each(|need| dependents.entry(need).or_default().push(name));
    }
    let mut ready: Vec<&InstallationName> = left.iter().filter(|(_, n)| **n == 0).map(|(name, _)| *name).collect();
    let mut waves = Vec::new();
    while !ready.is_empty() {
        let mut next = BTreeSet::new();
        for name in &ready {
            left.remove(name);
            for dependent in dependents.get(name).into_iter().flatten() {
                if let Some(open) = left.get_mut(dependent) {
                    *open -= 1;
                    if *open == 0 {
                        next.insert(*dependent);
                    }
                }
            }
        }
        waves.push(ready.into_iter().cloned().collect());
        ready = next.into_iter().collect();
    }
    if !left.is_empty() {
        waves.push(left.into_keys().cloned().collect());
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(edges: &[(&str, &[&str])]) -> BTreeMap<InstallationName, BTreeSet<InstallationName>> {
        let name = |text: &str| text.parse().expect("a name");
        edges.iter().map(|(n, needs)| (name(n), needs.iter().map(|n| name(n)).collect())).collect()
    }

    fn text(edges: &[(&str, &[&str])]) -> String {
        let waves = waves(&set(edges));
        let join =
            |wave: &Vec<InstallationName>| wave.iter().map(InstallationName::as_str).collect::<Vec<_>>().join(" ");
        waves.iter().map(join).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn dependencies_come_in_earlier_waves() {
        assert_eq!(text(&[("a", &["b"]), ("b", &["c"]), ("c", &[]), ("d", &[]), ("e", &["c", "d"])]), "c d | b e | a");
    }

    #[test]
    fn dependencies_outside_the_set_do_not_count() {
        assert_eq!(text(&[("a", &["elsewhere"])]), "a");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn a_cycle_comes_last_and_loses_nobody() {
        assert_eq!(text(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"]), ("d", &[])]), "d | a b c");
    }
}
