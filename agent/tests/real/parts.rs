//! Parts of volumes, and volumes that are images.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value, json};

use crate::manifest::{IMAGE, WAIT, container, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;
use crate::say;
use crate::traces::Traces;

/// Containers of one pod that race.
const RACERS: usize = 10;

fn volumes(pod: &mut Value, volumes: &Value) {
    pod["spec"]["volumes"] = volumes.clone();
}

fn mounts(pod: &mut Value, mounts: Value) {
    main(pod)["volumeMounts"] = mounts;
}

/// Mount points of this machine under a directory.
fn mounted(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(dir)).map(str::to_owned).collect()
}

pub(crate) fn parts_of_volumes_are_shown_as_the_spec_asks(runtime: &Runtime) {
    let node = Node::start(runtime);
    let host = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(host.path().join("sub/dir")).expect("directories");
    fs::write(host.path().join("sub/file"), "one\n").expect("a file");
    let volume = json!([
        { "name": "host", "hostPath": { "path": host.path() } }, { "name": "empty", "emptyDir": {} },
    ]);

    let script = format!(
        "cat /m/file; echo mine > /m/own/x; stat -c %a /m/own; (echo y > /m/read-only/y) 2>/dev/null || echo refused; {WAIT}"
    );
    let mut parts = pod("parts", "Always", &script);
    volumes(&mut parts, &volume);
    main(&mut parts)["env"] = json!([{ "name": "WHO", "value": "web" }]);
    mounts(
        &mut parts,
        json!([
            { "name": "host", "mountPath": "/m/file", "subPath": "sub/file" },
            { "name": "empty", "mountPath": "/m/own", "subPathExpr": "logs/$(WHO)" },
            { "name": "host", "mountPath": "/m/read-only", "subPath": "sub/dir", "readOnly": true },
        ]),
    );
    node.put(&parts);
    let view = node.until_running("parts");
    node.until("its log", SOON, |node| node.logs(&["parts"]).ends_with("refused\n"));
    let log = node.logs(&["parts"]);
    assert!(log.starts_with("one\n777\n"), "{log}");
    let dir = node.root().join("pods").join(&view.uid);
    let own = dir.join("volumes/kubernetes.io~empty-dir/empty/logs/web/x");
    assert_eq!(fs::read_to_string(own).expect("what it wrote"), "mine\n");
    assert!(dir.join("volume-subpaths/host/main/2").is_dir(), "in the kubelet's place");
    assert_eq!(mounted(&dir).len(), 3);

    // What the host has in the place of a part is seen by the next instance, not by this one.
    fs::write(host.path().join("new"), "two\n").expect("a file");
    fs::rename(host.path().join("new"), host.path().join("sub/file")).expect("another file");
    let id = node.container("parts", "main").and_then(|main| main.id).expect("a container");
    assert_eq!(runtime.crictl(&["exec", &id, "cat", "/m/file"]), "one\n");
    runtime.crictl(&["stop", "--timeout=0", &id]);
    node.until("the next instance", SOON, |node| node.logs(&["parts"]).starts_with("two\n"));
    assert_eq!(mounted(&dir).len(), 3, "one mount per part");

    refused_parts(&node, host.path(), &volume);

    let traces = Traces::of(&node, "parts");
    node.remove("parts");
    node.until_gone("parts");
    traces.until_gone(&node);
    assert_eq!(mounted(&dir), [""; 0]);
    assert_eq!(fs::read_to_string(host.path().join("sub/file")).expect("the host's file"), "two\n");
}

fn refused_parts(node: &Node, host: &Path, volume: &Value) {
    std::os::unix::fs::symlink("/", host.join("out")).expect("a link");
    for (name, mount, why) in [
        (
            "escapes",
            json!({ "subPath": "out/etc" }),
            "failed to prepare subPath for volumeMount \"host\" of container",
        ),
        ("unset", json!({ "subPathExpr": "$(NOBODY)" }), "missing value for NOBODY"),
    ] {
        let mut refused = pod(name, "Always", WAIT);
        volumes(&mut refused, volume);
        let mut mount = mount;
        mount["name"] = "host".into();
        mount["mountPath"] = "/m".into();
        mounts(&mut refused, json!([mount]));
        node.put(&refused);
        node.until_main(name, "is refused", |main| {
            main.reason == "CreateContainerConfigError" && main.message.contains(why)
        });
        node.remove(name);
        node.until_gone(name);
    }
}

/// A neighbour exchanges a directory of a volume and a link to the host, as fast as it can, while containers start on a
/// part of it. None ever sees the host's file.
pub(crate) fn a20_a_racer_never_shows_the_hosts_files(runtime: &Runtime) {
    let whole = std::env::var_os("PINNACE_TEST_ALL").is_some();
    let starts = if whole { 5_000 } else { 50 };
    let node = Node::start(runtime);
    let dir = tempfile::tempdir().expect("a directory");
    let (volume, host) = (dir.path().join("volume"), dir.path().join("host"));
    for (top, word) in [(volume.join("a"), "the volume's"), (host.clone(), "the host's")] {
        fs::create_dir_all(top.join("etc")).expect("directories");
        fs::write(top.join("etc/witness"), word).expect("a witness");
    }
    let (inside, hidden) = (volume.join("a"), volume.join("hidden"));
    std::os::unix::fs::symlink(&host, &hidden).expect("a link");
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for _ in 0..2 {
                    renameat2(AT_FDCWD, &inside, AT_FDCWD, &hidden, RenameFlags::RENAME_EXCHANGE)
                        .expect("an exchange");
                }
                // Most starts must succeed: each refusal is tried again seconds later.
                (0..500).for_each(|_| std::hint::spin_loop());
            }
        });
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..starts / RACERS).map(|round| race(&node, &volume, round)).sum::<usize>()
        }));
        over.store(true, Ordering::Relaxed);
        rounds.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert_eq!(seen, starts);
    say(&format!("A20 on containerd {}: {starts} starts (whole: 5000), 0 escapes", runtime.version));
}

/// The containers of one pod; how many have shown what they saw.
fn race(node: &Node, volume: &Path, round: usize) -> usize {
    let name = format!("racers-{round}");
    let mut racers = pod(&name, "Never", "true");
    let one = |number: usize| {
        let mut one = container(&format!("c{number}"), "cat /m/witness");
        one["volumeMounts"] = json!([{ "name": "v", "mountPath": "/m", "subPath": "a/etc" }]);
        one
    };
    racers["spec"]["containers"] = (0..RACERS).map(one).collect();
    volumes(&mut racers, &json!([{ "name": "v", "hostPath": { "path": volume } }]));
    node.put(&racers);
    let full = format!("{name}-{}", node.name);
    let ended = |node: &Node| {
        let all = node.containers();
        all.iter().filter(|one| one.pod == full && one.state == "Terminated").count() == RACERS
    };
    node.until(&format!("{name} have ended"), Duration::from_secs(120), ended);
    for number in 0..RACERS {
        assert_eq!(node.logs(&["-c", &format!("c{number}"), &name]), "the volume's", "{name} c{number}");
    }
    node.remove(&name);
    node.until_gone(&name);
    RACERS
}

pub(crate) fn an_image_is_a_volume_where_the_runtime_can_mount_it(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut pod = pod("shows", "Always", &format!("ls /image/bin/busybox; ls /part/busybox; {WAIT}"));
    volumes(&mut pod, &json!([{ "name": "i", "image": { "reference": IMAGE, "pullPolicy": "Never" } }]));
    mounts(
        &mut pod,
        json!([
            { "name": "i", "mountPath": "/image" }, { "name": "i", "mountPath": "/part", "subPath": "bin" },
        ]),
    );
    node.put(&pod);
    if runtime.version == "debian" {
        node.until("the reason is told", SOON, |node| {
            let told =
                node.pod("shows").map(|_| serde_json::to_string(&node.explain("shows")).expect("JSON"));
            told.is_some_and(|told| told.contains("cannot mount images"))
        });
    } else {
        node.until_running("shows");
        node.until("what is in the image", SOON, |node| {
            node.logs(&["shows"]) == "/image/bin/busybox\n/part/busybox\n"
        });
        let id = node.container("shows", "main").and_then(|main| main.id).expect("a container");
        let write = runtime.try_crictl(&["exec", &id, "touch", "/image/x"]).expect_err("it is read-only");
        assert!(write.contains("Read-only file system"), "{write}");
    }
    node.remove("shows");
    node.until_gone("shows");
}
