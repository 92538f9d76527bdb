//! Owns races in tests: an attacker changes files while the attacked reads them.
//!
//! Makes both sides advance on a busy machine: a round begins only after another step of the attacker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Runs `attack` again and again on its own thread and `round` as often as said. `attack` calls what it
/// is given after each of its steps.
pub(crate) fn against(attack: impl Fn(&dyn Fn()) + Sync, rounds: u32, mut round: impl FnMut()) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (steps, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                attack(&|| {
                    steps.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        // Dropped before the scope waits for the attacker, also when a round fails.
        let _stop = Stop(&stop);
        let mut seen = 0;
        for _ in 0..rounds {
            while steps.load(Ordering::Relaxed) == seen {
                assert!(!attacker.is_finished(), "the attacker failed");
                std::thread::yield_now();
            }
            seen = steps.load(Ordering::Relaxed);
            round();
        }
    });
}
