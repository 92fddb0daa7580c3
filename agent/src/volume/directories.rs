//! Directories below a pod's own. Not forced to the device, which the start of a pod would have to wait for: after a
//! power cut they are made again. All functions block.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::disk::contents::{Attributes, Change};

/// Of directories that only the agent enters.
pub(super) const OWN: Attributes = Attributes { mode: 0o750, uid: None, gid: None };

/// Sees that `dir`, below `pod`, is a directory with these attributes; true if it was not there. No link is followed
/// below the pod's directory.
pub(super) fn make(disk: &dyn Disk, pod: &Path, dir: &Path, top: Attributes) -> io::Result<bool> {
    disk.create_dir_all(pod)?;
    let path = inner(pod, dir)?;
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.pop();
    for path in above.into_iter().rev() {
        match disk.change(pod, &Change::MakeDirectory(path.to_owned(), OWN)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
    }
    match disk.change(pod, &Change::MakeDirectory(path.clone(), top)) {
        // A crash may have come between its making and its attributes.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.change(pod, &Change::SetAttributes(path, top)).map(|()| false)
        }
        result => result.map(|()| true),
    }
}

/// `path` as seen from the pod's directory.
pub(super) fn inner(pod: &Path, path: &Path) -> io::Result<PathBuf> {
    path.strip_prefix(pod).map(Path::to_owned).map_err(io::Error::other)
}
