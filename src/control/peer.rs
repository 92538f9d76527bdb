//! Owns who is at the other end of a connection: the user that the kernel names, and nobody's own word.

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The user's number, from the kernel.
    pub uid: u32,
    /// Its name on this machine, or `uid-N`.
    pub user: String,
}

impl Asker {
    /// The user with this number.
    pub fn of_uid(uid: u32) -> Self {
        Self { uid, user: crate::user::operator(uid).user }
    }
}
