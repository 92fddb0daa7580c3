//! Where a projected volume lies: a file system in memory of its own, mounted once, found again after a restart, and
//! written to in whole versions. What may be a secret goes nowhere else (A32). All functions block.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::disk::Disk;
use crate::disk::contents::{Attributes, Change, Contents, Node, Tmpfs};
use crate::volume::atomic_writer::{DATA, current, fresh_name, plan};
use crate::volume::owner::Owner;
use crate::volume::payload::Payload;
use crate::volume::plan::Projected;

/// Most bytes of one volume. An object of the API has at most 1.5 MiB and a file takes at least a page, so this holds
/// two versions of any sensible volume; nothing is taken before it is written.
const SIZE: u64 = 64 << 20;

/// Directories between a pod's own and its files: `volumes`, the plugin, the volume.
const LEVELS: usize = 3;
/// Their mode, before the volume covers the last.
const DIRECTORY_MODE: u32 = 0o750;

/// Sees that a file system in memory is mounted at `dir`.
pub(super) fn mount(disk: &dyn Disk, dir: &Path, owner: &Owner) -> io::Result<()> {
    if is_mounted(disk, dir)? {
        return Ok(());
    }
    make(disk, dir)?;
    disk.mount_tmpfs(dir, &Tmpfs { size: SIZE, top: owner.directory() })
}

/// Makes the mount point, below the pod's directory. Not forced to the device, which the start of a pod would have to
/// wait for: after a power cut it is made again.
fn make(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut above: Vec<&Path> = dir.ancestors().take(LEVELS.saturating_add(1)).collect();
    let Some(pod) = above.pop() else { return Err(io::ErrorKind::InvalidInput.into()) };
    disk.create_dir_all(pod)?;
    for path in above.into_iter().rev() {
        let inner = path.strip_prefix(pod).map_err(io::Error::other)?;
        match disk.change(pod, &Change::MakeDirectory(inner.to_owned(), Attributes::mode(DIRECTORY_MODE))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
    }
    Ok(())
}

/// Whether the volume's file system is there; something else in its place is an error.
fn is_mounted(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    let mounts = disk.mounts(dir)?;
    match mounts.iter().rfind(|mount| mount.path == dir) {
        None => Ok(false),
        Some(mount) if mount.kind == "tmpfs" => Ok(true),
        Some(mount) => {
            Err(io::Error::other(format!("{} is a mount of {}, not tmpfs", dir.display(), mount.kind)))
        }
    }
}

/// Writes what is not there yet. Refuses where no file system in memory is mounted.
pub(super) fn write(disk: &dyn Disk, dir: &Path, payload: &Payload, wall: Timestamp) -> io::Result<()> {
    if !is_mounted(disk, dir)? {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not mounted", dir.display())));
    }
    let seen = disk.contents(dir)?;
    let changes = plan(&seen, payload, &fresh_name(&seen, wall));
    changes.iter().try_for_each(|change| disk.change(dir, change))
}

/// What an earlier run left, if the volume is there and whole.
pub(super) fn found(disk: &dyn Disk, dir: &Path, volume: &Projected) -> io::Result<Option<Contents>> {
    if !is_mounted(disk, dir)? {
        return Ok(None);
    }
    let contents = disk.contents(dir)?;
    Ok(is_whole(&contents, volume).then_some(contents))
}

/// Whether a version is in use that has every file that is certain, with a name for each that containers can open.
fn is_whole(contents: &Contents, volume: &Projected) -> bool {
    let Some(version) = current(contents) else { return false };
    let has = |path: &Path| matches!(contents.get(&version.join(path)), Some(Node::File(..)));
    let tops =
        contents.keys().filter(|path| path.parent() == Some(version)).filter_map(|path| path.file_name());
    let named = |name: &std::ffi::OsStr| {
        let leads = |target: &Path| *target == *Path::new(DATA).join(name);
        matches!(contents.get(Path::new(name)), Some(Node::Link(target)) if leads(target))
    };
    volume.certain_files().all(|path| has(path)) && tops.into_iter().all(named)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::disk::contents::Mounted;
    use crate::disk::{Failing, MemoryDisk, RealDisk};
    use crate::volume::atomic_writer::tests::payload;
    use crate::volume::plan::tests::{admitted, pod_with};
    use crate::volume::plan::volumes;

    const DIR: &str = "/r/pods/u1/volumes/kubernetes.io~projected/v";

    fn admitted_payload(token: &str) -> Payload {
        payload(&[("token", token), ("ca.crt", "CA"), ("namespace", "ns")])
    }

    fn volume() -> Projected {
        volumes(&pod_with(json!([admitted()]))).unwrap().remove(0)
    }

    fn wall() -> Timestamp {
        Timestamp::from_second(1_772_359_200).unwrap()
    }

    fn set_up(disk: &dyn Disk, dir: &Path, token: &str) -> io::Result<()> {
        mount(disk, dir, &Owner::default())?;
        write(disk, dir, &admitted_payload(token), wall())
    }

    #[test]
    fn a24_whole_after_a_crash_at_each_operation_of_a_set_up() {
        let dir = Path::new(DIR);
        for fatal in 0.. {
            let disk = MemoryDisk::default();
            let failing = |from| Failing {
                from,
                calls: u64::MAX,
                kind: io::ErrorKind::Other,
                partial: 1,
                after_rename: false,
            };
            disk.set_failing(Some(failing(fatal)));
            let ended = set_up(&disk, dir, "one").is_ok();
            disk.set_failing(None);
            let whole = found(&disk, dir, &volume()).unwrap().is_some();
            assert_eq!(whole, ended, "after {fatal} operations");
            set_up(&disk, dir, "one").unwrap();
            assert!(found(&disk, dir, &volume()).unwrap().is_some());
            assert_eq!(disk.mounts(dir).unwrap().len(), 1);
            if ended {
                return;
            }
        }
    }

    #[test]
    fn a32_nothing_is_written_where_no_memory_is_mounted() {
        let (disk, dir) = (MemoryDisk::default(), Path::new(DIR));
        disk.create_dir_all(dir).unwrap();
        assert!(write(&disk, dir, &admitted_payload("c4nary"), wall()).is_err());
        set_up(&disk, dir, "c4nary").unwrap();
        disk.unmount(dir).unwrap();
        assert!(write(&disk, dir, &admitted_payload("c4nary"), wall()).is_err());
        assert!(disk.contents(Path::new("/r")).unwrap().values().all(|node| !matches!(node, Node::File(..))));
    }

    #[test]
    fn a_volume_that_lacks_a_name_or_a_file_is_not_whole() {
        let (disk, dir) = (MemoryDisk::default(), Path::new(DIR));
        set_up(&disk, dir, "one").unwrap();
        assert!(found(&disk, dir, &volume()).unwrap().is_some());
        disk.change(dir, &Change::Remove("token".into())).unwrap();
        assert!(found(&disk, dir, &volume()).unwrap().is_none());
        set_up(&disk, dir, "one").unwrap();
        let version = current(&disk.contents(dir).unwrap()).unwrap().to_owned();
        disk.change(dir, &Change::Remove(version.join("ca.crt"))).unwrap();
        assert!(found(&disk, dir, &volume()).unwrap().is_none());
    }

    /// Unmounts at the end of a test, whatever came of it.
    struct Unmounted(PathBuf);

    impl Drop for Unmounted {
        fn drop(&mut self) {
            while RealDisk.mounts(&self.0).is_ok_and(|mounts| !mounts.is_empty())
                && RealDisk.unmount(&self.0).is_ok()
            {}
        }
    }

    #[test]
    fn a24_a33_on_a_real_file_system_in_memory() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("pods/u1/volumes/kubernetes.io~projected/v");
        let owner = Owner { user: Some(5), group: Some(7) };
        if let Err(error) = mount(&RealDisk, &dir, &owner) {
            assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot mount: {error}");
            println!("SKIPPED: needs root and the right to mount: {error}");
            return;
        }
        let _end = Unmounted(dir.clone());
        mount(&RealDisk, &dir, &owner).unwrap();
        assert_eq!(
            RealDisk.mounts(root.path()).unwrap(),
            [Mounted { path: dir.clone(), kind: "tmpfs".into(), inner: false }]
        );
        let mut payload = admitted_payload("one");
        payload.directory = owner.directory();
        payload.files.get_mut(Path::new("token")).unwrap().attributes = owner.token(0o644);
        write(&RealDisk, &dir, &payload, wall()).unwrap();
        let token = std::fs::metadata(dir.join("token")).unwrap();
        assert_eq!((token.permissions().mode() & 0o7777, token.uid(), token.gid()), (0o640, 5, 7));
        let top = std::fs::metadata(&dir).unwrap();
        assert_eq!((top.permissions().mode() & 0o7777, top.gid()), (0o2755, 7));
        assert_eq!(std::fs::read_to_string(dir.join("ca.crt")).unwrap(), "CA");
        // Killed after each change of an update, and once more after the next one.
        let mut next = payload.clone();
        next.files.get_mut(Path::new("token")).unwrap().bytes = "two".into();
        let seen = RealDisk.contents(&dir).unwrap();
        let steps = plan(&seen, &next, &fresh_name(&seen, wall())).len();
        for killed in 0..=steps {
            write(&RealDisk, &dir, &payload, wall()).unwrap();
            let seen = RealDisk.contents(&dir).unwrap();
            let changes = plan(&seen, &next, &fresh_name(&seen, wall()));
            changes.iter().take(killed).for_each(|change| RealDisk.change(&dir, change).unwrap());
            let read = std::fs::read_to_string(dir.join("token")).unwrap();
            assert!(read == "one" || read == "two", "{read}");
            write(&RealDisk, &dir, &next, wall()).unwrap();
            assert_eq!(std::fs::read_to_string(dir.join("token")).unwrap(), "two");
            assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 5);
            assert!(found(&RealDisk, &dir, &volume()).unwrap().is_some());
        }
        assert_eq!(RealDisk.remove_tree(root.path()).unwrap_err().kind(), io::ErrorKind::CrossesDevices);
        crate::volume::tear_down::unmount(&RealDisk, &root.path().join("pods/u1")).unwrap();
        assert!(!dir.exists() && RealDisk.mounts(root.path()).unwrap().is_empty());
    }
}
