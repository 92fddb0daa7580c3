//! What others have put in a pod's place: mounts that nobody may touch, file systems that do not answer, what an
//! earlier life left.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use crate::manifest::{WAIT, main, pod, waiter};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

/// A mount of this test's; taken off in the end.
pub(crate) struct Mounted {
    /// Where.
    pub(crate) point: PathBuf,
    /// What a FUSE file system would be served by.
    device: Option<File>,
}

impl Mounted {
    /// A directory shown at another place.
    fn bind(source: &Path, point: &Path) -> Self {
        fs::create_dir_all(point).expect("a mount point");
        let none = None::<&str>;
        mount(Some(source), point, none, MsFlags::MS_BIND, none).expect("a bind mount");
        Self { point: point.to_owned(), device: None }
    }

    /// A directory as a mount that shares what is mounted in it.
    fn shared(dir: &Path) -> Self {
        let mounted = Self::bind(dir, dir);
        let none = None::<&str>;
        mount(none, dir, none, MsFlags::MS_SHARED, none).expect("a shared mount");
        mounted
    }

    /// FUSE whose process never answers.
    pub(crate) fn hung(point: &Path) -> Self {
        fs::create_dir_all(point).expect("a mount point");
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("FUSE");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let kind = Some("fuse.hung");
        mount(Some("hung"), point, kind, MsFlags::empty(), Some(options.as_str())).expect("a FUSE mount");
        Self { point: point.to_owned(), device: Some(device) }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.device = None;
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
    }
}

/// A directory with a file that nobody may lose.
fn sentinel(dir: &Path) -> PathBuf {
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("sentinel"), "kept").expect("a sentinel");
    dir.to_owned()
}

fn is_whole(sentinel: &Path) -> bool {
    fs::read_to_string(sentinel.join("sentinel")).is_ok_and(|text| text == "kept")
}

fn with_empty_dir(name: &str) -> Value {
    let mut pod = pod(name, "Always", &format!("echo x > /m/x; {WAIT}"));
    pod["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
    main(&mut pod)["volumeMounts"] = json!([{ "name": "v", "mountPath": "/m" }]);
    pod
}

pub(crate) fn a25_a_foreign_mount_is_told_and_never_entered(runtime: &Runtime) {
    let node = Node::start(runtime);
    let outside = tempfile::tempdir().expect("a directory");
    let sentinel = sentinel(&outside.path().join("data"));
    node.put(&with_empty_dir("host"));
    let uid = node.until_running("host").uid;
    let dir = node.root().join("pods").join(&uid);
    let foreign = Mounted::bind(&sentinel, &dir.join("volumes/kubernetes.io~empty-dir/v/in"));
    node.remove("host");
    node.until("the mount is told", SOON, |node| {
        node.problems()
            .iter()
            .any(|problem| problem.contains("cannot be removed") && problem.contains("/v/in"))
    });
    assert!(is_whole(&sentinel) && dir.exists());
    // Nobody else waits for it.
    node.put(&waiter("other"));
    node.until_running("other");
    node.remove("other");
    node.until_gone("other");
    drop(foreign);
    node.until_gone("host");
    assert!(is_whole(&sentinel) && !dir.exists());
    assert!(node.problems().is_empty(), "{:?}", node.problems());
}

/// Directories of pods that nobody knows, in every state that a kubelet or an earlier life may have left.
pub(crate) fn a25_b79_orphans_go_and_what_is_not_theirs_stays(runtime: &Runtime) {
    let mut node = Node::start(runtime);
    node.put(&waiter("stayer"));
    let stays = node.until_running("stayer").uid;
    node.kill();
    let outside = tempfile::tempdir().expect("a directory");
    let sentinel = sentinel(&outside.path().join("data"));
    let pods = node.root().join("pods");
    let orphan = |number: usize| pods.join(format!("0d2f1c3e-5b6a-4c7d-8e9f-{number:012}"));
    // As after a reboot: files, no mounts.
    for number in 0..20 {
        fs::create_dir_all(orphan(number).join("volumes/kubernetes.io~empty-dir/v/deep")).expect("a volume");
        fs::write(orphan(number).join("volumes/kubernetes.io~empty-dir/v/deep/x"), "x").expect("a file");
    }
    fs::create_dir_all(orphan(20)).expect("a pod without volumes");
    fs::create_dir_all(orphan(21)).expect("a pod");
    fs::write(orphan(21).join("volumes"), "no directory").expect("a file in the place of a directory");
    // As after a crash: a volume in memory, a part of a volume of the host, a part of one that is dead.
    let memory = orphan(22).join("volumes/kubernetes.io~secret/s");
    fs::create_dir_all(&memory).expect("a mount point");
    mount(Some("tmpfs"), &memory, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a tmpfs");
    fs::write(memory.join("token"), "secret").expect("a secret");
    let part = Mounted::bind(&sentinel, &orphan(22).join("volume-subpaths/v/main/0"));
    let hung = Mounted::hung(&outside.path().join("hung"));
    let dead = Mounted::bind(&hung.point, &orphan(23).join("volume-subpaths/v/main/0"));
    // Somebody else's.
    let foreign = Mounted::bind(&sentinel, &orphan(24).join("volumes/kubernetes.io~nfs/n"));
    node.launch();
    let left = |node: &Node| {
        let entries = fs::read_dir(node.root().join("pods")).expect("pods").filter_map(Result::ok);
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().expect("a name")).collect();
        names.sort();
        names
    };
    let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut wanted = vec![name(orphan(24)), stays];
    wanted.sort();
    node.until("the orphans are gone", SOON, |node| left(node) == wanted);
    assert!(is_whole(&sentinel), "nothing behind a mount was touched");
    node.until("what stays is told", SOON, |node| {
        node.problems().iter().any(|problem| problem.contains("kubernetes.io~nfs/n"))
    });
    drop((foreign, part, dead));
    node.until("the last orphan is gone", SOON, |node| left(node).len() == 1);
    assert!(is_whole(&sentinel));
    node.until_running("stayer");
}

/// What the runtime mounts in a volume that a container shares with the node stays there when the container is gone.
pub(crate) fn a35_a_message_file_in_a_shared_volume_goes_with_its_pod(runtime: &Runtime) {
    let node = Node::start(runtime);
    let _shared = Mounted::shared(&node.root());
    let mut talker = with_empty_dir("talker");
    talker["spec"]["restartPolicy"] = "Never".into();
    let container = main(&mut talker);
    container["command"] = json!(["sh", "-c", "echo -n last words > /m/message"]);
    container["terminationMessagePath"] = "/m/message".into();
    container["securityContext"] = json!({ "privileged": true });
    container["volumeMounts"][0]["mountPropagation"] = "Bidirectional".into();
    node.put(&talker);
    let ended = node.until_main("talker", "has ended", |main| main.state == "Terminated");
    assert_eq!(ended.message, "last words");
    let dir = node.root().join("pods").join(node.pod("talker").expect("it is shown").uid);
    // Not every runtime leaves it behind: here it is for certain.
    let messages = fs::read_dir(dir.join("containers/main")).expect("messages");
    let message = messages.map(|entry| entry.expect("an entry").path()).next().expect("a message");
    let left = dir.join("volumes/kubernetes.io~empty-dir/v/left");
    fs::write(&left, "").expect("a mount point");
    let none = None::<&str>;
    mount(Some(&message), &left, none, MsFlags::MS_BIND, none).expect("a bind mount");
    node.remove("talker");
    node.until_gone("talker");
    assert!(!dir.exists());
}
