//! How many cases run, which tools are needed, and where randomness comes from.

/// `everyday` cases, or ten times as many under `AIRSSYS_TEST_SCALE=full`.
pub fn cases(everyday: u64) -> u64 {
    match std::env::var("AIRSSYS_TEST_SCALE").as_deref() {
        Ok("full") => everyday * 10,
        _ => everyday,
    }
}

/// Whether a tool is there. Says "not run" without it, and fails in CI, where it must be.
pub fn needs_tool(tool: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    if path.split(':').any(|dir| std::path::Path::new(dir).join(tool).is_file()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "this test needs {tool}, and CI must have it");
    println!("not run: needs {tool}");
    false
}

/// A seed from `AIRSSYS_TEST_SEED` or from the clock, printed.
pub fn seed(what: &str) -> u64 {
    let given = std::env::var("AIRSSYS_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let clock =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64);
    let seed = given.unwrap_or_else(clock);
    println!("{what}: AIRSSYS_TEST_SEED={seed}");
    seed
}

/// A small generator (SplitMix64): reproducible, and good enough to pick times and places.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
