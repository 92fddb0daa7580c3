//! The writer on the disk in memory, killed at each of its changes.

use std::collections::{BTreeMap, BTreeSet};
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
    Payload { files: files.iter().map(file).collect(), directory, nested: BTreeSet::new() }
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
        | Change::Remove(path)
        | Change::SetAttributes(path, _)) = change;
        assert!(path.is_relative() && path.parent() != Some(Path::new("..2024")), "{change:?}");
    }
    assert_whole(&disk, &wanted);
    let disk = MemoryDisk::default();
    disk.change(Path::new(ROOT), &Change::MakeDirectory("..data".into(), Attributes::mode(0o755))).unwrap();
    write(&disk, &wanted, 0).unwrap();
    assert_whole(&disk, &wanted);
}

#[test]
fn what_others_put_beside_stays() {
    let disk = MemoryDisk::default();
    disk.change(Path::new(ROOT), &Change::MakeDirectory("nested".into(), Attributes::mode(0o755))).unwrap();
    let wanted = payload(&[("token", "t")]);
    write(&disk, &wanted, 0).unwrap();
    write(&disk, &payload(&[("token", "u")]), 1).unwrap();
    assert!(disk.contents(Path::new(ROOT)).unwrap().contains_key(Path::new("nested")));
}

#[test]
fn other_volumes_find_directories_to_be_mounted_over() {
    let disk = MemoryDisk::default();
    write(&disk, &payload(&[("token", "t"), ("b", "x")]), 0).unwrap();
    let mut wanted = payload(&[("token", "u")]);
    wanted.nested = [PathBuf::from("a/c"), PathBuf::from("b")].into();
    write(&disk, &wanted, 1).unwrap();
    let seen = disk.contents(Path::new(ROOT)).unwrap();
    for path in ["a", "a/c", "b"] {
        assert!(matches!(seen.get(Path::new(path)), Some(Node::Directory(_))), "{path}: {seen:?}");
    }
    assert_whole(&disk, &wanted);
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
