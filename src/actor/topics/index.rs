//! Decides whom a topic is for: which subscribers have a pattern that means it.
//!
//! Pure. A pattern means one topic or all that have one word in a pattern's last place, so a topic is looked up twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::permission::Topic;

/// Subscribers by the patterns to which they subscribe.
#[derive(Debug)]
pub(super) struct Index<S>(BTreeMap<Topic, BTreeSet<S>>);

impl<S> Default for Index<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Copy + Ord> Index<S> {
    pub(super) fn add(&mut self, pattern: Topic, subscriber: S) {
        self.0.entry(pattern).or_default().insert(subscriber);
    }

    pub(super) fn remove(&mut self, pattern: &Topic, subscriber: S) {
        let Some(subscribers) = self.0.get_mut(pattern) else { return };
        subscribers.remove(&subscriber);
        if subscribers.is_empty() {
            self.0.remove(pattern);
        }
    }

    /// Everybody for whom the topic is, once each.
    pub(super) fn subscribers(&self, topic: &Topic) -> BTreeSet<S> {
        let patterns = [topic.clone(), topic.with_any_last_word()];
        patterns.iter().filter_map(|pattern| self.0.get(pattern)).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern() -> impl Strategy<Value = Topic> {
        "(a|b|a\\.a|a\\.b|b\\.a|a\\.\\*|b\\.\\*|\\*|a\\.b\\.c|a\\.b\\.\\*)".prop_map(|text| text.parse().unwrap())
    }

    fn topic() -> impl Strategy<Value = Topic> {
        "(a|b|c)(\\.(a|b|c)){0,3}".prop_map(|text| text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn it_finds_whom_a_look_at_every_subscription_finds(
            steps in prop::collection::vec((any::<bool>(), pattern(), 0..4u8), 0..40),
            topics in prop::collection::vec(topic(), 1..8),
        ) {
            let mut index = Index::default();
            let mut model: BTreeSet<(Topic, u8)> = BTreeSet::new();
            for (adds, pattern, subscriber) in steps {
                if adds {
                    index.add(pattern.clone(), subscriber);
                    model.insert((pattern, subscriber));
                } else {
                    index.remove(&pattern, subscriber);
                    model.remove(&(pattern, subscriber));
                }
            }
            for topic in topics {
                let means = model.iter().filter(|(pattern, _)| pattern.covers(&topic));
                let expected: BTreeSet<u8> = means.map(|(_, subscriber)| *subscriber).collect();
                prop_assert_eq!(index.subscribers(&topic), expected);
            }
            for (pattern, subscriber) in &model {
                index.remove(pattern, *subscriber);
            }
            prop_assert!(index.0.is_empty(), "nothing is left behind");
        }
    }
}
