//! Owns reading the names in an open directory, to the end or with an error.
//!
//! On Linux the kernel's answer is read as it is: the usual readers take "no such directory" in the
//! middle for the end, and what remained of the list would look complete.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// Bytes of names that are read at a time.
#[cfg(target_os = "linux")]
const BLOCK_BYTES: usize = 64 * 1024;

/// Calls `visit` with each name, `.` and `..` included, until it or the system fails.
#[cfg(target_os = "linux")]
pub(super) fn each<E: From<Errno>>(
    directory: BorrowedFd<'_>,
    mut visit: impl FnMut(&CStr) -> Result<(), E>,
) -> Result<(), E> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut entries = rustix::fs::RawDir::new(directory, block.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => visit(entry.file_name())?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Calls `visit` with each name, `.` and `..` included, until it or the system fails.
#[cfg(not(target_os = "linux"))]
pub(super) fn each<E: From<Errno>>(
    directory: BorrowedFd<'_>,
    mut visit: impl FnMut(&CStr) -> Result<(), E>,
) -> Result<(), E> {
    let mut entries = rustix::fs::Dir::read_from(directory)?;
    while let Some(entry) = entries.read() {
        visit(entry?.file_name())?;
    }
    Ok(())
}
