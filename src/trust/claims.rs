//! Owns which publisher of a policy claims which packages, and whether two claims are equally close to some package.

use std::collections::BTreeMap;

use super::name_pattern::NamePattern;

/// Which publisher was the first to claim a pattern.
#[derive(Default)]
pub(super) struct Claims {
    owners: BTreeMap<NamePattern, String>,
    /// The first patterns like `acme:*`, and the first ones like `*:name`. Every one of one kind ties with every one of the
    /// other, and a policy may hold tens of thousands: they are not gone through.
    with_namespace: Firsts,
    with_name: Firsts,
}

/// Of some patterns the first one, and the first one of another publisher.
#[derive(Default)]
struct Firsts {
    first: Option<(NamePattern, String)>,
    of_another: Option<(NamePattern, String)>,
}

impl Claims {
    /// A pattern of another publisher that is equally close to some package.
    pub(super) fn conflict(&self, pattern: &NamePattern, publisher: &str) -> Option<(&NamePattern, &String)> {
        let equal = self.owners.get_key_value(pattern).filter(|(_, owner)| *owner != publisher);
        // With no part or all parts named, only equal patterns overlap.
        match (pattern.specificity(), pattern.names_namespace()) {
            (1, true) => self.with_name.of_another_than(publisher).or(equal),
            (1, false) => equal.or_else(|| self.with_namespace.of_another_than(publisher)),
            _ => equal,
        }
    }

    /// Remembers a claim; the first one of a pattern stays.
    pub(super) fn add(&mut self, pattern: &NamePattern, publisher: &str) {
        if self.owners.contains_key(pattern) {
            return;
        }
        self.owners.insert(pattern.clone(), publisher.to_owned());
        match (pattern.specificity(), pattern.names_namespace()) {
            (1, true) => self.with_namespace.add(pattern, publisher),
            (1, false) => self.with_name.add(pattern, publisher),
            _ => {}
        }
    }
}

impl Firsts {
    fn of_another_than(&self, publisher: &str) -> Option<(&NamePattern, &String)> {
        let found = [&self.first, &self.of_another].into_iter().flatten().find(|(_, owner)| owner != publisher);
        found.map(|(pattern, owner)| (pattern, owner))
    }

    fn add(&mut self, pattern: &NamePattern, publisher: &str) {
        let comes_before = |of: &Option<(NamePattern, String)>| of.as_ref().is_none_or(|(first, _)| pattern < first);
        let is_of_first = self.first.as_ref().is_some_and(|(_, owner)| owner == publisher);
        let new = Some((pattern.clone(), publisher.to_owned()));
        if comes_before(&self.first) {
            let before = std::mem::replace(&mut self.first, new);
            if !is_of_first {
                self.of_another = before;
            }
        } else if !is_of_first && comes_before(&self.of_another) {
            self.of_another = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `conflict` must find, by going through all claims.
    fn slow_conflict<'c>(
        claims: &'c [(NamePattern, String)],
        pattern: &NamePattern,
        publisher: &str,
    ) -> Option<&'c (NamePattern, String)> {
        let ties = |(other, owner): &&(NamePattern, String)| {
            owner != publisher && other.specificity() == pattern.specificity() && other.overlaps(pattern)
        };
        claims.iter().filter(ties).min()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(200)))]

        #[test]
        fn a_tie_is_found_as_if_every_claim_had_been_looked_at(
            list in prop::collection::vec(("[ab*]:[ab*]", "[pqr]"), 1..30)
        ) {
            let (mut claims, mut all) = (Claims::default(), Vec::<(NamePattern, String)>::new());
            for (pattern, publisher) in &list {
                let pattern: NamePattern = pattern.parse().unwrap();
                let found = claims.conflict(&pattern, publisher).map(|(pattern, owner)| (pattern.clone(), owner.clone()));
                prop_assert_eq!(found.as_ref(), slow_conflict(&all, &pattern, publisher));
                claims.add(&pattern, publisher);
                if all.iter().all(|(claimed, _)| *claimed != pattern) {
                    all.push((pattern, publisher.clone()));
                }
            }
        }
    }
}
