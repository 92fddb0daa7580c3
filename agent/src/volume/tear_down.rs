//! Takes a pod's volumes off the tree: unmounts what is the agent's own and removes the empty mount points. Never looks
//! into a mount and removes nothing that is not empty (A25, I7); anything else there stays, and keeps the pod's
//! directory in place. Blocks.
//!
//! What is whose is told by where it is mounted, which a restart does not forget, so that each step can be done again
//! after a crash at any point:
//!
//! ```text
//!  volumes/<plugin>/<name>                     a volume in memory, of the plugins that have such
//!  volume-subpaths/<name>/<container>/<index>  a part of a volume, whatever it is of
//!  anywhere, a file of the pod's own directory what a container showed itself and shared with the node
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::disk::contents::Mounted;
use crate::pod::paths::{SUB_PATHS, VOLUMES};

/// Directories of the plugins whose volumes may lie in memory, the agent's own and those that a kubelet leaves at a
/// takeover: there a mount's contents belong to the pod and end with it.
const IN_MEMORY: [&str; 4] = [
    "kubernetes.io~projected",
    "kubernetes.io~secret",
    "kubernetes.io~downward-api",
    "kubernetes.io~empty-dir",
];

/// What such volumes are made of: `hugetlbfs` is the medium of huge pages.
const MEMORY: [&str; 2] = ["tmpfs", "hugetlbfs"];

/// Takes down what is mounted under a pod's directory. What cannot be taken down does not keep the rest.
pub(crate) fn unmount(disk: &dyn Disk, pod: &Path) -> io::Result<()> {
    let mut failed = None;
    let mounts = disk.mounts(pod)?;
    for mount in mounts.iter().rev() {
        // Goes with the part that it is mounted in, and only there.
        let within_part = |part: &Mounted| is_part(pod, &part.path) && mount.path != part.path;
        if mounts.iter().any(|other| within_part(other) && mount.path.starts_with(&other.path)) {
            continue;
        }
        if may_go(disk, pod, mount)? {
            failed = disk.unmount(&mount.path).err().or(failed);
        }
    }
    let left = disk.mounts(pod)?;
    for dir in mount_points(disk, pod, &left)? {
        failed = remove_if_empty(disk, &dir).err().or(failed);
    }
    failed.map_or(Ok(()), Err)
}

/// The same for a pod that has no mounts but in memory, where nothing can hang: nearly every pod. False for any other,
/// of which nothing was taken down.
pub(super) fn unmount_plain(disk: &dyn Disk, pod: &Path) -> io::Result<bool> {
    let plain = disk.mounts(pod)?.iter().all(|mount| MEMORY.contains(&mount.kind.as_str()));
    if plain {
        unmount(disk, pod)?;
    }
    Ok(plain)
}

/// Whether a mount is the agent's, and nothing of others is in it.
fn may_go(disk: &dyn Disk, pod: &Path, mount: &Mounted) -> io::Result<bool> {
    if mount.inner || is_part(pod, &mount.path) {
        return Ok(true);
    }
    if !is_volume_in_memory(pod, mount) {
        return Ok(false);
    }
    // Several may lie on one point; the newest goes first.
    Ok(disk.mounts(&mount.path)?.iter().all(|within| within.path == mount.path))
}

/// `<pod>/volumes/<plugin>/<name>`, exactly.
fn is_volume_in_memory(pod: &Path, mount: &Mounted) -> bool {
    let [VOLUMES, plugin, _] = names(pod, &mount.path)[..] else { return false };
    IN_MEMORY.contains(&plugin) && MEMORY.contains(&mount.kind.as_str())
}

/// `<pod>/volume-subpaths/<volume>/<container>/<index>`, exactly.
fn is_part(pod: &Path, path: &Path) -> bool {
    matches!(names(pod, path)[..], [SUB_PATHS, _, _, _])
}

/// A path below a pod's directory by its names; empty if it is none.
fn names<'a>(pod: &Path, path: &'a Path) -> Vec<&'a str> {
    let inner = path.strip_prefix(pod).unwrap_or(Path::new(""));
    inner.components().map(|name| name.as_os_str().to_str().unwrap_or_default()).collect()
}

/// Where something may have been mounted and nothing is any more.
fn mount_points(disk: &dyn Disk, pod: &Path, left: &[Mounted]) -> io::Result<Vec<PathBuf>> {
    let below = |dir: &Path| below(disk, dir, left);
    let mut points = Vec::new();
    for plugin in IN_MEMORY {
        points.extend(below(&pod.join(VOLUMES).join(plugin))?);
    }
    for volume in below(&pod.join(SUB_PATHS))? {
        for container in below(&volume)? {
            points.extend(below(&container)?);
        }
    }
    points.retain(|point| !left.iter().any(|mount| mount.path.starts_with(point)));
    Ok(points)
}

/// What is in a directory; nothing is in a file that is there instead, and what is in a mount is nobody's business.
fn below(disk: &dyn Disk, dir: &Path, left: &[Mounted]) -> io::Result<Vec<PathBuf>> {
    if left.iter().any(|mount| dir.starts_with(&mount.path)) {
        return Ok(Vec::new());
    }
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        entries => entries,
    }
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
mod planted;
#[cfg(test)]
mod tests;
