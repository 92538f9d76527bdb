//! Owns who is at the other end of a connection: the user that the kernel names, and nobody's own word.

use std::io::Read as _;

/// Largest file of users that is looked through, in bytes.
const MAX_PASSWD_BYTES: u64 = 1 << 20;
/// Longest name of a user, in bytes.
const MAX_NAME_BYTES: usize = 32;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The user's number, from the kernel.
    pub uid: u32,
    /// Its name on this machine, or `uid N`.
    pub user: String,
}

impl Asker {
    /// The user with this number.
    pub fn of_uid(uid: u32) -> Self {
        let mut text = String::new();
        let read = std::fs::File::open("/etc/passwd").map(|file| file.take(MAX_PASSWD_BYTES).read_to_string(&mut text));
        let name = read.ok().and_then(|_| name_in(&text, uid));
        Self { uid, user: name.unwrap_or_else(|| format!("uid {uid}")) }
    }
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then_some(name)
    })?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (!name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number_and_a_strange_name_is_not_shown() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad\u{1b}[2J:x:7:7::/:\nshort\nalice.b-1:x:1000:1000::/home/a:\n";
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("alice.b-1"));
        assert_eq!(name_in(passwd, 7), None);
        assert_eq!(name_in(passwd, 5), None);
    }
}
