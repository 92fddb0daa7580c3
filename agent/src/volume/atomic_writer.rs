//! How the files of a volume are exchanged all at once, in the kubelet's shape on disk. Pure: (what is there, what is
//! wanted, a fresh name) → changes in their order.
//!
//! ```text
//!  token   → ..data/token                       what the container opens
//!  ..data  → ..2026_03_01_10_00_00.123456789    exchanged by one rename
//!  ..2026_03_01_10_00_00.123456789/token        one whole version, its modes set before it is used
//!  cache                                        a directory over which another volume is mounted
//! ```
//!
//! What is there may be anything: a crash can have come after each change of an earlier run. Each run therefore starts
//! from what it sees and does what is left, links and leftovers included; a reader finds one whole version at any time.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use crate::disk::contents::{Change, Contents, Node};
use crate::volume::payload::Payload;

/// The link to the version in use (`pkg/volume/util/atomic_writer.go`, as all names here).
pub const DATA: &str = "..data";
/// What that link is called before it takes the other's place.
const NEXT_DATA: &str = "..data_tmp";

/// A name for a version that nothing has: the time in UTC and a number.
#[must_use]
pub fn fresh_name(seen: &Contents, wall: Timestamp) -> PathBuf {
    let start = u32::try_from(wall.subsec_nanosecond()).unwrap_or(0);
    let named = |number: u32| PathBuf::from(format!("{}{number}", wall.strftime("..%Y_%m_%d_%H_%M_%S.")));
    let mut number = start;
    while seen.contains_key(&named(number)) {
        number = number.wrapping_add(1);
    }
    named(number)
}

/// The version in use: a directory of the volume, whatever else a link of that name may lead to.
#[must_use]
pub fn current(seen: &Contents) -> Option<&Path> {
    let Some(Node::Link(target)) = seen.get(Path::new(DATA)) else { return None };
    let directory = matches!(seen.get(target), Some(Node::Directory(_)));
    (is_internal(target) && directory).then_some(target)
}

/// A name of the writer's own: one component that begins with two dots.
fn is_internal(path: &Path) -> bool {
    let mut components = path.components();
    let named = matches!(components.next(), Some(Component::Normal(name)) if name.as_encoded_bytes().starts_with(b".."));
    named && components.next().is_none()
}

/// The changes that are left to make.
#[must_use]
pub fn plan(seen: &Contents, wanted: &Payload, fresh: &Path) -> Vec<Change> {
    let mut changes = Vec::new();
    let current = current(seen);
    let unchanged = current.is_some_and(|current| holds(seen, current, wanted));
    // Leftovers first: a volume has room for two versions.
    changes.extend(leftovers(seen, current).map(|path| Change::Remove(path.clone())));
    if !unchanged {
        write_version(wanted, fresh, &mut changes);
        switch_to(seen, fresh, &mut changes);
    }
    link(seen, wanted, &mut changes);
    make_nested(seen, wanted, &mut changes);
    if let Some(old) = current.filter(|_| !unchanged) {
        changes.push(Change::Remove(old.to_owned()));
    }
    changes
}

/// Whether a version is exactly what is wanted, modes and owners included.
fn holds(seen: &Contents, version: &Path, wanted: &Payload) -> bool {
    let within = seen.iter().filter_map(|(path, node)| Some((path.strip_prefix(version).ok()?, node)));
    let directories = directories(wanted);
    let mut files = 0_usize;
    for (path, node) in within {
        let fits = match node {
            Node::Directory(found) => {
                let needed = path.as_os_str().is_empty() || directories.contains(path);
                needed && wanted.directory.are_met_by(found)
            }
            Node::File(bytes, found) => wanted.files.get(path).is_some_and(|file| {
                files = files.saturating_add(1);
                file.bytes == *bytes && file.attributes.are_met_by(found)
            }),
            Node::Link(_) | Node::Other => false,
        };
        if !fits {
            return false;
        }
    }
    files == wanted.files.len()
}

/// Directories within a version, parents before children.
fn directories(wanted: &Payload) -> BTreeSet<&Path> {
    let above = wanted.files.keys().flat_map(|path| path.ancestors().skip(1));
    above.filter(|path| !path.as_os_str().is_empty()).collect()
}

/// What an earlier run did not come to remove, and what others put under the writer's names.
fn leftovers<'a>(seen: &'a Contents, current: Option<&'a Path>) -> impl Iterator<Item = &'a PathBuf> {
    seen.keys()
        .filter(move |path| is_internal(path) && **path != Path::new(DATA) && Some(path.as_path()) != current)
}

fn write_version(wanted: &Payload, fresh: &Path, changes: &mut Vec<Change>) {
    changes.push(Change::MakeDirectory(fresh.to_owned(), wanted.directory));
    for directory in directories(wanted) {
        changes.push(Change::MakeDirectory(fresh.join(directory), wanted.directory));
    }
    for (path, file) in &wanted.files {
        changes.push(Change::WriteFile(fresh.join(path), file.bytes.clone(), file.attributes));
    }
}

fn switch_to(seen: &Contents, fresh: &Path, changes: &mut Vec<Change>) {
    // A rename replaces a link or a file, and nothing else.
    if matches!(seen.get(Path::new(DATA)), Some(Node::Directory(_) | Node::Other)) {
        changes.push(Change::Remove(DATA.into()));
    }
    changes.push(Change::Link(NEXT_DATA.into(), fresh.to_owned()));
    changes.push(Change::Rename(NEXT_DATA.into(), DATA.into()));
}

/// The names that containers open: made after the version that they lead to, removed after it is out of use.
fn link(seen: &Contents, wanted: &Payload, changes: &mut Vec<Change>) {
    let names: BTreeSet<PathBuf> = wanted
        .files
        .keys()
        .filter_map(|path| path.components().next())
        .map(|first| first.as_os_str().into())
        .collect();
    for name in &names {
        let target = Path::new(DATA).join(name);
        match seen.get(name) {
            Some(Node::Link(found)) if *found == target => continue,
            Some(_) => changes.push(Change::Remove(name.clone())),
            None => {}
        }
        changes.push(Change::Link(name.clone(), target));
    }
    for (name, node) in seen {
        let ours = matches!(node, Node::Link(target) if *target == Path::new(DATA).join(name));
        if ours && !names.contains(name) {
            changes.push(Change::Remove(name.clone()));
        }
    }
}

/// Directories for other volumes' mounts. What is there under the name of one is no longer in use, or was never the
/// agent's.
fn make_nested(seen: &Contents, wanted: &Payload, changes: &mut Vec<Change>) {
    let above = wanted.nested.iter().flat_map(|path| path.ancestors());
    let all: BTreeSet<&Path> = above.filter(|path| !path.as_os_str().is_empty()).collect();
    for directory in all {
        match seen.get(directory) {
            // A mount that somebody put there is left alone.
            Some(Node::Directory(_) | Node::Other) => continue,
            Some(Node::Link(target)) if *target == Path::new(DATA).join(directory) => {}
            Some(_) => changes.push(Change::Remove(directory.to_owned())),
            None => {}
        }
        changes.push(Change::MakeDirectory(directory.to_owned(), wanted.directory));
    }
}

#[cfg(test)]
pub(crate) mod tests;
