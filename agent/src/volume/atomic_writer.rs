//! How the files of a volume are exchanged all at once, in the kubelet's shape on disk. Pure: (what is there, what is
//! wanted, a fresh name) → changes in their order.
//!
//! ```text
//!  token   → ..data/token                       what the container opens
//!  ..data  → ..2026_03_01_10_00_00.123456789    exchanged by one rename
//!  ..2026_03_01_10_00_00.123456789/token        one whole version, its modes set before it is used
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

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::io;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::contents::{Attributes, Opaque};
    use crate::disk::{Disk, Failing, MemoryDisk};
    use crate::volume::payload::Wanted;

    const ROOT: &str = "/v";

    /// A payload of these files.
    pub(crate) fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |(path, text): &(&str, &str)| {
            let attributes = Attributes { mode: 0o640, uid: None, gid: Some(7) };
            (PathBuf::from(path), Wanted { bytes: (*text).into(), attributes })
        };
        let directory = Attributes { mode: 0o2755, uid: None, gid: Some(7) };
        Payload { files: files.iter().map(file).collect(), directory }
    }

    fn wall(second: i64) -> Timestamp {
        Timestamp::new(1_772_359_200 + second, 123_456_789).unwrap()
    }

    fn write(disk: &MemoryDisk, wanted: &Payload, second: i64) -> io::Result<Vec<Change>> {
        let seen = disk.contents(Path::new(ROOT))?;
        let changes = plan(&seen, wanted, &fresh_name(&seen, wall(second)));
        changes.iter().try_for_each(|change| disk.change(Path::new(ROOT), change))?;
        Ok(changes)
    }

    /// What a container reads through the visible names; none where a name leads nowhere.
    fn visible(seen: &Contents) -> BTreeMap<PathBuf, Option<Opaque>> {
        let version = current(seen);
        let mut read = BTreeMap::new();
        for (name, node) in
            seen.iter().filter(|(name, _)| !name.starts_with("..") && name.components().count() == 1)
        {
            let Node::Link(target) = node else { continue };
            if is_internal(name) {
                continue;
            }
            let behind = version.map(|version| version.join(target.strip_prefix(DATA).unwrap()));
            let below = |path: &&PathBuf| behind.as_ref().is_some_and(|behind| path.starts_with(behind));
            let files: Vec<_> = seen.iter().filter(|(path, _)| below(path)).collect();
            if files.is_empty() {
                read.insert(name.clone(), None);
            }
            for (path, node) in files {
                if let Node::File(bytes, _) = node {
                    read.insert(path.strip_prefix(version.unwrap()).unwrap().to_owned(), Some(bytes.clone()));
                }
            }
        }
        read
    }

    fn wanted_view(wanted: &Payload) -> BTreeMap<PathBuf, Option<Opaque>> {
        wanted.files.iter().map(|(path, file)| (path.clone(), Some(file.bytes.clone()))).collect()
    }

    /// Complete, equal, and nothing left of anything else.
    fn assert_whole(disk: &MemoryDisk, wanted: &Payload) {
        let seen = disk.contents(Path::new(ROOT)).unwrap();
        assert_eq!(visible(&seen), wanted_view(wanted));
        assert!(holds(&seen, current(&seen).unwrap(), wanted));
        let internal: Vec<_> = seen.keys().filter(|path| is_internal(path)).collect();
        assert_eq!(internal.len(), 2, "{internal:?}");
        assert_eq!(plan(&seen, wanted, Path::new("..never")), []);
    }

    #[test]
    fn the_shape_is_the_kubelets() {
        let disk = MemoryDisk::default();
        let made = write(&disk, &payload(&[("token", "t"), ("d/e", "x")]), 0).unwrap();
        let version = PathBuf::from("..2026_03_01_10_00_00.123456789");
        let wanted = payload(&[("token", "t"), ("d/e", "x")]);
        let file = |path: &str| {
            let file = &wanted.files[Path::new(path)];
            Change::WriteFile(version.join(path), file.bytes.clone(), file.attributes)
        };
        let expected = [
            Change::MakeDirectory(version.clone(), wanted.directory),
            Change::MakeDirectory(version.join("d"), wanted.directory),
            file("d/e"),
            file("token"),
            Change::Link("..data_tmp".into(), version.clone()),
            Change::Rename("..data_tmp".into(), "..data".into()),
            Change::Link("d".into(), "..data/d".into()),
            Change::Link("token".into(), "..data/token".into()),
        ];
        assert_eq!(made, expected);
        assert_whole(&disk, &wanted);
    }

    #[test]
    fn an_update_swaps_and_clears_and_the_same_again_does_nothing() {
        let disk = MemoryDisk::default();
        write(&disk, &payload(&[("token", "t"), ("gone", "x")]), 0).unwrap();
        let next = payload(&[("token", "u"), ("new", "y")]);
        let made = write(&disk, &next, 1).unwrap();
        let removed: Vec<_> = made.iter().filter(|change| matches!(change, Change::Remove(_))).collect();
        let old = PathBuf::from("..2026_03_01_10_00_00.123456789");
        assert_eq!(removed, [&Change::Remove("gone".into()), &Change::Remove(old)]);
        assert_whole(&disk, &next);
        let before = disk.changes();
        assert_eq!(write(&disk, &next, 2).unwrap(), []);
        assert_eq!(disk.changes(), before);
    }

    #[test]
    fn another_mode_is_another_version() {
        let disk = MemoryDisk::default();
        let mut wanted = payload(&[("token", "t")]);
        write(&disk, &wanted, 0).unwrap();
        wanted.files.get_mut(Path::new("token")).unwrap().attributes.mode = 0o600;
        assert!(!write(&disk, &wanted, 1).unwrap().is_empty());
        assert_whole(&disk, &wanted);
    }

    #[test]
    fn a23_what_was_planted_is_removed_and_never_followed() {
        let disk = MemoryDisk::default();
        let plant = |change: Change| disk.change(Path::new(ROOT), &change).unwrap();
        plant(Change::Link("..data".into(), "/etc".into()));
        plant(Change::Link("..2024".into(), "/".into()));
        plant(Change::Link("token".into(), "/etc/shadow".into()));
        plant(Change::MakeDirectory("..data_tmp".into(), Attributes::mode(0o755)));
        let wanted = payload(&[("token", "t")]);
        let made = write(&disk, &wanted, 0).unwrap();
        for change in &made {
            let (Change::MakeDirectory(path, _)
            | Change::WriteFile(path, ..)
            | Change::Link(path, _)
            | Change::Rename(path, _)
            | Change::Remove(path)) = change;
            assert!(path.is_relative() && path.parent() != Some(Path::new("..2024")), "{change:?}");
        }
        assert_whole(&disk, &wanted);
        let disk = MemoryDisk::default();
        disk.change(Path::new(ROOT), &Change::MakeDirectory("..data".into(), Attributes::mode(0o755)))
            .unwrap();
        write(&disk, &wanted, 0).unwrap();
        assert_whole(&disk, &wanted);
    }

    #[test]
    fn what_others_put_beside_stays() {
        let disk = MemoryDisk::default();
        disk.change(Path::new(ROOT), &Change::MakeDirectory("nested".into(), Attributes::mode(0o755)))
            .unwrap();
        let wanted = payload(&[("token", "t")]);
        write(&disk, &wanted, 0).unwrap();
        write(&disk, &payload(&[("token", "u")]), 1).unwrap();
        assert!(disk.contents(Path::new(ROOT)).unwrap().contains_key(Path::new("nested")));
    }

    #[test]
    fn a_name_that_is_taken_is_not_used_again() {
        let disk = MemoryDisk::default();
        for text in ["t", "u", "v"] {
            write(&disk, &payload(&[("token", text)]), 0).unwrap();
            assert_whole(&disk, &payload(&[("token", text)]));
        }
    }

    /// Kills a run at each of its changes, and runs again, killed again or not.
    fn crash_everywhere(old: &Payload, new: &Payload, partial: usize) {
        for first in 0.. {
            let disk = MemoryDisk::default();
            write(&disk, old, 0).unwrap();
            let fatal = |after: u64| Failing {
                from: disk.changes() + after,
                calls: u64::MAX,
                kind: io::ErrorKind::Other,
                partial,
                after_rename: false,
            };
            disk.set_failing(Some(fatal(first)));
            let ended = write(&disk, new, 1).is_ok();
            let seen = disk.contents(Path::new(ROOT)).unwrap();
            let version = current(&seen).unwrap();
            assert!(holds(&seen, version, old) || holds(&seen, version, new), "a mix after {first}");
            disk.set_failing(Some(fatal(first / 2)));
            let _killed_again = write(&disk, new, 2);
            disk.set_failing(None);
            write(&disk, new, 3).unwrap();
            assert_whole(&disk, new);
            if ended {
                return;
            }
        }
    }

    #[test]
    fn a24_complete_after_a_crash_at_any_change() {
        let (old, new) =
            (payload(&[("token", "old"), ("gone", "x")]), payload(&[("token", "new"), ("d/e", "y")]));
        for partial in [0, 1, 2] {
            crash_everywhere(&old, &new, partial);
        }
        let nothing = payload(&[]);
        crash_everywhere(&nothing, &new, 0);
        crash_everywhere(&old, &nothing, 0);
    }

    #[test]
    fn a24_the_first_version_is_complete_after_a_crash_at_any_change() {
        let wanted = payload(&[("token", "t"), ("ca.crt", "c"), ("d/e", "x")]);
        for first in 0..20 {
            let disk = MemoryDisk::default();
            disk.set_failing(Some(Failing {
                from: first,
                calls: u64::MAX,
                kind: io::ErrorKind::Other,
                partial: 0,
                after_rename: false,
            }));
            let _killed = write(&disk, &wanted, 0);
            let seen = disk.contents(Path::new(ROOT)).unwrap();
            let view = visible(&seen);
            assert!(view.iter().all(|(path, read)| wanted_view(&wanted).get(path) == Some(read)), "{view:?}");
            disk.set_failing(None);
            write(&disk, &wanted, 1).unwrap();
            assert_whole(&disk, &wanted);
        }
    }

    fn any_payload() -> impl Strategy<Value = Payload> {
        let name = prop_oneof![Just("a"), Just("b"), Just("c/d"), Just("c/e"), Just("f/g/h")];
        prop::collection::btree_map(name, "[xy]{0,2}", 0..5).prop_map(|files| {
            let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
            payload(&files)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Any sequence of versions, each run cut short somewhere: a whole version at any time, and the last one in the end.
        #[test]
        fn a24_any_history_of_versions_and_crashes_ends_whole(
            versions in prop::collection::vec((any_payload(), 0_u64..14, 0_usize..3), 1..6)
        ) {
            let disk = MemoryDisk::default();
            let mut whole: Vec<Payload> = Vec::new();
            for (second, (wanted, crash, partial)) in versions.iter().enumerate() {
                let from = disk.changes() + crash;
                let kind = io::ErrorKind::Other;
                disk.set_failing(Some(Failing { from, calls: u64::MAX, kind, partial: *partial, after_rename: false }));
                let _cut = write(&disk, wanted, i64::try_from(second).unwrap());
                whole.push(wanted.clone());
                let seen = disk.contents(Path::new(ROOT)).unwrap();
                if let Some(version) = current(&seen) {
                    prop_assert!(whole.iter().any(|whole| holds(&seen, version, whole)));
                }
            }
            disk.set_failing(None);
            let (last, ..) = versions.last().unwrap();
            write(&disk, last, 100).unwrap();
            assert_whole(&disk, last);
        }
    }
}
