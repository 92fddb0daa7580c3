//! A file system that does not answer, and the pods beside those that want it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::foreign::Mounted;
use crate::manifest::{WAIT, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;
use crate::say;

/// Starts of one round, without and with a mount that hangs.
const STARTS: usize = 5;
/// Rounds: at least, and at most if others of the machine disturb them.
const ROUNDS: (usize, usize) = (2, 6);
/// What the middle start may lose beside a mount that hangs, in parts of a hundred and besides.
const MORE_PERCENT: i32 = 10;
const MORE: SignedDuration = SignedDuration::from_millis(50);
/// Pods that want it.
const STUCK: usize = 3;

/// Rounds with and without take turns, so that what else the machine does meets both alike.
pub(crate) fn b78_a_mount_that_hangs_stalls_only_its_pods(runtime: &Runtime) {
    let node = Node::start(runtime);
    let outside = tempfile::tempdir().expect("a directory");
    let (mut without, mut beside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS.1 {
        without.extend(starts(&node, &format!("without-{round}")));
        let hung = Mounted::hung(&outside.path().join(format!("hung-{round}")));
        let stuck = put_stuck(&node, &hung.point, round);
        beside.extend(starts(&node, &format!("beside-{round}")));
        if round + 1 >= ROUNDS.0 && is_soon_enough(&without, &beside) || round + 1 == ROUNDS.1 {
            are_told_and_deletable(&node, &stuck);
            break;
        }
        drop(hung);
        stuck.iter().for_each(|name| node.remove(name));
        stuck.iter().for_each(|name| node.until_gone(name));
    }
    let told = format!(
        "a start took {} ms without and {} ms beside a mount that hangs, medians of {} starts each",
        middle(&without).as_millis(),
        middle(&beside).as_millis(),
        beside.len()
    );
    say(&format!("B78 on containerd {}: {told}", runtime.version));
    assert!(
        is_soon_enough(&without, &beside),
        "{told}; at most {MORE_PERCENT} % and {MORE:?} more in one of {} rounds: {without:?} {beside:?}",
        ROUNDS.1
    );
}

fn middle(starts: &[SignedDuration]) -> SignedDuration {
    let mut sorted = starts.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

fn is_soon_enough(without: &[SignedDuration], beside: &[SignedDuration]) -> bool {
    middle(beside) <= middle(without) * (100 + MORE_PERCENT) / 100 + MORE
}

/// How long each start took, one after the other: from its manifest to its container's first word, by the runtime's own
/// clock in the log.
fn starts(node: &Node, prefix: &str) -> Vec<SignedDuration> {
    let names: Vec<_> = (0..STARTS).map(|number| format!("{prefix}-{number}")).collect();
    let one = |name: &String| {
        let mut quick = pod(name, "Always", &format!("echo up; {WAIT}"));
        quick["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
        main(&mut quick)["volumeMounts"] = json!([{ "name": "v", "mountPath": "/m" }]);
        let began = Timestamp::now();
        node.put(&quick);
        let waited = Instant::now();
        loop {
            if let Some(up) = first_word(node, name) {
                return up.duration_since(began);
            }
            assert!(waited.elapsed() < SOON, "{name} does not start\n{}", node.describe());
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let took = names.iter().map(one).collect();
    names.iter().for_each(|name| node.remove(name));
    names.iter().for_each(|name| node.until_gone(name));
    took
}

fn first_word(node: &Node, name: &str) -> Option<Timestamp> {
    let start = format!("default_{name}-{}_", node.name);
    let dirs = fs::read_dir(node.pod_logs()).ok()?.filter_map(Result::ok);
    let own = |dir: &PathBuf| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start));
    let dir = dirs.map(|dir| dir.path()).find(own)?;
    let text = fs::read_to_string(dir.join("main/0.log")).ok()?;
    text.split_once(' ')?.0.parse().ok()
}

/// Pods that want what does not answer; their sandboxes are there, and their volumes are not.
fn put_stuck(node: &Node, point: &Path, round: usize) -> Vec<String> {
    let names: Vec<_> = (0..STUCK).map(|number| format!("stuck-{round}-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let mut stuck = pod(name, "Always", WAIT);
        stuck["spec"]["volumes"] = json!([{ "name": "v", "hostPath": { "path": point, "type": "" } }]);
        let part = (number == 1).then_some("a/b");
        main(&mut stuck)["volumeMounts"] = json!([{ "name": "v", "mountPath": "/m", "subPath": part }]);
        node.put(&stuck);
    }
    let of_round = format!("stuck-{round}-");
    let is_one = |name: &serde_json::Value| name.as_str().is_some_and(|name| name.starts_with(&of_round));
    node.until("the sandboxes of those that are stuck", SOON, |node| {
        let made = node.runtime.sandboxes(&node.name);
        made.iter().filter(|sandbox| is_one(&sandbox["metadata"]["name"])).count() == STUCK
    });
    names
}

/// Each says what it waits for, and can go while that hangs.
fn are_told_and_deletable(node: &Node, stuck: &[String]) {
    for name in stuck {
        node.until(&format!("{name} is explained"), SOON, |node| {
            let told = node.pod(name).map(|_| serde_json::to_string(&node.explain(name)).expect("JSON"));
            told.is_some_and(|told| told.contains("did not answer within"))
        });
    }
    stuck.iter().for_each(|name| node.remove(name));
    stuck.iter().for_each(|name| node.until_gone(name));
}
