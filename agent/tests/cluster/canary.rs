//! Secrets lie in memory only: what pods were given is looked for in every file that is not.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde_json::json;

use crate::case::{Case, WAIT, pod};
use crate::control_plane::ControlPlane;
use crate::runtime::{CONTAINERD, variable};
use crate::say;

/// Files that one search is given.
const AT_A_TIME: usize = 200;

/// On each runtime: a pod with a secret, a token and a directory in memory holds what nobody may find on a disk, while
/// it runs, after the agent was killed, after the next one has taken over, and after all of it is gone.
pub(crate) fn a32_a_canary_is_in_no_file_of_a_disk(cluster: &ControlPlane) {
    for version in ["debian", "2.2"] {
        search_on(version, cluster);
    }
}

fn search_on(version: &str, cluster: &ControlPlane) {
    let mut case = Case::on(version, cluster, &format!("canary-{}", version.replace('.', "-")));
    let canary = format!("c4nary-{}-{}", version.replace('.', "-"), random());
    let namespace = &case.namespace;
    namespace.create(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "hidden" },
        "stringData": { "key": canary } }));
    let mut holder =
        pod("holder", "Always", &format!("cp /secret/key /memory/copy; sync; echo held; {WAIT}"));
    holder["spec"]["volumes"] = json!([
        { "name": "secret", "secret": { "secretName": "hidden" } },
        { "name": "all", "projected": { "sources": [
            { "serviceAccountToken": { "path": "token" } }, { "secret": { "name": "hidden" } },
        ] } },
        { "name": "memory", "emptyDir": { "medium": "Memory" } },
    ]);
    let mounts =
        ["secret", "all", "memory"].map(|name| json!({ "name": name, "mountPath": format!("/{name}") }));
    holder["spec"]["containers"][0]["volumeMounts"] = mounts.into_iter().collect();
    namespace.create(&holder);
    let uid = case.until_phase("holder", "Running")["metadata"]["uid"].as_str().expect("a UID").to_owned();
    let volumes = case.agent.path("root/pods").join(uid).join("volumes");
    let copy = volumes.join("kubernetes.io~empty-dir/memory/copy");
    let look = || {
        if fs::read_to_string(&copy).is_ok_and(|text| text == canary) { Ok(()) } else { Err(String::new()) }
    };
    case.agent.until("the copy", std::time::Instant::now(), crate::case::SOON, look);
    let token = fs::read_to_string(volumes.join("kubernetes.io~projected/all/token")).expect("a token");
    let words = words(&canary, &token);

    let places = places(&case);
    let mut searched = vec![assert_absent(&places, &words, "while it runs")];
    case.agent.kill();
    searched.push(assert_absent(&places, &words, "after kill -9 of the agent"));
    finds_what_is_planted(&places, &words);
    case.agent.launch();
    case.until_node_ready(std::time::Instant::now(), crate::case::SOON);
    searched.push(assert_absent(&places, &words, "after the next start"));
    case.namespace.kubectl(&["delete", "--wait=false", "pods", "--all"]);
    case.until_nothing_is_left();
    searched.push(assert_absent(&places, &words, "after its end"));
    let (files, bytes) = searched[0];
    say(&format!(
        "A32 on containerd {version}: 0 hits in {files} files, {} MiB, of {} directories on disks; four searches",
        bytes >> 20,
        places.len()
    ));
}

fn random() -> String {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom").expect("chance").read_exact(&mut bytes).expect("chance");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What to look for: the secret as it is and as the API has it, whatever follows it there; the token and its signature.
fn words(canary: &str, token: &str) -> Vec<String> {
    let unpadded = BASE64_STANDARD_NO_PAD.encode(canary);
    let encoded = &unpadded[..unpadded.len() / 4 * 4];
    assert!(BASE64_STANDARD.encode(canary).starts_with(encoded));
    let signature = token.rsplit('.').next().expect("a token of three parts");
    assert!(signature.len() > 32, "a signature");
    [canary, encoded, signature].map(str::to_owned).to_vec()
}

/// Where the agent and its runtime write: the agent's own directory with its journal, its logs and those of pods;
/// containerd's root and state. Those in memory are no disk.
fn places(case: &Case<'_>) -> Vec<PathBuf> {
    let run = case.agent.runtime.run_dir();
    let script = variable(CONTAINERD).expect("make test names the script");
    let name = run.file_name().expect("a name");
    let told = Command::new(script).arg("info").arg(name).output().expect("the script runs").stdout;
    let told = String::from_utf8(told).expect("text");
    let root = told.lines().find_map(|line| line.strip_prefix("root=")).expect("its root").to_owned();
    let all = [case.agent.path(""), PathBuf::from(root), run.to_owned()];
    let on_disk =
        |place: &PathBuf| statfs(place.as_path()).expect("a file system").filesystem_type() != TMPFS_MAGIC;
    let places: Vec<_> = all.into_iter().filter(on_disk).collect();
    assert!(places.len() >= 2, "at least the agent's and containerd's directories are on a disk: {places:?}");
    places
}

/// Files and bytes that were searched.
fn assert_absent(places: &[PathBuf], words: &[String], when: &str) -> (usize, u64) {
    let (hits, files, bytes) = search(places, words);
    assert!(hits.is_empty(), "{when}: found in {hits:?}");
    assert!(files > 20 && bytes > 1 << 20, "{when}: {files} files with {bytes} bytes are too few");
    (files, bytes)
}

/// A search that finds nothing must be one that could.
fn finds_what_is_planted(places: &[PathBuf], words: &[String]) {
    for place in places {
        for word in words {
            let planted = place.join("planted/deep/file");
            fs::create_dir_all(planted.parent().expect("a directory")).expect("a directory");
            // In the middle of what is no text.
            let around = [[0_u8; 70_000], [0xff; 70_000]];
            fs::write(&planted, [around[0].as_slice(), word.as_bytes(), &around[1]].concat())
                .expect("a file");
            let (hits, ..) = search(places, words);
            fs::remove_dir_all(place.join("planted")).expect("it goes");
            assert_eq!(hits, [planted]);
        }
    }
}

/// Regular files with one of the words in them, and how many files with how many bytes there were. Other file systems
/// are not entered: those in memory, and root file systems of containers, whose layers are searched where they lie.
fn search(places: &[PathBuf], words: &[String]) -> (Vec<PathBuf>, usize, u64) {
    let (mut files, mut bytes) = (Vec::new(), 0);
    for place in places {
        let device = fs::metadata(place).expect("a directory").dev();
        let mut ahead = vec![place.clone()];
        while let Some(path) = ahead.pop() {
            // Others work there: what has gone is no hit.
            let Ok(known) = fs::symlink_metadata(&path) else { continue };
            if known.dev() != device {
                continue;
            }
            if known.is_dir() {
                let entries = fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok);
                ahead.extend(entries.map(|entry| entry.path()));
            } else if known.is_file() {
                bytes += known.len();
                files.push(path);
            }
        }
    }
    let hits = files.chunks(AT_A_TIME).flat_map(|some| holding(some, words)).collect();
    (hits, files.len(), bytes)
}

/// Those of these files that hold one of the words. What goes meanwhile is passed over.
fn holding(files: &[PathBuf], words: &[String]) -> Vec<PathBuf> {
    let mut grep = Command::new("grep");
    grep.args(["--no-messages", "--files-with-matches", "--text", "--fixed-strings", "--null"]);
    grep.args(words.iter().flat_map(|word| ["-e", word]));
    let told = grep.arg("--").args(files).env("LC_ALL", "C").output().expect("grep runs").stdout;
    let hits = told.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    hits.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
}
