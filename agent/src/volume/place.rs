//! Where a volume of files lies, found again after a restart and written to in whole versions. What may be a secret has
//! a file system in memory of its own, and goes nowhere else (A32). A ConfigMap lies on the disk, with a digest beside
//! the volume: after a power cut a file can be there and be empty. All functions block.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::disk::Disk;
use crate::disk::contents::{Attributes, Change, Contents, Node, Tmpfs};
use crate::volume::atomic_writer::{DATA, current, fresh_name, plan};
use crate::volume::owner::Owner;
use crate::volume::payload::Payload;
use crate::volume::plan::Rendered;
use crate::volume::{digest, directories};

/// Most bytes of one volume in memory. An object of the API has at most 1.5 MiB and a file takes at least a page, so
/// this holds two versions of any sensible volume; nothing is taken before it is written.
const SIZE: u64 = 64 << 20;
/// Type of the file system of a volume in memory.
pub(super) const TMPFS: &str = "tmpfs";
/// Longest digest that is read.
const DIGEST: u64 = 256;
/// Mode of the digest.
const DIGEST_MODE: u32 = 0o640;

/// Where one volume lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The pod's own directory.
    pub(super) pod: PathBuf,
    /// The volume's, below it.
    pub(super) dir: PathBuf,
    /// A file of the volume's beside it, below the pod's directory too.
    pub(super) mark: PathBuf,
}

/// Makes the volume's place.
pub(super) fn make(disk: &dyn Disk, place: &Place, volume: &Rendered, owner: &Owner) -> io::Result<()> {
    if !volume.plugin.is_in_memory() {
        return directories::make(disk, &place.pod, &place.dir, owner.directory()).map(drop);
    }
    if is_mounted(disk, &place.dir, TMPFS)? {
        return Ok(());
    }
    directories::make(disk, &place.pod, &place.dir, directories::OWN)?;
    disk.mount_tmpfs(&place.dir, &Tmpfs { size: SIZE, top: owner.directory(), hardened: true })
}

/// Whether the volume's file system, of this type, is there; something else in its place is an error.
pub(super) fn is_mounted(disk: &dyn Disk, dir: &Path, kind: &str) -> io::Result<bool> {
    match disk.mounted(dir)?.as_deref() {
        None => Ok(false),
        Some(found) if found == kind => Ok(true),
        Some(found) => Err(io::Error::other(format!("{} is a mount of {found}, not {kind}", dir.display()))),
    }
}

/// Writes what is not there yet. Refuses what belongs in memory where no file system in memory is mounted.
pub(super) fn write(
    disk: &dyn Disk,
    place: &Place,
    volume: &Rendered,
    payload: &Payload,
    wall: Timestamp,
) -> io::Result<()> {
    let Place { dir, .. } = place;
    let in_memory = volume.plugin.is_in_memory();
    if in_memory && !is_mounted(disk, dir, TMPFS)? {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not mounted", dir.display())));
    }
    let seen = disk.contents(dir)?;
    let changes = plan(&seen, payload, &fresh_name(&seen, wall));
    changes.iter().try_for_each(|change| disk.change(dir, change))?;
    if in_memory { Ok(()) } else { mark(disk, place, &disk.contents(dir)?) }
}

/// Leaves a digest of the version in use. Until it fits, the volume counts as not whole.
fn mark(disk: &dyn Disk, place: &Place, contents: &Contents) -> io::Result<()> {
    let Some(version) = current(contents) else { return Ok(()) };
    let digest = digest::of(contents, version);
    if disk.read(&place.mark, DIGEST).is_ok_and(|known| known == digest.as_bytes()) {
        return Ok(());
    }
    if let Some(parent) = place.mark.parent() {
        directories::make(disk, &place.pod, parent, directories::OWN)?;
    }
    let inner = directories::inner(&place.pod, &place.mark)?;
    disk.change(&place.pod, &Change::Remove(inner.clone()))?;
    let bytes = digest.as_str().into();
    disk.change(&place.pod, &Change::WriteFile(inner, bytes, Attributes::mode(DIGEST_MODE)))
}

/// What an earlier run left, if the volume is there and whole.
pub(super) fn found(disk: &dyn Disk, place: &Place, volume: &Rendered) -> io::Result<Option<Contents>> {
    if volume.plugin.is_in_memory() {
        if !is_mounted(disk, &place.dir, TMPFS)? {
            return Ok(None);
        }
        let contents = disk.contents(&place.dir)?;
        return Ok(is_whole(&contents, volume).then_some(contents));
    }
    let Ok(digest) = disk.read(&place.mark, DIGEST) else { return Ok(None) };
    let contents = match disk.contents(&place.dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        contents => contents?,
    };
    let same = |version| digest::of(&contents, version).as_bytes() == digest;
    let whole = current(&contents).is_some_and(same) && is_whole(&contents, volume);
    Ok(whole.then_some(contents))
}

/// Whether a version is in use that has every file that is certain, with a name for each that containers can open.
fn is_whole(contents: &Contents, volume: &Rendered) -> bool {
    let Some(version) = current(contents) else { return false };
    let has = |path: &Path| matches!(contents.get(&version.join(path)), Some(Node::File(..)));
    let tops =
        contents.keys().filter(|path| path.parent() == Some(version)).filter_map(|path| path.file_name());
    let named = |name: &std::ffi::OsStr| {
        let leads = |target: &Path| *target == *Path::new(DATA).join(name);
        matches!(contents.get(Path::new(name)), Some(Node::Link(target)) if leads(target))
    };
    let mountable = |path: &PathBuf| matches!(contents.get(path), Some(Node::Directory(_) | Node::Other));
    volume.certain_files().all(|path| has(path))
        && tops.into_iter().all(named)
        && volume.nested.iter().all(mountable)
}

#[cfg(test)]
pub(crate) mod tests;
