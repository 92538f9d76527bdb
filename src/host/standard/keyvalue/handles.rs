//! Owns what an instance's handles stand for: how far its listings are, and what its swaps know.
//!
//! Both are bounded, and neither is part of a transaction: a place is where a listing goes on, whatever became of the call.

use std::collections::VecDeque;

use wasmtime::component::ResourceTable;

use super::Store;

/// Listings that an instance can go on with; of older ones the place is forgotten.
const MAX_PLACES: usize = 16;
/// Swaps that an instance may have in preparation.
pub(super) const MAX_SWAPS: usize = 256;

/// What the handles of one instance stand for.
pub(in crate::host) struct Handles {
    pub(super) places: Places,
    pub(super) swaps: ResourceTable,
}

impl Handles {
    /// Those of the instance, made when they are first needed.
    pub(super) fn of<'s>(store: &'s mut Store<'_>) -> &'s mut Self {
        store.data_mut().handles.get_or_insert_with(|| {
            let mut swaps = ResourceTable::new();
            swaps.set_max_capacity(MAX_SWAPS);
            Box::new(Self { places: Places::default(), swaps })
        })
    }
}

/// Keys behind which listings go on, and the numbers that stand for them.
#[derive(Default)]
pub(super) struct Places {
    given: u64,
    known: VecDeque<(u64, String)>,
}

impl Places {
    /// A number for a key.
    pub(super) fn number(&mut self, key: String) -> u64 {
        if self.known.len() >= MAX_PLACES {
            self.known.pop_front();
        }
        self.given += 1;
        self.known.push_back((self.given, key));
        self.given
    }

    /// The key for which a number stands.
    pub(super) fn key(&self, number: u64) -> Option<&str> {
        self.known.iter().find(|(known, _)| *known == number).map(|(_, key)| &**key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_its_key_until_many_more_were_given() {
        let mut places = Places::default();
        let first = places.number("a".to_owned());
        for other in 1..MAX_PLACES {
            assert_ne!(places.number(format!("b{other}")), first);
            assert_eq!(places.key(first), Some("a"));
        }
        let last = places.number("c".to_owned());
        assert_eq!((places.key(first), places.key(last)), (None, Some("c")));
        assert_eq!((places.key(0), places.key(u64::MAX)), (None, None));
    }
}
