//! Files: a place is `N:path`, the path below the N-th directory that it was granted.

use wasi::filesystem::preopens::get_directories;
use wasi::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

pub fn obey(words: &[&str]) -> Result<String, String> {
    carry_out(words).map_err(|error| error.name().to_owned())
}

fn carry_out(words: &[&str]) -> Result<String, ErrorCode> {
    let done = |()| String::new();
    match *words {
        ["directories"] => {
            let names: Vec<String> = get_directories().into_iter().map(|(_, name)| name).collect();
            Ok(names.join(" "))
        }
        ["read", place] => read(place),
        ["write", place, text] => write(place, text),
        ["list", place] => list(place),
        ["make", place] => at(place, |directory, path| directory.create_directory_at(path)).map(done),
        ["remove", place] => at(place, |directory, path| directory.unlink_file_at(path)).map(done),
        ["remove-directory", place] => at(place, |directory, path| directory.remove_directory_at(path)).map(done),
        ["symlink", target, place] => at(place, |directory, path| directory.symlink_at(target, path)).map(done),
        ["read-link", place] => at(place, |directory, path| directory.readlink_at(path)),
        ["stat", place] => at(place, |directory, path| directory.stat_at(PathFlags::SYMLINK_FOLLOW, path))
            .map(|it| it.size.to_string()),
        ["rename", from, to] => both(from, to, |from, old, to, new| from.rename_at(old, to, new)).map(done),
        ["link", from, to] => {
            both(from, to, |from, old, to, new| from.link_at(PathFlags::empty(), old, to, new)).map(done)
        }
        ["open-many", place, count] => open_many(place, count.parse().expect("a number")),
        ["lists", place, count] => lists(place, count.parse().expect("a number")),
        _ => panic!("no such word: {words:?}"),
    }
}

fn at<T>(place: &str, run: impl FnOnce(&Descriptor, &str) -> Result<T, ErrorCode>) -> Result<T, ErrorCode> {
    let (number, path) = place.split_once(':').expect("N:path");
    let directories = get_directories();
    let number: usize = number.parse().expect("a number");
    let (directory, _) = directories.get(number).ok_or(ErrorCode::NoEntry)?;
    run(directory, path)
}

fn both(
    from: &str,
    to: &str,
    run: impl FnOnce(&Descriptor, &str, &Descriptor, &str) -> Result<(), ErrorCode>,
) -> Result<(), ErrorCode> {
    at(from, |from, old| at(to, |to, new| run(from, old, to, new)))
}

fn open(place: &str, open: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
    at(place, |directory, path| directory.open_at(PathFlags::SYMLINK_FOLLOW, path, open, flags))
}

fn read(place: &str) -> Result<String, ErrorCode> {
    let (bytes, _) = open(place, OpenFlags::empty(), DescriptorFlags::READ)?.read(1 << 16, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(place: &str, text: &str) -> Result<String, ErrorCode> {
    let file = open(place, OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE)?;
    file.write(text.as_bytes(), 0).map(|written| written.to_string())
}

fn list(place: &str) -> Result<String, ErrorCode> {
    let directory = open(place, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
    let entries = directory.read_directory()?;
    let mut names = Vec::new();
    while let Some(entry) = entries.read_directory_entry()? {
        names.push(entry.name);
    }
    names.sort();
    Ok(names.join(" "))
}

fn open_many(place: &str, count: usize) -> Result<String, ErrorCode> {
    let mut open_ones = Vec::new();
    for _ in 0..count {
        // Dropping what was granted makes no room.
        drop(get_directories());
        match open(place, OpenFlags::empty(), DescriptorFlags::READ) {
            Ok(one) => open_ones.push(one),
            Err(error) => return Ok(format!("{} then {}", open_ones.len(), error.name())),
        }
    }
    Ok(open_ones.len().to_string())
}

fn lists(place: &str, count: usize) -> Result<String, ErrorCode> {
    let directory = open(place, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
    let mut open_ones = Vec::new();
    for _ in 0..count {
        match directory.read_directory() {
            Ok(one) => open_ones.push(one),
            Err(error) => return Ok(format!("{} then {}", open_ones.len(), error.name())),
        }
    }
    Ok(open_ones.len().to_string())
}
