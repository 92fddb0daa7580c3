//! Directories that begin empty. One on the disk is made once: a mark in the kubelet's place for it says so, and from
//! then on it is its pod's, whatever the pod does to its mode. One in memory is there if it is mounted. All functions
//! block.

use std::io;

use crate::disk::Disk;
use crate::disk::contents::{Attributes, Change, FileKind, HugePages, Tmpfs};
use crate::volume::directories;
use crate::volume::owner::Owner;
use crate::volume::place::{Place, TMPFS, is_mounted};

/// Mode of one on the disk (`perm` of `pkg/volume/emptydir/empty_dir.go`).
const DISK_MODE: u32 = 0o777;
/// Mode of one in memory: what a file system in memory has of itself.
const MEMORY_MODE: u32 = 0o1777;
/// Mode of one in huge pages: what a file system of them has of itself.
const HUGE_MODE: u32 = 0o755;
/// Type of the file system of one in huge pages.
const HUGETLBFS: &str = "hugetlbfs";
/// What a group gets on top (`pkg/volume/volume_linux.go`).
const GROUP_BITS: u32 = 0o2770;
/// Mode of the mark.
const MARK_MODE: u32 = 0o640;

/// The attributes of the top of a volume.
fn top(mode: u32, owner: &Owner) -> Attributes {
    let more = if owner.group.is_some() { GROUP_BITS } else { 0 };
    Attributes { mode: mode | more, uid: None, gid: owner.group }
}

/// Sees that one on the disk is there.
pub(super) fn on_disk(disk: &dyn Disk, place: &Place, owner: &Owner) -> io::Result<()> {
    let marked = disk.kind(&place.mark)?.is_some();
    if marked && disk.kind(&place.dir)? == Some(FileKind::Directory) {
        return Ok(());
    }
    let made = directories::make(disk, &place.pod, &place.dir, top(DISK_MODE, owner))?;
    if let (false, Some(group)) = (made, owner.group) {
        // Begun by somebody who did not come to the end of it.
        disk.give_to_group(&place.dir, group)?;
    }
    if marked {
        return Ok(());
    }
    if let Some(parent) = place.mark.parent() {
        directories::make(disk, &place.pod, parent, directories::OWN)?;
    }
    let inner = directories::inner(&place.pod, &place.mark)?;
    disk.change(&place.pod, &Change::WriteFile(inner, "".into(), Attributes::mode(MARK_MODE)))
}

/// Sees that one in memory is there, of at most so many bytes.
pub(super) fn in_memory(disk: &dyn Disk, place: &Place, owner: &Owner, size: u64) -> io::Result<()> {
    if is_mounted(disk, &place.dir, TMPFS)? {
        return Ok(());
    }
    directories::make(disk, &place.pod, &place.dir, directories::OWN)?;
    disk.mount_tmpfs(&place.dir, &Tmpfs { size, top: top(MEMORY_MODE, owner), hardened: false })
}

/// Sees that one in huge pages is there.
pub(super) fn in_huge_pages(
    disk: &dyn Disk,
    place: &Place,
    owner: &Owner,
    pages: HugePages,
) -> io::Result<()> {
    if is_mounted(disk, &place.dir, HUGETLBFS)? {
        return Ok(());
    }
    directories::make(disk, &place.pod, &place.dir, directories::OWN)?;
    disk.mount_huge_pages(&place.dir, pages, &top(HUGE_MODE, owner))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::contents::Node;
    use crate::disk::{Failing, MemoryDisk, RealDisk};
    use crate::volume::place::tests::{Unmounted, place};

    const GROUP: Owner = Owner { user: None, group: Some(7) };

    fn mode_of(disk: &MemoryDisk, place: &Place) -> (u32, Option<u32>) {
        let parent = place.dir.parent().unwrap();
        match disk.contents(parent).unwrap().get(Path::new(place.dir.file_name().unwrap())) {
            Some(Node::Directory(found)) => (found.mode, found.gid),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a24_one_on_the_disk_is_whole_after_a_crash_at_each_operation() {
        let place = place(Path::new("/r/pods/u1"), "kubernetes.io~empty-dir");
        for fatal in 0.. {
            let disk = MemoryDisk::default();
            let kind = io::ErrorKind::Other;
            let failing = Failing { from: fatal, calls: u64::MAX, kind, partial: 1, after_rename: false };
            disk.set_failing(Some(failing));
            let ended = on_disk(&disk, &place, &GROUP).is_ok();
            disk.set_failing(None);
            on_disk(&disk, &place, &GROUP).unwrap();
            assert_eq!(mode_of(&disk, &place), (0o2777, Some(7)), "after {fatal} operations");
            // What the pod makes of it afterwards stays.
            let inner = directories::inner(&place.pod, &place.dir).unwrap();
            let own = Attributes { mode: 0o700, uid: Some(5), gid: Some(5) };
            disk.change(&place.pod, &Change::SetAttributes(inner, own)).unwrap();
            disk.put(&place.dir.join("data"), b"x");
            let changes = disk.changes();
            on_disk(&disk, &place, &GROUP).unwrap();
            assert_eq!((mode_of(&disk, &place), disk.changes()), ((0o700, Some(5)), changes));
            if ended {
                return;
            }
        }
    }

    #[test]
    fn what_somebody_began_is_given_to_the_group_and_kept() {
        let (disk, place) =
            (MemoryDisk::default(), place(Path::new("/r/pods/u1"), "kubernetes.io~empty-dir"));
        disk.create_dir_all(&place.dir).unwrap();
        disk.put(&place.dir.join("data"), b"x");
        on_disk(&disk, &place, &GROUP).unwrap();
        let contents = disk.contents(&place.dir).unwrap();
        let Some(Node::File(bytes, found)) = contents.get(Path::new("data")) else { panic!("{contents:?}") };
        assert_eq!((bytes.bytes(), found.gid, found.mode & 0o660), (&b"x"[..], Some(7), 0o660));
    }

    #[test]
    fn one_in_memory_is_mounted_once_and_again_after_a_reboot() {
        let (disk, place) =
            (MemoryDisk::default(), place(Path::new("/r/pods/u1"), "kubernetes.io~empty-dir"));
        for _ in 0..2 {
            in_memory(&disk, &place, &GROUP, 1 << 20).unwrap();
            assert_eq!(disk.mounts(&place.dir).unwrap().len(), 1);
        }
        disk.unmount(&place.dir).unwrap();
        in_memory(&disk, &place, &GROUP, 1 << 20).unwrap();
        assert_eq!(disk.mounts(&place.dir).unwrap().len(), 1);
    }

    #[test]
    fn huge_pages_on_the_machine() {
        use std::os::unix::fs::MetadataExt;
        const PAGE: u64 = 2 << 20;
        let root = tempfile::tempdir().unwrap();
        let huge = place(&root.path().join("pods/u1"), "kubernetes.io~empty-dir");
        let pages = HugePages { page: PAGE, limit: Some(3 << 20) };
        if !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
            println!("SKIPPED: the kernel has no pages of 2 MiB");
            return;
        }
        if let Err(error) = in_huge_pages(&RealDisk, &huge, &GROUP, pages) {
            assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot mount: {error}");
            println!("SKIPPED: needs root and the right to mount: {error}");
            return;
        }
        let _end = Unmounted(huge.dir.clone());
        in_huge_pages(&RealDisk, &huge, &GROUP, pages).unwrap();
        assert_eq!(RealDisk.mounts(&huge.dir).unwrap().len(), 1, "it was there");
        let top = std::fs::metadata(&huge.dir).unwrap();
        assert_eq!((top.mode() & 0o7777, top.gid()), (0o2775, 7));
        let system = nix::sys::statfs::statfs(&huge.dir).unwrap();
        assert_eq!(system.filesystem_type(), nix::sys::statfs::HUGETLBFS_MAGIC);
        // The limit is rounded up to whole pages.
        assert_eq!((system.block_size() as u64, system.blocks()), (PAGE, 2));
        assert!(in_memory(&RealDisk, &huge, &GROUP, 1 << 20).is_err(), "something else is in its place");
    }

    #[test]
    fn both_on_the_machine() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let (disk, memory) = (
            place(&root.path().join("pods/u1"), "kubernetes.io~empty-dir"),
            place(&root.path().join("pods/u2"), "kubernetes.io~empty-dir"),
        );
        let seen = |place: &Place| {
            let found = std::fs::metadata(&place.dir).unwrap();
            (found.mode() & 0o7777, found.gid())
        };
        on_disk(&RealDisk, &disk, &Owner::default()).unwrap();
        assert_eq!(seen(&disk).0, 0o777);
        if let Err(error) = in_memory(&RealDisk, &memory, &GROUP, 1 << 20) {
            assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot mount: {error}");
            println!("SKIPPED: needs root and the right to mount: {error}");
            return;
        }
        let _end = Unmounted(memory.dir.clone());
        assert_eq!(seen(&memory), (0o3777, 7));
        let too_much = vec![0_u8; (1 << 20) + 1];
        assert!(std::fs::write(memory.dir.join("f"), too_much).is_err(), "a file system of 1 MiB");
        std::fs::remove_dir_all(&disk.pod).unwrap();
        on_disk(&RealDisk, &disk, &GROUP).unwrap();
        assert_eq!(seen(&disk), (0o2777, 7));
    }
}
