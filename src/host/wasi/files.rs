//! Owns `wasi:filesystem/types`: files in the directory trees that a guest was granted.
//!
//! No path leaves its tree; `wasmtime-wasi` sees to that, and to what may be written. Here is counted what is open, what is
//! no file is kept closed (opening a pipe would wait for its other end, and a device is nobody's data), and what is not
//! permitted is told.

use std::os::fd::AsRawFd as _;
use std::path::{Component, Path};

use rustix::fs::Dir as Names;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::filesystem::{Descriptor as Opened, WasiFilesystemCtxView, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, Filesize, Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::p2::bindings::sync::io::streams::{Error, InputStream, OutputStream};
use wasmtime_wasi::p2::{FsError, FsResult};

use super::super::Guest;
use super::super::outside::{MAX_LISTED_NAMES, MAX_OPEN_FILES, MAX_OPEN_LISTS, Open};

/// Bytes that one read may ask for; the answer may be shorter anyway.
const MAX_READ_BYTES: u64 = 64 * 1024;

/// Offers the files of this module.
pub(super) struct Files;

impl HasData for Files {
    type Data<'a> = View<'a>;
}

/// The files of one guest.
pub(super) struct View<'a>(&'a mut Guest);

pub(super) fn view(guest: &mut Guest) -> View<'_> {
    View(guest)
}

impl View<'_> {
    fn files(&mut self) -> WasiFilesystemCtxView<'_> {
        self.0.filesystem()
    }

    fn open(&mut self) -> Option<&mut Open> {
        self.0.outside.as_mut().map(|outside| &mut outside.open)
    }

    /// Notes the directory that it needs for a path below an open one, where that is observed.
    fn needs(&mut self, permission: &'static str, of: u32, path: Option<&str>) {
        if !self.0.outbox.observes() {
            return;
        }
        let Ok(open) = self.files().table.get(&Resource::<Descriptor>::new_borrow(of)) else { return };
        let Some(directory) = directory_of(open, path) else { return };
        self.0.outbox.needs(&|| format!("{permission} {}/**", directory.trim_end_matches('/')).parse().ok());
    }

    /// Tells what was not permitted.
    fn noting<T>(&mut self, permission: &'static str, what: &str, result: FsResult<T>) -> FsResult<T> {
        if let Err(error) = &result
            && matches!(
                error.downcast_ref(),
                Some(wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode::NotPermitted)
            )
        {
            self.0.outbox.denied(permission, what);
        }
        result
    }

    /// What can be opened is a file or a directory; a name that is not there yet becomes a file.
    fn check_kind(&mut self, at: u32, flags: PathFlags, path: &str) -> FsResult<()> {
        let found = self.files().stat_at(Resource::new_borrow(at), flags, path.to_owned());
        match found.map(|found| found.type_) {
            Ok(DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink) | Err(_) => {
                Ok(())
            }
            Ok(_) => Err(not_permitted()),
        }
    }

    /// Whether a directory has no more names than may be listed.
    fn check_size(&mut self, of: u32) -> FsResult<()> {
        let Opened::Dir(directory) = self.files().table.get(&Resource::<Descriptor>::new_borrow(of))? else {
            return Ok(());
        };
        let names = Names::read_from(&*directory.dir).map_err(std::io::Error::from)?;
        if names.take(MAX_LISTED_NAMES + 1).count() > MAX_LISTED_NAMES {
            return Err(wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode::InsufficientMemory.into());
        }
        Ok(())
    }
}

/// Where the directory lies that a path leads to from an open one; of an open file the one in which it is. None where that
/// can't be told.
fn directory_of(open: &Opened, path: Option<&str>) -> Option<String> {
    let place = |file: &std::fs::File| std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
    let (mut place, path) = match open {
        Opened::Dir(directory) => (place(&directory.dir)?, path.unwrap_or_default()),
        Opened::File(file) => (place(&file.file)?.parent()?.to_owned(), ""),
    };
    // The last name is the file's.
    for name in Path::new(path).parent().into_iter().flat_map(Path::components) {
        match name {
            Component::Normal(name) => place.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    place.into_os_string().into_string().ok()
}

fn not_permitted() -> FsError {
    wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode::NotPermitted.into()
}

fn too_many() -> FsError {
    wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode::InsufficientMemory.into()
}

impl Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.files().convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.files().filesystem_error_code(error)
    }
}

/// Passed on as it is, and told where it is not permitted: `name(descriptor, arguments…) -> result, permission, what`.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, $permission:literal, $what:expr;)+) => {$(
        fn $name(&mut self, fd: Resource<Descriptor>, $($argument: $type),*) -> FsResult<$result> {
            let what: String = $what;
            self.needs($permission, fd.rep(), (what != A_FILE).then_some(&*what));
            let result = self.files().$name(fd, $($argument),*);
            self.noting($permission, &what, result)
        }
    )+};
}

const A_FILE: &str = "an open file";

impl HostDescriptor for View<'_> {
    pass_on! {
        advise(offset: Filesize, len: Filesize, advice: Advice) -> (), "fs.read", A_FILE.into();
        sync_data() -> (), "fs.write", A_FILE.into();
        sync() -> (), "fs.write", A_FILE.into();
        get_flags() -> DescriptorFlags, "fs.read", A_FILE.into();
        get_type() -> DescriptorType, "fs.read", A_FILE.into();
        set_size(size: Filesize) -> (), "fs.write", A_FILE.into();
        set_times(accessed: NewTimestamp, modified: NewTimestamp) -> (), "fs.write", A_FILE.into();
        write(bytes: Vec<u8>, offset: Filesize) -> Filesize, "fs.write", A_FILE.into();
        create_directory_at(path: String) -> (), "fs.write", path.clone();
        stat() -> DescriptorStat, "fs.read", A_FILE.into();
        stat_at(flags: PathFlags, path: String) -> DescriptorStat, "fs.read", path.clone();
        set_times_at(flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp) -> (), "fs.write",
            path.clone();
        link_at(flags: PathFlags, old: String, to: Resource<Descriptor>, new: String) -> (), "fs.write", old.clone();
        readlink_at(path: String) -> String, "fs.read", path.clone();
        remove_directory_at(path: String) -> (), "fs.write", path.clone();
        rename_at(old: String, to: Resource<Descriptor>, new: String) -> (), "fs.write", old.clone();
        symlink_at(target: String, path: String) -> (), "fs.write", path.clone();
        unlink_file_at(path: String) -> (), "fs.write", path.clone();
        read_via_stream(offset: Filesize) -> Resource<InputStream>, "fs.read", A_FILE.into();
        write_via_stream(offset: Filesize) -> Resource<OutputStream>, "fs.write", A_FILE.into();
        append_via_stream() -> Resource<OutputStream>, "fs.write", A_FILE.into();
        metadata_hash() -> MetadataHashValue, "fs.read", A_FILE.into();
        metadata_hash_at(flags: PathFlags, path: String) -> MetadataHashValue, "fs.read", path.clone();
    }

    fn read(&mut self, fd: Resource<Descriptor>, len: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)> {
        self.needs("fs.read", fd.rep(), None);
        let read = self.files().read(fd, len.min(MAX_READ_BYTES), offset);
        self.noting("fs.read", A_FILE, read)
    }

    fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        if self.open().is_none_or(|open| open.files.len() >= MAX_OPEN_FILES) {
            return Err(too_many());
        }
        let writes = flags.contains(DescriptorFlags::WRITE) || open_flags.contains(OpenFlags::CREATE);
        let permission = if writes { "fs.write" } else { "fs.read" };
        self.needs(permission, fd.rep(), Some(&path));
        let opened = match self.check_kind(fd.rep(), path_flags, &path) {
            Ok(()) => self.files().open_at(fd, path_flags, path.clone(), open_flags, flags),
            Err(error) => Err(error),
        };
        if let (Ok(opened), Some(open)) = (&opened, self.open()) {
            open.files.insert(opened.rep());
        }
        self.noting(permission, &path, opened)
    }

    fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DirectoryEntryStream>> {
        if self.open().is_none_or(|open| open.lists.len() >= MAX_OPEN_LISTS) {
            return Err(too_many());
        }
        self.needs("fs.read", fd.rep(), None);
        self.check_size(fd.rep())?;
        let listed = self.files().read_directory(fd)?;
        if let Some(open) = self.open() {
            open.lists.insert(listed.rep());
        }
        Ok(listed)
    }

    fn is_same_object(&mut self, one: Resource<Descriptor>, other: Resource<Descriptor>) -> wasmtime::Result<bool> {
        self.files().is_same_object(one, other)
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        // The trees that it was granted are not counted, however often they are asked for and dropped.
        if let Some(open) = self.open() {
            open.files.remove(&fd.rep());
        }
        HostDescriptor::drop(&mut self.files(), fd)
    }
}

impl HostDirectoryEntryStream for View<'_> {
    fn read_directory_entry(&mut self, list: Resource<DirectoryEntryStream>) -> FsResult<Option<DirectoryEntry>> {
        self.files().read_directory_entry(list)
    }

    fn drop(&mut self, list: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        if let Some(open) = self.open() {
            open.lists.remove(&list.rep());
        }
        HostDirectoryEntryStream::drop(&mut self.files(), list)
    }
}
