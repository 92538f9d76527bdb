//! Decides whether a release may follow what this host has accepted before: the defence against rollback.
//!
//! The two numbers of a package are kept by the state; nothing is remembered here.

use crate::name::PackageName;
use crate::resolution::Refusal;

/// Checks a release's sequence against the package's two numbers, 0 where there is none.
///
/// `high` is the highest sequence that was accepted; below it a release goes only when `may_go_back`, that is
/// when the desired file pins exactly its version, or a rollback on this host names it. `floor` was set by a
/// revocation; below it nothing goes.
pub fn check_sequence(
    package: &PackageName,
    sequence: u64,
    high: u64,
    floor: u64,
    may_go_back: bool,
) -> Result<(), Refusal> {
    if sequence < floor {
        let message = format!("{package} has sequence {sequence}, and everything below {floor} was revoked");
        return Err(Refusal::new("below-floor", message).hint("take a newer release; this can't be overridden"));
    }
    if sequence < high && !may_go_back {
        let message = format!("{package} has sequence {sequence}, and this host already accepted {high}");
        return Err(Refusal::new("rollback", message).hint(
            "the source may serve an old release; to go back on purpose, pin it: [require] version = \"=1.2.3\"",
        ));
    }
    Ok(())
}
