//! Counts the threads of this process, of which the system gives a user so many and no more.

/// Threads of this process now; none where the system does not tell.
pub fn threads_in_use() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

/// Most threads that the user of this process may have, those of other processes included; none where there is no limit.
pub fn max_threads() -> Option<u64> {
    let of_user = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    let of_system =
        std::fs::read_to_string("/proc/sys/kernel/threads-max").ok().and_then(|max| max.trim().parse().ok());
    [of_user, of_system].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn threads_are_counted() {
        let held = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| held.wait())));
            let (used, max) = (super::threads_in_use(), super::max_threads());
            assert!(used.is_some_and(|used| used >= 3), "{used:?}");
            assert!(max.is_none_or(|max| max > 0), "{max:?}");
            held.wait();
        });
    }
}
