//! Decides which versions of an interface stand for one another, as the linker of the engine does.

/// Whether the interface `offered` stands for one that is asked for as `wanted`: the same, in the same line of
/// versions.
pub fn satisfies(offered: &str, wanted: &str) -> bool {
    offered == wanted || line(offered) == line(wanted)
}

/// The name of an interface with as much of its version as tells it from others: `a:b/c@0.2` of `a:b/c@0.2.3`.
pub(super) fn line(interface: &str) -> String {
    match interface.split_once('@') {
        Some((name, version)) => match version_line(version) {
            Some((0, Some(minor))) => format!("{name}@0.{minor}"),
            Some((major, _)) => format!("{name}@{major}"),
            None => interface.to_owned(),
        },
        None => interface.to_owned(),
    }
}

/// `1` of 1.2.3, `0.2` of 0.2.3: within a line, names resolve to one another. None of anything else.
fn version_line(version: &str) -> Option<(u64, Option<u64>)> {
    let version = semver::Version::parse(version).ok()?;
    if !version.pre.is_empty() {
        return None;
    }
    match (version.major, version.minor) {
        (0, 0) => None,
        (0, minor) => Some((0, Some(minor))),
        (major, _) => Some((major, None)),
    }
}
