//! Links that lead to the host, planted where the agent writes and removes (CVE-2017-1002102).

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pinnace_cri::id::PodUid;
use serde_json::{Value, json};

use crate::disk::{Disk, RealDisk};
use crate::pod::paths::Dirs;
use crate::pod::traces;
use crate::volume::atomic_writer::tests::payload;
use crate::volume::owner::Owner;
use crate::volume::place::{self, tests::Unmounted};
use crate::volume::plan::tests::rendered;

/// A host with something in it, links included; as all that is there, to compare.
fn host(dir: &Path) -> impl Fn() -> Vec<(PathBuf, u32, u64, Vec<u8>)> {
    fs::create_dir_all(dir.join("etc/deep")).unwrap();
    for file in ["etc/passwd", "etc/deep/key", "token"] {
        fs::write(dir.join(file), "the host's").unwrap();
    }
    let top = dir.to_owned();
    move || {
        let mut all = Vec::new();
        let mut ahead = vec![top.clone()];
        while let Some(directory) = ahead.pop() {
            for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                let known = fs::symlink_metadata(&path).unwrap();
                if known.is_dir() {
                    ahead.push(path.clone());
                }
                let bytes = if known.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                all.push((path, known.mode(), known.ino(), bytes));
            }
        }
        all.sort();
        all
    }
}

fn volumes() -> [(&'static str, Value); 4] {
    let object = |kind: &str, source: Value| json!({ "name": "v", kind: source });
    [
        ("kubernetes.io~configmap", object("configMap", json!({ "name": "m" }))),
        ("kubernetes.io~secret", object("secret", json!({ "secretName": "s" }))),
        ("kubernetes.io~downward-api", object("downwardAPI", json!({ "items": [] }))),
        ("kubernetes.io~projected", object("projected", json!({ "sources": [] }))),
    ]
}

#[test]
fn a23_planted_links_never_lead_an_update_or_a_teardown_to_the_host() {
    for (plugin, spec) in volumes() {
        let root = tempfile::tempdir().unwrap();
        let dirs =
            Dirs { root: root.path().into(), pod_logs: root.path().join("logs"), container_logs: None };
        let uid = PodUid::new("u1").unwrap();
        let pod = dirs.pod(&uid);
        let outside = root.path().join("host");
        let seen = host(&outside);
        let before = seen();
        let (place, volume, owner) = (place::tests::place(&pod, plugin), rendered(spec), Owner::default());
        if let Err(error) = place::make(&RealDisk, &place, &volume, &owner) {
            assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot mount: {error}");
            println!("SKIPPED: needs root and the right to mount: {error}");
            return;
        }
        let _end = Unmounted(place.dir.clone());
        let wall = Timestamp::from_second(1_772_359_200).unwrap();
        let write = |token: &str| {
            let payload = payload(&[("token", token), ("deep/key", token)]);
            place::write(&RealDisk, &place, &volume, &payload, wall)
        };
        write("one").unwrap();
        let old = fs::read_link(place.dir.join("..data")).unwrap();
        // All that a container could plant, did it ever get to write there.
        for (name, target) in [
            ("..data", outside.join("etc")),
            ("..data_tmp", outside.join("etc")),
            ("..2024", PathBuf::from("/")),
            ("..2025", outside.clone()),
            ("token", outside.join("token")),
            ("deep", outside.join("etc/deep")),
        ] {
            let _ = fs::remove_file(place.dir.join(name));
            symlink(target, place.dir.join(name)).unwrap();
        }
        fs::remove_dir_all(place.dir.join(&old)).unwrap();
        symlink(&outside, place.dir.join(&old)).unwrap();
        write("two").unwrap();
        assert_eq!(seen(), before, "{plugin}: an update");
        assert_eq!(fs::read_to_string(place.dir.join("token")).unwrap(), "two");
        assert_eq!(fs::read_to_string(place.dir.join("deep/key")).unwrap(), "two");
        assert!(
            place.dir.join("..data").canonicalize().unwrap().starts_with(place.dir.canonicalize().unwrap())
        );

        for name in ["..data", "..2026", "x"] {
            let _ = fs::remove_file(place.dir.join(name));
            symlink(&outside, place.dir.join(name)).unwrap();
        }
        super::unmount(&RealDisk, &pod).unwrap();
        traces::remove(&RealDisk, &dirs, &uid).unwrap();
        assert_eq!(seen(), before, "{plugin}: a teardown");
        assert!(!pod.exists() && RealDisk.mounts(root.path()).unwrap().is_empty());
    }
}
