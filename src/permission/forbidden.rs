//! Owns what no component may do, whoever asks, grants and signs.
//!
//! A pattern that reaches into the forbidden is refused as a whole: narrowing it silently would leave an
//! operator with a permission that nobody wrote.

use super::entry::Entry;
use super::pattern::Tree;

/// Never written to: what decides who may log in, what boots, and what is the kernel's.
const NEVER_WRITTEN: [&str; 7] = ["/etc/passwd", "/etc/shadow", "/etc/sudoers", "/boot", "/sys", "/proc", "/dev"];
/// Never read: secrets of the machine. A `*` stands for any name, or for the rest of one.
const NEVER_READ: [&str; 3] = ["/etc/shadow", "/root/.ssh", "/home/*/.ssh/id_*"];
/// Never listened on: ports that clients trust to be the machine's own services.
const NEVER_LISTENED_ON: [u16; 3] = [22, 3306, 5432];
/// Never connected to: names below this domain.
const NEVER_CONNECTED_TO: &str = "internal.secret";
/// The port of this machine that is never connected to: its remote login.
const NEVER_CONNECTED_PORT_HERE: u16 = 22;

/// Why `entry` can't be given to any component; `None` when it can.
pub fn why_forbidden(entry: &Entry) -> Option<String> {
    match entry {
        Entry::FsRead(tree) => unreadable(tree),
        Entry::FsWrite(tree) => {
            let path = NEVER_WRITTEN.iter().find(|path| reaches(tree, path));
            path.map(|path| format!("no component may write to {path}")).or_else(|| unreadable(tree))
        }
        Entry::NetConnect(connect) if connect.may_be_below(NEVER_CONNECTED_TO) => {
            Some(format!("no component may connect to *.{NEVER_CONNECTED_TO}"))
        }
        Entry::NetConnect(connect) if connect.may_be_this_machine() && connect.has_port(NEVER_CONNECTED_PORT_HERE) => {
            Some(format!("no component may connect to port {NEVER_CONNECTED_PORT_HERE} of this machine"))
        }
        Entry::NetListen(listen) if NEVER_LISTENED_ON.contains(&listen.port()) => {
            Some(format!("no component may listen on port {}", listen.port()))
        }
        _ => None,
    }
}

fn unreadable(tree: &Tree) -> Option<String> {
    let path = NEVER_READ.iter().find(|path| reaches(tree, path))?;
    Some(format!("no component may read {path}"))
}

/// Whether anything at or below `path` is in the tree.
fn reaches(tree: &Tree, path: &str) -> bool {
    // Either the tree's directory leads to the path, or it lies at or below it: in both cases the names
    // that both have agree.
    tree.segments().zip(path.split('/').skip(1)).all(|(own, pattern)| match pattern.strip_suffix('*') {
        Some(start) => own.starts_with(start),
        None => own == pattern,
    })
}
