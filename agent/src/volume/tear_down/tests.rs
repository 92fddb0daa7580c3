use std::cell::Cell;

use pinnace_cri::id::PodUid;
use proptest::prelude::*;

use super::*;
use crate::disk::contents::{Attributes, Change, SubPath, Tmpfs};
use crate::disk::{Failing, MemoryDisk};
use crate::pod::paths::Dirs;
use crate::pod::traces;

const POD: &str = "/r/pods/u1";
const TMPFS: Tmpfs =
    Tmpfs { size: 1 << 20, top: Attributes { mode: 0o755, uid: None, gid: None }, hardened: true };

fn at(inner: &str) -> PathBuf {
    Path::new(POD).join(inner)
}

fn dirs() -> Dirs {
    Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None }
}

/// Both steps of a teardown that concern the disk, in their order.
fn take_down(disk: &dyn Disk) -> io::Result<()> {
    unmount(disk, Path::new(POD))?;
    traces::remove(disk, &dirs(), &PodUid::new("u1").unwrap())
}

fn mounted(disk: &MemoryDisk) -> Vec<PathBuf> {
    disk.mounts(Path::new("/")).unwrap().into_iter().map(|mount| mount.path).collect()
}

fn fail_from(disk: &MemoryDisk, from: u64, partial: usize) {
    let kind = io::ErrorKind::Other;
    disk.set_failing(Some(Failing { from, calls: u64::MAX, kind, partial, after_rename: false }));
}

#[test]
fn a25_only_what_is_the_agents_own_is_unmounted() {
    let disk = MemoryDisk::default();
    for (path, kind) in [
        ("volumes/kubernetes.io~projected/a", "tmpfs"),
        ("volumes/kubernetes.io~empty-dir/huge", "hugetlbfs"),
        ("volumes/kubernetes.io~nfs/b", "nfs4"),
        ("volumes/kubernetes.io~csi/c/mount", "tmpfs"),
        ("volumes/kubernetes.io~secret/d", "ext4"),
        ("volumes/kubernetes.io~empty-dir/shared/fuse", "fuse.x"),
        ("volume-subpaths/v/main/0", "nfs4"),
        ("volume-subpaths/v/main/0/appeared", "ext4"),
        ("volume-subpaths/v/main", "ext4"),
        ("volume-subpaths/v", "ext4"),
    ] {
        disk.put_mount(&at(path), kind);
    }
    let data = at("volumes/kubernetes.io~empty-dir/kept/data");
    disk.put(&data, b"x");
    unmount(&disk, Path::new(POD)).unwrap();
    let left = [
        "volume-subpaths/v",
        "volume-subpaths/v/main",
        "volumes/kubernetes.io~csi/c/mount",
        "volumes/kubernetes.io~empty-dir/shared/fuse",
        "volumes/kubernetes.io~nfs/b",
        "volumes/kubernetes.io~secret/d",
    ];
    assert_eq!(mounted(&disk), left.map(at));
    assert!(disk.list(&at("volumes/kubernetes.io~projected")).unwrap().is_empty());
    // With a mount left, the pod's directory is not removed.
    assert!(take_down(&disk).is_err());
    assert!(disk.files().contains_key(&data));
}

/// A file system in memory with somebody else's mount in it stays as it is.
#[test]
fn a25_a_volume_with_a_foreign_mount_in_it_is_left_whole() {
    let disk = MemoryDisk::default();
    let volume = at("volumes/kubernetes.io~empty-dir/shared");
    disk.put_mount(&volume, "tmpfs");
    disk.put(&volume.join("data"), b"x");
    disk.put_mount(&volume.join("sentinel"), "ext4");
    assert!(take_down(&disk).is_err());
    assert_eq!(mounted(&disk), [volume.clone(), volume.join("sentinel")]);
    assert!(disk.files().contains_key(&volume.join("data")));
    disk.unmount(&volume.join("sentinel")).unwrap();
    take_down(&disk).unwrap();
    assert!(mounted(&disk).is_empty() && disk.list(Path::new("/r/pods")).unwrap().is_empty());
}

#[test]
fn one_that_resists_does_not_keep_the_others() {
    let disk = MemoryDisk::default();
    disk.put_mount(&at("volumes/kubernetes.io~projected/a"), "tmpfs");
    disk.put_mount(&at("volumes/kubernetes.io~projected/b"), "tmpfs");
    let kind = io::ErrorKind::ResourceBusy;
    disk.set_failing(Some(Failing { from: 0, calls: 1, kind, partial: 0, after_rename: false }));
    assert_eq!(unmount(&disk, Path::new(POD)).unwrap_err().kind(), kind);
    assert_eq!(mounted(&disk), [at("volumes/kubernetes.io~projected/b")]);
}

#[test]
fn b78_only_mounts_that_may_hang_are_taken_down_apart() {
    let disk = MemoryDisk::default();
    assert!(unmount_plain(&disk, Path::new(POD)).unwrap());
    disk.put_mount(&at("volumes/kubernetes.io~projected/a"), "tmpfs");
    assert!(unmount_plain(&disk, Path::new(POD)).unwrap() && mounted(&disk).is_empty());
    disk.put_mount(&at("volumes/kubernetes.io~projected/a"), "tmpfs");
    disk.put_mount(&at("volume-subpaths/v/main/0"), "nfs4");
    assert!(!unmount_plain(&disk, Path::new(POD)).unwrap());
    assert_eq!(mounted(&disk).len(), 2);
}

#[test]
fn nothing_there_is_success() {
    take_down(&MemoryDisk::default()).unwrap();
}

/// What a pod may have on the node.
#[derive(Debug, Clone)]
enum Thing {
    InMemory(&'static str),
    OnDisk,
    Part,
    /// Files that are no volume's.
    Own,
    Foreign(&'static str),
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => prop::sample::select(&IN_MEMORY[..]).prop_map(Thing::InMemory),
        3 => Just(Thing::OnDisk),
        4 => Just(Thing::Part),
        2 => Just(Thing::Own),
        1 => prop::sample::select(vec!["volumes/kubernetes.io~nfs/x", "volumes/kubernetes.io~empty-dir/v0/in",
            "volumes", "volume-subpaths/v/c", "containers/c", "sentinel"]).prop_map(Thing::Foreign),
    ]
}

/// Makes them; the foreign mounts.
fn make(disk: &MemoryDisk, things: &[Thing]) -> Vec<PathBuf> {
    let mut foreign = Vec::new();
    for (number, thing) in things.iter().enumerate() {
        match thing {
            Thing::InMemory(plugin) => {
                let dir = at(&format!("volumes/{plugin}/m{number}"));
                disk.create_dir_all(&dir).unwrap();
                disk.mount_tmpfs(&dir, &TMPFS).unwrap();
                disk.put(&dir.join("token"), b"x");
            }
            Thing::OnDisk => {
                let dir = at(&format!("volumes/kubernetes.io~empty-dir/v{number}"));
                disk.create_dir_all(&dir).unwrap();
                disk.change(&dir, &Change::MakeDirectory("d".into(), Attributes::mode(0o755))).unwrap();
                disk.put(&dir.join("d/data"), b"x");
            }
            Thing::Part => {
                let volume = at("volumes/kubernetes.io~empty-dir/parts");
                disk.create_dir_all(&volume).unwrap();
                let target = at(&format!("volume-subpaths/v/c{}/{number}", number % 2));
                disk.bind_sub_path(&SubPath { volume, inner: "a".into(), target }).unwrap();
            }
            Thing::Own => disk.put(&at(&format!("containers/c/{number}")), b"x"),
            Thing::Foreign(place) => {
                disk.put_mount(&at(place), "ext4");
                disk.put(&at(place).join("sentinel"), b"kept");
                foreign.push(at(place));
            }
        }
    }
    foreign
}

thread_local! {
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

/// The aim of 10^4 runs is met by a crash at each operation of each of these pods' teardowns, each followed by a second.
fn crash_everywhere(things: &[Thing], partial: usize) {
    for fatal in 0.. {
        RUNS.with(|runs| runs.set(runs.get() + 1));
        let disk = MemoryDisk::default();
        disk.create_dir_all(Path::new(POD)).unwrap();
        let foreign = make(&disk, things);
        let kept = |disk: &MemoryDisk| {
            let mounted = mounted(disk);
            foreign
                .iter()
                .all(|dir| mounted.contains(dir) && disk.files().contains_key(&dir.join("sentinel")))
        };
        let first = disk.changes();
        fail_from(&disk, first + fatal, partial);
        let ended = take_down(&disk);
        assert!(kept(&disk), "after {fatal} operations");
        let reached = disk.changes() > first + fatal;
        disk.set_failing(None);
        let again = take_down(&disk);
        assert!(kept(&disk), "after a second teardown");
        assert_eq!(again.is_ok(), foreign.is_empty(), "{again:?}");
        if foreign.is_empty() {
            assert!(disk.list(Path::new("/r/pods")).unwrap().is_empty() && mounted(&disk).is_empty());
        } else {
            // Whoever put it there takes it away again: then the rest goes too.
            foreign.iter().for_each(|dir| drop(disk.unmount(dir)));
            take_down(&disk).unwrap();
            assert!(disk.list(Path::new("/r/pods")).unwrap().is_empty());
        }
        if !reached {
            assert_eq!(ended.is_ok(), foreign.is_empty());
            return;
        }
    }
}

#[test]
fn a24_i7_a_crash_at_each_operation_leaves_nothing_and_takes_nothing_of_others() {
    let cases = ProptestConfig { cases: 1_800, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(cases);
    let pods = (prop::collection::vec(thing(), 0..8), 0..6_usize);
    let result = runner.run(&pods, |(mut things, partial)| {
        // One of each place: two mounts on one point are another matter.
        let mut places = Vec::new();
        things.retain(|thing| match thing {
            Thing::Foreign(place) => {
                !places.contains(place) && {
                    places.push(place);
                    true
                }
            }
            _ => true,
        });
        crash_everywhere(&things, partial);
        Ok(())
    });
    result.unwrap();
    let runs = RUNS.with(Cell::get);
    println!("{runs} runs");
    assert!(runs >= 10_000, "{runs} runs");
}
