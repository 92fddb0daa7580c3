//! Takes a pod's volumes off the tree: unmounts what lies in memory and removes the empty mount points. Never looks
//! into a mount and removes nothing that is not empty (A25, I7); anything else there stays, and keeps the pod's
//! directory in place. Blocks.

use std::io;
use std::path::Path;

use crate::disk::Disk;

/// Directories of the plugins whose volumes may lie in memory, the agent's own and those that a kubelet leaves at a
/// takeover: there a mount's contents belong to the pod and end with it.
const IN_MEMORY: [&str; 4] = [
    "kubernetes.io~projected",
    "kubernetes.io~secret",
    "kubernetes.io~downward-api",
    "kubernetes.io~empty-dir",
];

/// Takes down what is mounted under a pod's `volumes` directory.
pub(super) fn unmount(disk: &dyn Disk, volumes: &Path) -> io::Result<()> {
    for mount in disk.mounts(volumes)?.iter().rev() {
        if mount.kind == "tmpfs" && is_volume(volumes, &mount.path) {
            disk.unmount(&mount.path)?;
        }
    }
    let left = disk.mounts(volumes)?;
    for plugin in IN_MEMORY {
        let plugin = volumes.join(plugin);
        for dir in disk.list(&plugin)? {
            if !left.iter().any(|mount| mount.path.starts_with(&dir)) {
                remove_if_empty(disk, &dir)?;
            }
        }
    }
    Ok(())
}

/// `<volumes>/<plugin>/<name>`, exactly.
fn is_volume(volumes: &Path, mount: &Path) -> bool {
    let Ok(inner) = mount.strip_prefix(volumes) else { return false };
    let plugin = inner.components().next().and_then(|first| first.as_os_str().to_str());
    inner.components().count() == 2 && plugin.is_some_and(|plugin| IN_MEMORY.contains(&plugin))
}

/// What is not empty, or is no directory, is no mount point of a volume: it goes with the pod's directory, or never.
fn remove_if_empty(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.remove_dir(dir) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory) =>
        {
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::contents::{Attributes, Tmpfs};
    use crate::disk::{Failing, MemoryDisk};

    const VOLUMES: &str = "/r/pods/u1/volumes";
    const TMPFS: Tmpfs =
        Tmpfs { size: 1, top: Attributes { mode: 0o755, uid: None, gid: None }, hardened: true };

    fn mounted(paths: &[&str]) -> MemoryDisk {
        let disk = MemoryDisk::default();
        for path in paths {
            let path = Path::new(VOLUMES).join(path);
            disk.create_dir_all(&path).unwrap();
            disk.mount_tmpfs(&path, &TMPFS).unwrap();
        }
        disk
    }

    #[test]
    fn a25_only_volumes_in_memory_are_unmounted() {
        let disk = mounted(&["kubernetes.io~projected/a", "kubernetes.io~nfs/b", "kubernetes.io~secret/c"]);
        let data = Path::new(VOLUMES).join("kubernetes.io~empty-dir/kept/data");
        disk.put(&data, b"x");
        unmount(&disk, Path::new(VOLUMES)).unwrap();
        let left: Vec<_> = disk.mounts(Path::new("/")).unwrap().into_iter().map(|mount| mount.path).collect();
        assert_eq!(left, [Path::new(VOLUMES).join("kubernetes.io~nfs/b")]);
        assert!(disk.files().contains_key(&data));
        assert!(disk.list(&Path::new(VOLUMES).join("kubernetes.io~projected")).unwrap().is_empty());
        // With a mount left, the pod's directory is not removed.
        assert!(disk.remove_tree(Path::new("/r/pods/u1")).is_err());
        assert!(disk.files().contains_key(&data));
    }

    #[test]
    fn a24_goes_on_after_a_crash_at_each_operation() {
        for fatal in 0.. {
            let disk = mounted(&["kubernetes.io~projected/a", "kubernetes.io~projected/b"]);
            let from = disk.changes() + fatal;
            let kind = io::ErrorKind::Other;
            disk.set_failing(Some(Failing { from, calls: u64::MAX, kind, partial: 0, after_rename: false }));
            let ended = unmount(&disk, Path::new(VOLUMES)).is_ok();
            disk.set_failing(None);
            unmount(&disk, Path::new(VOLUMES)).unwrap();
            assert!(disk.mounts(Path::new("/")).unwrap().is_empty());
            disk.remove_tree(Path::new("/r/pods/u1")).unwrap();
            if ended {
                return;
            }
        }
    }

    #[test]
    fn nothing_there_is_success() {
        unmount(&MemoryDisk::default(), Path::new(VOLUMES)).unwrap();
    }
}
