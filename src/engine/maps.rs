//! Counts the memory maps of this process, of which the kernel gives it so many and no more.

use std::fs::File;
use std::io::Read as _;

/// Maps of this process now; none where the system does not tell. Takes as long as there are maps.
pub fn maps_in_use() -> Option<u64> {
    let mut file = File::open("/proc/self/maps").ok()?;
    let mut buffer = vec![0; 1 << 16];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(lines),
            read => lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}

/// Most maps of one process; none where the system has no such limit.
pub fn max_maps() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn maps_are_counted_one_by_one() {
        let before = maps_in_use().expect("Linux tells");
        // A thread's stack is a map of its own, and its guard another.
        let (held, waits) = std::sync::mpsc::channel::<()>();
        let waits = std::sync::Arc::new(std::sync::Mutex::new(waits));
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let waits = waits.clone();
                std::thread::spawn(move || waits.lock().map(|waits| waits.recv().is_err()).unwrap_or(true))
            })
            .collect();
        let after = maps_in_use().expect("Linux tells");
        assert!(max_maps().is_some_and(|max| max > after), "{after}");
        assert!(after > before, "{before} {after}");
        drop(held);
        threads.into_iter().for_each(|thread| assert!(thread.join().expect("it ends")));
    }
}
