//! Owns scans: one page of what a call sees, its own writes over what is committed.

use std::iter::Peekable;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::backend::Space;
use super::error::StorageError;
use super::keys::{behind, check_prefix, full, split};
use super::transaction::Transaction;
use super::{MAX_PAGE_BYTES, MAX_PAGE_KEYS};

/// One page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, in the order of the keys' bytes; empty values when only keys were asked for.
    pub entries: Vec<(String, Arc<[u8]>)>,
    /// The key after which the next page begins; `None` when this was the last one.
    pub next: Option<String>,
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOf {
    /// Keys alone.
    Keys,
    /// Keys and values.
    Entries,
}

impl Transaction {
    /// The next keys that begin with `prefix`, behind `after`: at most `limit`, at most a page.
    pub fn page(&mut self, of: PageOf, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, StorageError> {
        self.read(1)?;
        check_prefix(prefix)?;
        after.map_or(Ok(()), super::check_key)?;
        let most = (limit as usize).clamp(1, MAX_PAGE_KEYS);
        let mut filling = Filling { of, most, bytes: 0, page: Page { entries: Vec::new(), next: None } };
        let mut scanned = Ok(());
        {
            let mut own = self.overlay.range(prefix, after).peekable();
            let mut flow = ControlFlow::Continue(());
            if !self.overlay.hides_the_store() {
                let start = full(self.id, prefix.as_bytes());
                let from = match after {
                    // The smallest key that is behind `after`.
                    Some(after) if after >= prefix => full(self.id, &[after.as_bytes(), b"\0"].concat()),
                    _ => start.clone(),
                };
                scanned = self.store.room.scan(Space::Data, &from, &behind(&start), &mut |key, value| {
                    let Some(key) = split(key).and_then(|(_, key)| std::str::from_utf8(key).ok()) else {
                        return ControlFlow::Continue(());
                    };
                    flow = match filling.own_until(&mut own, key) {
                        ControlFlow::Continue(true) => ControlFlow::Continue(()),
                        ControlFlow::Continue(false) => filling.add(key, value),
                        ControlFlow::Break(()) => ControlFlow::Break(()),
                    };
                    flow
                });
            }
            if flow.is_continue() && scanned.is_ok() {
                let _ = own.try_for_each(|(key, written)| filling.add_written(key, written.as_deref()));
            }
        }
        self.noting(scanned)?;
        // The first was counted above.
        self.read_more(filling.page.entries.len().saturating_sub(1))?;
        Ok(filling.page)
    }

    fn read_more(&mut self, operations: usize) -> Result<(), StorageError> {
        if operations == 0 { Ok(()) } else { self.read(operations) }
    }
}

struct Filling {
    of: PageOf,
    most: usize,
    bytes: usize,
    page: Page,
}

impl Filling {
    /// Adds the call's own writes before `key`. Says whether `key` itself was written, which settles it.
    fn own_until<'o>(
        &mut self,
        own: &mut Peekable<impl Iterator<Item = (&'o str, &'o Option<Arc<[u8]>>)>>,
        key: &str,
    ) -> ControlFlow<(), bool> {
        while let Some((written_key, written)) = own.next_if(|(written_key, _)| *written_key <= key) {
            self.add_written(written_key, written.as_deref())?;
            if written_key == key {
                return ControlFlow::Continue(true);
            }
        }
        ControlFlow::Continue(false)
    }

    fn add_written(&mut self, key: &str, written: Option<&[u8]>) -> ControlFlow<()> {
        written.map_or(ControlFlow::Continue(()), |value| self.add(key, value))
    }

    /// Takes one more entry, or ends the page before it.
    fn add(&mut self, key: &str, value: &[u8]) -> ControlFlow<()> {
        let value = if self.of == PageOf::Entries { value } else { &[] };
        let bytes = self.bytes + key.len() + value.len();
        let entries = &mut self.page.entries;
        if let Some((last, _)) = entries.last()
            && (entries.len() >= self.most || bytes > MAX_PAGE_BYTES)
        {
            self.page.next = Some(last.clone());
            return ControlFlow::Break(());
        }
        self.bytes = bytes;
        entries.push((key.to_owned(), Arc::from(value)));
        ControlFlow::Continue(())
    }
}
