//! Judges disks: overlay, the root directory, space. Pure.

use std::path::Path;

use super::observed::Disk;
use super::{error, ok, warning};
use crate::view::CheckView;

/// The kubelet's default eviction thresholds: 10 % of bytes and 5 % of inodes (`eviction/defaults_linux.go`).
const FREE_BYTES_PERCENT: u64 = 10;
const FREE_INODES_PERCENT: u64 = 5;
/// Below this, in bytes, hardly an image fits.
const LEAST_BYTES: u64 = 1 << 30;

/// The overlay file system, from `/proc/filesystems`.
#[must_use]
pub fn overlay(filesystems: &str) -> CheckView {
    if filesystems.lines().any(|line| line.split_whitespace().next_back() == Some("overlay")) {
        ok("overlayfs", "available")
    } else {
        let found = "not loaded: most runtimes keep image layers in it";
        warning(
            "overlayfs",
            found,
            "modprobe overlay, and put \"overlay\" into /etc/modules-load.d/pinnace.conf",
        )
    }
}

/// Whether state can be kept.
#[must_use]
pub fn writable(root_dir: &Path, writable: &Result<(), String>) -> CheckView {
    match writable {
        Ok(()) => ok("root directory", format!("{} is writable", root_dir.display())),
        Err(reason) => error(
            "root directory",
            format!("{}: {reason}", root_dir.display()),
            "make it writable for root, or name another with --root-dir",
        ),
    }
}

/// Whether there is room.
#[must_use]
pub fn free(root_dir: &Path, disk: Option<Disk>) -> CheckView {
    let fix = "free space, or name a directory on another disk with --root-dir";
    let Some(disk) = disk else {
        return warning("disk", format!("cannot be measured at {}", root_dir.display()), fix);
    };
    let bytes = percent(disk.bytes_free, disk.bytes);
    let found = format!("{} of {} free ({bytes} %)", gibibytes(disk.bytes_free), gibibytes(disk.bytes));
    let few_inodes = disk.inodes > 0 && percent(disk.inodes_free, disk.inodes) < FREE_INODES_PERCENT;
    if few_inodes {
        let found = format!("{found}, only {} inodes free", disk.inodes_free);
        warning("disk", found, fix)
    } else if bytes < FREE_BYTES_PERCENT || disk.bytes_free < LEAST_BYTES {
        warning("disk", found, fix)
    } else {
        ok("disk", found)
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part).saturating_mul(100).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(percent).unwrap_or(100)
}

fn gibibytes(bytes: u64) -> String {
    let tenths = bytes / ((1 << 30) / 10);
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CheckLevel::{Error, Ok as Fine, Warning};

    fn disk(gib_free: u64, inodes_free: u64) -> Disk {
        Disk { bytes: 100 << 30, bytes_free: gib_free << 30, inodes: 1_000, inodes_free }
    }

    #[test]
    fn room_is_judged_as_eviction_would() {
        let root = Path::new("/x");
        assert_eq!(free(root, Some(disk(50, 500))).found, "50.0 GiB of 100.0 GiB free (50 %)");
        assert_eq!(free(root, Some(disk(10, 50))).level, Fine);
        assert_eq!(free(root, Some(disk(9, 500))).level, Warning);
        assert_eq!(free(root, Some(disk(50, 49))).level, Warning);
        assert_eq!(free(root, Some(Disk { inodes: 0, inodes_free: 0, ..disk(50, 0) })).level, Fine);
        let tiny = Disk { bytes: 1 << 29, bytes_free: 1 << 29, inodes: 0, inodes_free: 0 };
        assert_eq!(free(root, Some(tiny)).level, Warning);
        assert_eq!(free(root, Some(Disk { bytes: 0, ..disk(0, 9) })).level, Warning);
        assert_eq!(free(root, None).level, Warning);
    }

    #[test]
    fn overlay_and_root_directory() {
        assert_eq!(overlay("nodev\tproc\nnodev\toverlay\n\text4\n").level, Fine);
        assert_eq!(overlay("nodev\tproc\n").level, Warning);
        assert_eq!(writable(Path::new("/x"), &Ok(())).level, Fine);
        assert_eq!(writable(Path::new("/x"), &Err("read-only file system".to_owned())).level, Error);
    }
}
