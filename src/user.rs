//! Says who a user number is, for records that people read later.
//!
//! Reads the system's list of users; a name from elsewhere is not looked up, and the number stays.

use std::io::Read as _;

use crate::escape::escape;
use crate::plan::approval::Operator;

/// Longest list of users that is read, in bytes.
const MAX_LIST_BYTES: u64 = 4 << 20;
/// Longest name, in characters; the rest is cut off.
const MAX_NAME_CHARS: usize = 64;

/// The user with this number.
pub fn operator(uid: u32) -> Operator {
    let mut list = Vec::new();
    let read = std::fs::File::open("/etc/passwd").and_then(|file| file.take(MAX_LIST_BYTES).read_to_end(&mut list));
    let user = read.ok().and_then(|_| name_in(&String::from_utf8_lossy(&list), uid));
    Operator { uid, user: user.unwrap_or_else(|| format!("uid-{uid}")) }
}

/// The user that this process runs as.
pub fn own() -> Operator {
    operator(rustix::process::geteuid().as_raw())
}

fn name_in(list: &str, uid: u32) -> Option<String> {
    let mut users = list.lines().map(|line| line.split(':'));
    users.find_map(|mut fields| {
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        // A space would end the name where it is read back.
        let shown: String = escape(name).chars().filter(|c| !c.is_whitespace()).take(MAX_NAME_CHARS).collect();
        (number == uid && !shown.is_empty()).then_some(shown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_first_name_that_the_list_gives_it() {
        let list = "root:x:0:0:root:/root:/bin/sh\n# no user\n\na b\u{1b}:x:7:7::/:\ntoor:x:0:0::/:\n:x:9:9::/:\n";
        assert_eq!(name_in(list, 0).as_deref(), Some("root"));
        assert_eq!(name_in(list, 7).as_deref(), Some("ab\\u{1b}"));
        assert_eq!((name_in(list, 8), name_in(list, 9)), (None, None));
    }
}
