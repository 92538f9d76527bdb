//! Knows the file systems on which a change can happen without an event on this machine.
//!
//! Does not decide what follows from that.

use std::path::Path;

/// The name of the file system of `path` when its changes cannot be watched: other machines or a
/// process in between make them.
#[cfg(target_os = "linux")]
pub(super) fn unwatchable(path: &Path) -> Option<&'static str> {
    // The type's width differs between architectures; the numbers are 32 bits wide.
    let magic = rustix::fs::statfs(path).map(|stat| low_32_bits(stat.f_type)).ok()?;
    name(magic)
}

/// Other systems are polled: nothing here was tried with their watchers.
#[cfg(not(target_os = "linux"))]
pub(super) fn unwatchable(_path: &Path) -> Option<&'static str> {
    Some("this system's file system")
}

/// From `linux/magic.h` and the file systems' own sources.
fn name(magic: u32) -> Option<&'static str> {
    let name = match magic {
        0x6969 => "NFS",
        0x517B => "SMB",
        0xFF53_4D42 => "CIFS",
        0xFE53_4D42 => "SMB2",
        0x6573_5546 => "FUSE",
        0x0102_1997 => "9p",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x00C3_6400 => "Ceph",
        0x7375_7245 => "Coda",
        0x564C => "NCP",
        0x7461_636F => "OCFS2",
        0x0116_1970 => "GFS2",
        0x0BD0_0BD0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x1983_0326 => "BeeGFS",
        0x2003_0528 => "OrangeFS",
        0xAAD7_AAEA => "PanFS",
        0x786F_4256 => "vboxsf",
        0xBACB_ACBC => "vmhgfs",
        0x7C7C_6673 => "prl_fs",
        _ => return None,
    };
    Some(name)
}

#[cfg(target_os = "linux")]
fn low_32_bits(n: impl TryInto<i128>) -> u32 {
    let n: i128 = n.try_into().unwrap_or_default();
    u32::try_from(n & i128::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_polled_and_local_ones_are_not() {
        let ext4_tmpfs_btrfs_xfs_overlay = [0xEF53, 0x0102_1994, 0x9123_683E, 0x5846_5342, 0x794C_7630];
        assert_eq!(ext4_tmpfs_btrfs_xfs_overlay.map(name), [None; 5]);
        assert_eq!([0x6969, 0xFF53_4D42, 0x6573_5546].map(name), [Some("NFS"), Some("CIFS"), Some("FUSE")]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_signed_magic_number_is_read_as_its_32_bits() {
        assert_eq!(low_32_bits(-11_317_950_i64), 0xFF53_4D42);
        assert_eq!(low_32_bits(0x6969_u32), 0x6969);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_file_system_of_a_path_is_looked_up() {
        // Its magic number is not on the list; what does not exist is nobody's network file system.
        assert_eq!(unwatchable(Path::new("/proc")), None);
        assert_eq!(unwatchable(Path::new("/does/not/exist")), None);
    }
}
