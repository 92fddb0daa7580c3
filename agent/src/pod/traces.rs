//! Removing what a pod leaves on the node's disk: links for log collectors, its logs, its own directory. Blocks.

use std::io;
use std::path::PathBuf;

use pinnace_cri::id::PodUid;

use crate::disk::Disk;
use crate::pod::card::Face;
use crate::pod::paths::{self, Dirs};
use crate::pod::step::Key;

/// Tries at a removal before it is called a problem: the first may meet a mount that is just going.
const PATIENCE: u32 = 2;

/// Removes all of it. Each part can be removed again after a crash; one that cannot be removed does not keep the others
/// but the last, by which the next start finds what is left.
pub(crate) fn remove(disk: &dyn Disk, dirs: &Dirs, uid: &PodUid) -> io::Result<()> {
    // Links first, and by where they lead: the names that they are made of may not be known any more.
    for link in links_of(disk, dirs, uid)? {
        disk.remove_file(&link)?;
    }
    let logs = disk.list(&dirs.pod_logs)?;
    for logs in logs.iter().filter(|path| paths::are_logs_of(path, uid)) {
        disk.remove_tree(logs)?;
    }
    // The last to go, for the same reason that it is the first to be made.
    disk.remove_tree(&dirs.pod(uid))
}

/// Links for log collectors that lead to a pod's logs.
fn links_of(disk: &dyn Disk, dirs: &Dirs, uid: &PodUid) -> io::Result<Vec<PathBuf>> {
    let Some(links) = &dirs.container_logs else { return Ok(Vec::new()) };
    let leads_to_it = |link: &PathBuf| {
        let target = std::fs::read_link(link);
        target.is_ok_and(|target| target.ancestors().any(|dir| paths::are_logs_of(dir, uid)))
    };
    Ok(disk.list(links)?.into_iter().filter(leads_to_it).collect())
}

/// What people are told of a pod whose volumes or files resist: somebody else's mount may be there, which only they can
/// take away.
#[must_use]
pub fn problem(face: &Face) -> Option<String> {
    let stuck = [Key::VolumesEnd, Key::Traces].into_iter().find_map(|key| face.retries.get(&key));
    let stuck = stuck.filter(|retry| retry.failures > PATIENCE)?;
    let name = if face.namespace.is_empty() {
        face.name.clone()
    } else {
        format!("{}/{}", face.namespace, face.name)
    };
    Some(format!("what is left of pod {name} cannot be removed from this node: {}", stuck.message))
}
