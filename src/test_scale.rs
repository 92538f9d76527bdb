//! Owns how many cases the big tests run: one tenth of the full size every day, all of it on request.

/// `everyday` cases, or ten times as many under `AIRSSYS_TEST_SCALE=full`.
pub fn cases(everyday: u32) -> u32 {
    match std::env::var("AIRSSYS_TEST_SCALE").as_deref() {
        Ok("full") => everyday.saturating_mul(10),
        _ => everyday,
    }
}
