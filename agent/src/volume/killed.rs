//! Volumes and teardowns on this machine's own file systems, by a process that dies at each of its system calls. Needs
//! root. An ordinary run plays a sample of the calls, `PINNACE_TEST_ALL=1` all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use pinnace_cri::id::PodUid;
use serde_json::{Value, json};

use crate::disk::contents::{Attributes, SubPath, Tmpfs};
use crate::disk::{Disk, RealDisk};
use crate::pod::paths::Dirs;
use crate::pod::traces;
use crate::volume::atomic_writer::tests::payload;
use crate::volume::owner::Owner;
use crate::volume::payload::Payload;
use crate::volume::place::{self, Place, tests::Unmounted};
use crate::volume::plan::tests::{admitted, rendered};
use crate::volume::tear_down;

mod victim;

/// The test that is the process that dies.
const VICTIM: &str = "volume::killed::the_victim";
/// Deaths of an ordinary run, for each kind of volume and for the teardown.
const SAMPLE: u64 = 24;
/// Teardowns of the whole version (#29).
const TEARDOWNS: u64 = 10_000;

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn is_whole_version() -> bool {
    std::env::var_os("PINNACE_TEST_ALL").is_some()
}

/// Whether this process may mount, or a reason to skip.
fn may_mount() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    assert!(root || std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "needs root");
    if !root {
        println!("SKIPPED: needs root and the right to mount");
    }
    root
}

/// Not a test by itself.
#[test]
fn the_victim() {
    victim::obey(|task| {
        let (what, rest) = task.split_once(' ').expect("a task");
        match what {
            // One with somebody else's mount in it fails in the end, as it should.
            "tear-down" => drop(take_down(Path::new(rest))),
            kind => {
                let (version, root) = rest.split_once(' ').expect("a version and a directory");
                let version = version.parse().expect("a number");
                Subject::new(kind, Path::new(root)).set_up(version).expect("a set-up");
            }
        }
    });
}

/// A volume whose next version is written by a process that dies.
struct Subject {
    kind: &'static str,
    place: Place,
    volume: crate::volume::plan::Rendered,
}

impl Subject {
    fn new(kind: &str, root: &Path) -> Self {
        let down = json!({ "items": [{ "path": "token", "fieldRef": { "fieldPath": "metadata.name" } }] });
        let (kind, plugin, volume): (_, _, Value) = match kind {
            "configMap" => {
                ("configMap", "kubernetes.io~configmap", json!({ "name": "v", "configMap": { "name": "m" } }))
            }
            "secret" => {
                ("secret", "kubernetes.io~secret", json!({ "name": "v", "secret": { "secretName": "s" } }))
            }
            "downwardAPI" => {
                ("downwardAPI", "kubernetes.io~downward-api", json!({ "name": "v", "downwardAPI": down }))
            }
            _ => ("projected", "kubernetes.io~projected", admitted()),
        };
        Self { kind, place: place::tests::place(&root.join("pods/u1"), plugin), volume: rendered(volume) }
    }

    /// What a set-up and an update both do.
    fn set_up(&self, version: u64) -> io::Result<()> {
        place::make(&RealDisk, &self.place, &self.volume, &Owner::default())?;
        let wall = Timestamp::from_second(1_772_359_200).expect("a time");
        place::write(&RealDisk, &self.place, &self.volume, &of_version(version), wall)
    }

    /// The whole version that is in use; none where there is none.
    fn in_use(&self) -> Option<Files> {
        let top = self.place.dir.join("..data");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(&top, flags, Mode::empty()).ok()?;
        let top = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        Some(files_in(&top))
    }

    /// What containers reach by the names that they know; a name that leads nowhere has no bytes.
    fn by_name(&self) -> Files {
        let entries = fs::read_dir(&self.place.dir).expect("a volume").map(|entry| entry.expect("an entry"));
        let shown = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".."));
        let mut all = Files::new();
        for path in shown.map(|entry| entry.path()) {
            let name = PathBuf::from(path.file_name().expect("a name"));
            if path.is_dir() {
                all.extend(files_in(&path).into_iter().map(|(inner, bytes)| (name.join(inner), bytes)));
            } else {
                all.insert(name, fs::read(&path).unwrap_or_default());
            }
        }
        all
    }

    /// Complete, equal to what is wanted, and nothing else left.
    fn assert_whole(&self, version: u64, when: &str) {
        let wanted = files_of(version);
        assert_eq!(self.by_name(), wanted, "{} {when}: by name", self.kind);
        assert_eq!(self.in_use(), Some(wanted), "{} {when}", self.kind);
        let names =
            fs::read_dir(&self.place.dir).expect("a volume").map(|entry| entry.expect("one").file_name());
        let own: BTreeSet<_> = names.filter(|name| name.as_encoded_bytes().starts_with(b"..")).collect();
        assert_eq!(own.len(), 2, "{} {when}: {own:?}", self.kind);
        let found = place::found(&RealDisk, &self.place, &self.volume).expect("a volume");
        assert!(found.is_some(), "{} {when}: not found again", self.kind);
    }
}

/// Files whose bytes are all the version's number; one of them is in every second version only.
fn of_version(version: u64) -> Payload {
    let text = version.to_string();
    let sometimes = if version.is_multiple_of(2) { "gone" } else { "d/e" };
    payload(&[("token", &text), ("ca.crt", &text), ("namespace", &text), (sometimes, &text)])
}

fn files_of(version: u64) -> Files {
    let wanted = of_version(version).files;
    wanted.into_iter().map(|(path, file)| (path, file.bytes.bytes().to_vec())).collect()
}

/// Regular files below a directory; those that vanish meanwhile are left out.
fn files_in(top: &Path) -> Files {
    let (mut all, mut ahead) = (Files::new(), vec![top.to_owned()]);
    while let Some(dir) = ahead.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                ahead.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                all.insert(path.strip_prefix(top).expect("below it").to_owned(), bytes);
            }
        }
    }
    all
}

/// Reads while others write: never two versions in one, never half a file. How often it saw something.
fn read_until(over: &AtomicBool, subject: &Subject) -> u64 {
    let mut seen = 0;
    while !over.load(Ordering::Relaxed) {
        std::thread::yield_now();
        let Some(files) = subject.in_use() else { continue };
        let versions: BTreeSet<_> = files.values().collect();
        assert!(versions.len() <= 1, "{}: a mix of {files:?}", subject.kind);
        assert!(files.values().all(|bytes| !bytes.is_empty()), "{}: a file cut short", subject.kind);
        // A name leads through two links, so that a version may go on the way; the next look finds its successor.
        let named = (0..100).find_map(|_| fs::read(subject.place.dir.join("token")).ok());
        assert!(named.is_some_and(|bytes| !bytes.is_empty()), "{}: no file of its name", subject.kind);
        seen += u64::from(!files.is_empty());
    }
    seen
}

/// Which of so many calls are fatal in this run. The first is the wait for the parent.
fn fatal_calls(calls: u64, offset: u64) -> impl Iterator<Item = u64> {
    let step = if is_whole_version() { 1 } else { calls.div_ceil(SAMPLE).max(1) };
    (1 + offset % step..calls).step_by(usize::try_from(step).expect("a small number"))
}

fn dies_at_each_call(kind: &str, offset: u64) {
    if !may_mount() {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let subject = Subject::new(kind, root.path());
    let _end = Unmounted(subject.place.dir.clone());
    let write = |version: u64, fatal| {
        victim::run(VICTIM, &format!("{kind} {version} {}", root.path().display()), fatal)
    };
    let mut deaths = 0;
    // The first version, made from nothing.
    let clear = || {
        tear_down::unmount(&RealDisk, &subject.place.pod).expect("no mounts");
        RealDisk.remove_tree(&subject.place.pod).expect("no pod");
    };
    let first = write(1, None);
    subject.assert_whole(1, "undisturbed");
    for fatal in fatal_calls(first.calls, offset) {
        clear();
        deaths += u64::from(!write(1, Some(fatal)).finished);
        let found = place::found(&RealDisk, &subject.place, &subject.volume).expect("a volume");
        assert!(
            found.is_none() || subject.by_name() == files_of(1),
            "{kind}: taken for whole after {fatal} calls"
        );
        subject.set_up(1).expect("the next set-up");
        subject.assert_whole(1, &format!("set up again after {fatal} calls"));
    }
    // Updates of it.
    let over = AtomicBool::new(false);
    let (seen, updated) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_until(&over, &subject));
        let end = Over(&over);
        let update = write(2, None);
        subject.assert_whole(2, "undisturbed");
        let (mut version, mut updated) = (2, 0);
        for fatal in fatal_calls(update.calls, offset) {
            updated += u64::from(!write(version + 1, Some(fatal)).finished);
            let left = subject.in_use().expect("a version in use");
            assert!(
                left == files_of(version) || left == files_of(version + 1),
                "{kind} after {fatal} calls: {left:?}"
            );
            version += 1;
            subject.set_up(version).expect("the next update");
            subject.assert_whole(version, &format!("updated again after {fatal} calls"));
        }
        drop(end);
        (reader.join().expect("a reader"), updated)
    });
    assert!(deaths > 10 && updated > 10 && seen > 100, "{deaths} and {updated} deaths, {seen} versions read");
    println!(
        "A24 {kind}: {deaths} deaths within {} calls of a set-up, {updated} within those of updates; {seen} versions read",
        first.calls
    );
}

/// Lets readers end, also if the writer fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a24_a_config_map_is_whole_after_a_death_at_each_call() {
    dies_at_each_call("configMap", 0);
}

#[test]
fn a24_a_secret_is_whole_after_a_death_at_each_call() {
    dies_at_each_call("secret", 1);
}

#[test]
fn a24_a_downward_api_volume_is_whole_after_a_death_at_each_call() {
    dies_at_each_call("downwardAPI", 2);
}

#[test]
fn a24_a_projected_volume_is_whole_after_a_death_at_each_call() {
    dies_at_each_call("projected", 3);
}

fn dirs(root: &Path) -> Dirs {
    Dirs { root: root.join("root"), pod_logs: root.join("logs"), container_logs: None }
}

fn uid() -> PodUid {
    PodUid::new("u1").expect("a UID")
}

/// Both steps of a teardown that concern the disk, in their order.
fn take_down(root: &Path) -> io::Result<()> {
    let dirs = dirs(root);
    tear_down::unmount(&RealDisk, &dirs.pod(&uid()))?;
    traces::remove(&RealDisk, &dirs, &uid())
}

/// A pod with a volume of each kind and parts of them, and of the host's directory.
fn make_pod(root: &Path, sentinel: &Path) -> io::Result<()> {
    let dirs = dirs(root);
    let pod = dirs.pod(&uid());
    for plugin in ["kubernetes.io~secret", "kubernetes.io~projected", "kubernetes.io~empty-dir"] {
        let dir = pod.join("volumes").join(plugin).join("memory");
        fs::create_dir_all(&dir)?;
        let top = Attributes { mode: 0o755, uid: None, gid: None };
        RealDisk.mount_tmpfs(&dir, &Tmpfs { size: 1 << 20, top, hardened: false })?;
        fs::write(dir.join("token"), "x")?;
    }
    let data = pod.join("volumes/kubernetes.io~empty-dir/disk");
    fs::create_dir_all(data.join("a/b"))?;
    fs::write(data.join("a/b/file"), "x")?;
    std::os::unix::fs::symlink(sentinel, data.join("a/link"))?;
    for (number, (volume, inner)) in [(data.as_path(), "a/b"), (sentinel, "inner")].into_iter().enumerate() {
        let target = pod.join(format!("volume-subpaths/v/c/{number}"));
        let part = SubPath { volume: volume.to_owned(), inner: inner.into(), target };
        RealDisk.bind_sub_path(&part).map_err(io::Error::other)?;
    }
    let logs = root.join("logs/ns_web_u1/c");
    fs::create_dir_all(&logs)?;
    fs::write(logs.join("0.log"), "x")
}

/// The sentinel's own files, whatever is mounted where.
fn is_kept(sentinel: &Path) -> bool {
    let read = |path: &str| fs::read_to_string(sentinel.join(path)).ok();
    read("sentinel").as_deref() == Some("kept") && read("inner/sentinel").as_deref() == Some("kept")
}

/// Nothing of the pod is left, not even a directory.
fn is_gone(root: &Path) -> bool {
    let entries = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    let mounts = RealDisk.mounts(root).expect("mounts");
    mounts.is_empty() && entries(&root.join("root/pods")) == 0 && entries(&root.join("logs")) == 0
}

/// A directory of the host's is shown in the pod by the agent, as a part of a volume, and in every second one also by
/// somebody else, in the middle of a volume. No teardown and no death in one ever takes a file of it.
#[test]
fn a24_a25_i7_a_death_at_each_call_of_a_teardown_leaves_nothing_and_takes_nothing_of_others() {
    if !may_mount() {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let outside = tempfile::tempdir().expect("another");
    let sentinel = outside.path();
    fs::create_dir(sentinel.join("inner")).expect("a directory");
    for file in ["sentinel", "inner/sentinel"] {
        fs::write(sentinel.join(file), "kept").expect("a sentinel");
    }
    let _end = Unmounted(root.path().to_owned());
    let foreign = dirs(root.path()).pod(&uid()).join("volumes/kubernetes.io~empty-dir/disk/a/foreign");
    let make = |with_foreign: bool| {
        make_pod(root.path(), sentinel).expect("a pod");
        if with_foreign {
            fs::create_dir(&foreign).expect("a mount point");
            let none = None::<&str>;
            mount(Some(sentinel), &foreign, none, MsFlags::MS_BIND, none).expect("a bind mount");
        }
    };
    let task = format!("tear-down {}", root.path().display());
    make(false);
    let calls = victim::run(VICTIM, &task, None).calls;
    assert!(is_gone(root.path()) && is_kept(sentinel));
    let wanted = if is_whole_version() { TEARDOWNS } else { 3 * SAMPLE };
    let (mut runs, mut deaths) = (0, 0);
    while runs < wanted {
        for fatal in fatal_calls(calls, runs) {
            let with_foreign = runs % 2 == 1;
            make(with_foreign);
            deaths += u64::from(!victim::run(VICTIM, &task, Some(fatal)).finished);
            if with_foreign {
                assert!(is_kept(sentinel) && is_kept(&foreign), "after {fatal} calls");
                assert!(take_down(root.path()).is_err(), "somebody else's mount is there");
                assert!(is_kept(sentinel) && is_kept(&foreign), "after a second teardown");
                RealDisk.unmount(&foreign).expect("whoever put it there takes it away");
            }
            assert!(is_kept(sentinel), "after {fatal} calls");
            take_down(root.path()).expect("the next teardown");
            assert!(is_gone(root.path()), "left after {fatal} calls");
            assert!(is_kept(sentinel), "after the next teardown, {fatal} calls");
            runs += 1;
        }
    }
    assert!(deaths > runs / 2, "{deaths} deaths in {runs} runs");
    println!(
        "#29: {runs} teardowns (whole: {TEARDOWNS}), {deaths} deaths within {calls} calls; 0 left, 0 taken"
    );
}
