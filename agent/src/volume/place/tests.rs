use serde_json::json;

use super::*;
use crate::disk::contents::Mounted;
use crate::disk::{Failing, MemoryDisk, RealDisk};
use crate::volume::atomic_writer::tests::payload;
use crate::volume::plan::tests::{admitted, rendered};

/// The place of volume `v` of a plugin.
pub(crate) fn place(pod: &Path, plugin: &str) -> Place {
    Place {
        pod: pod.to_owned(),
        dir: pod.join("volumes").join(plugin).join("v"),
        mark: pod.join("plugins").join(plugin).join("v/ready"),
    }
}

fn projected() -> Place {
    place(Path::new("/r/pods/u1"), "kubernetes.io~projected")
}

fn admitted_payload(token: &str) -> Payload {
    payload(&[("token", token), ("ca.crt", "CA"), ("namespace", "ns")])
}

fn volume() -> Rendered {
    rendered(admitted())
}

fn config_map() -> Rendered {
    rendered(json!({ "name": "v", "configMap": { "name": "m" } }))
}

fn wall() -> Timestamp {
    Timestamp::from_second(1_772_359_200).unwrap()
}

fn set_up(disk: &dyn Disk, place: &Place, volume: &Rendered, token: &str) -> io::Result<()> {
    make(disk, place, volume, &Owner::default())?;
    write(disk, place, volume, &admitted_payload(token), wall())
}

#[test]
fn a24_whole_after_a_crash_at_each_operation_of_a_set_up() {
    for (place, volume) in
        [(projected(), volume()), (place(Path::new("/r/pods/u1"), "kubernetes.io~configmap"), config_map())]
    {
        crash_at_each_operation(&place, &volume);
    }
}

fn crash_at_each_operation(place: &Place, volume: &Rendered) {
    let in_memory = volume.plugin.is_in_memory();
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
        let ended = set_up(&disk, place, volume, "one").is_ok();
        disk.set_failing(None);
        let whole = found(&disk, place, volume).unwrap().is_some();
        assert_eq!(whole, ended, "after {fatal} operations");
        set_up(&disk, place, volume, "one").unwrap();
        assert!(found(&disk, place, volume).unwrap().is_some());
        assert_eq!(disk.mounts(&place.dir).unwrap().len(), usize::from(in_memory));
        if ended {
            return;
        }
    }
}

#[test]
fn a32_nothing_is_written_where_no_memory_is_mounted() {
    let (disk, place, volume) = (MemoryDisk::default(), projected(), volume());
    let dir = place.dir.as_path();
    disk.create_dir_all(dir).unwrap();
    assert!(write(&disk, &place, &volume, &admitted_payload("c4nary"), wall()).is_err());
    set_up(&disk, &place, &volume, "c4nary").unwrap();
    disk.unmount(dir).unwrap();
    assert!(write(&disk, &place, &volume, &admitted_payload("c4nary"), wall()).is_err());
    assert!(disk.contents(Path::new("/r")).unwrap().values().all(|node| !matches!(node, Node::File(..))));
}

#[test]
fn a_volume_that_lacks_a_name_or_a_file_is_not_whole() {
    let (disk, place, volume) = (MemoryDisk::default(), projected(), volume());
    let dir = place.dir.as_path();
    set_up(&disk, &place, &volume, "one").unwrap();
    assert!(found(&disk, &place, &volume).unwrap().is_some());
    disk.change(dir, &Change::Remove("token".into())).unwrap();
    assert!(found(&disk, &place, &volume).unwrap().is_none());
    set_up(&disk, &place, &volume, "one").unwrap();
    let version = current(&disk.contents(dir).unwrap()).unwrap().to_owned();
    disk.change(dir, &Change::Remove(version.join("ca.crt"))).unwrap();
    assert!(found(&disk, &place, &volume).unwrap().is_none());
}

/// Unmounts at the end of a test, whatever came of it.
pub(crate) struct Unmounted(pub(crate) PathBuf);

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
    let (place, volume) = (place(&root.path().join("pods/u1"), "kubernetes.io~projected"), volume());
    let dir = place.dir.clone();
    let owner = Owner { user: Some(5), group: Some(7) };
    if let Err(error) = make(&RealDisk, &place, &volume, &owner) {
        assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot mount: {error}");
        println!("SKIPPED: needs root and the right to mount: {error}");
        return;
    }
    let _end = Unmounted(dir.clone());
    make(&RealDisk, &place, &volume, &owner).unwrap();
    assert_eq!(
        RealDisk.mounts(root.path()).unwrap(),
        [Mounted { path: dir.clone(), kind: "tmpfs".into(), inner: false }]
    );
    let mut payload = admitted_payload("one");
    payload.directory = owner.directory();
    payload.files.get_mut(Path::new("token")).unwrap().attributes = owner.token(0o644);
    write(&RealDisk, &place, &volume, &payload, wall()).unwrap();
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
        write(&RealDisk, &place, &volume, &payload, wall()).unwrap();
        let seen = RealDisk.contents(&dir).unwrap();
        let changes = plan(&seen, &next, &fresh_name(&seen, wall()));
        changes.iter().take(killed).for_each(|change| RealDisk.change(&dir, change).unwrap());
        let read = std::fs::read_to_string(dir.join("token")).unwrap();
        assert!(read == "one" || read == "two", "{read}");
        write(&RealDisk, &place, &volume, &next, wall()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("token")).unwrap(), "two");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 5);
        assert!(found(&RealDisk, &place, &volume).unwrap().is_some());
    }
    assert_eq!(RealDisk.remove_tree(root.path()).unwrap_err().kind(), io::ErrorKind::CrossesDevices);
    crate::volume::tear_down::unmount(&RealDisk, &root.path().join("pods/u1")).unwrap();
    assert!(!dir.exists() && RealDisk.mounts(root.path()).unwrap().is_empty());
}

#[test]
fn one_on_the_disk_is_believed_only_if_every_byte_is_there() {
    let (disk, place) = (MemoryDisk::default(), place(Path::new("/r/pods/u1"), "kubernetes.io~configmap"));
    let volume = config_map();
    set_up(&disk, &place, &volume, "one").unwrap();
    let version = current(&disk.contents(&place.dir).unwrap()).unwrap().to_owned();
    assert!(found(&disk, &place, &volume).unwrap().is_some());
    let changes = disk.changes();
    write(&disk, &place, &volume, &admitted_payload("one"), wall()).unwrap();
    assert_eq!(disk.changes(), changes, "the same again changes nothing");
    // As a power cut may leave a file whose bytes were not on the device.
    disk.put(&place.dir.join(&version).join("ca.crt"), b"");
    assert!(found(&disk, &place, &volume).unwrap().is_none());
    set_up(&disk, &place, &volume, "one").unwrap();
    assert!(found(&disk, &place, &volume).unwrap().is_some());
    disk.remove_file(&place.mark).unwrap();
    assert!(found(&disk, &place, &volume).unwrap().is_none());
}

#[test]
fn one_on_the_disk_of_this_machine_has_its_modes_and_group() {
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().unwrap();
    let place = place(&root.path().join("pods/u1"), "kubernetes.io~configmap");
    let volume = config_map();
    set_up(&RealDisk, &place, &volume, "one").unwrap_or_else(|error| {
        assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot write: {error}");
    });
    let top = std::fs::metadata(&place.dir).unwrap();
    assert_eq!(top.mode() & 0o7777, 0o755);
    assert!(RealDisk.mounts(root.path()).unwrap().is_empty());
    RealDisk.remove_tree(&place.pod).unwrap();
    assert!(!place.pod.exists());
}
