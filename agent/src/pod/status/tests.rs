use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::journal::history::{PodHistory, Terminal, What};
use crate::pod::plan::Wish;
use crate::pod::plan::{Retry, Wait};
use crate::pod::step::Step;
use crate::source::desired::DesiredPod;

fn face(policy: &str, history: PodHistory) -> Face {
    let spec = json!({ "restartPolicy": policy, "containers": [{ "name": "c", "image": "i" }] });
    let pod = DesiredPod {
        uid: PodUid::new("u1").unwrap(),
        namespace: "ns".into(),
        name: "web".into(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap()),
        held: Vec::new(),
    };
    Face {
        namespace: "ns".into(),
        name: "web".into(),
        pod: Some(Arc::new(pod)),
        wish: Wish::Run,
        history,
        waits: Vec::new(),
        rest: Rest::Working,
        retries: BTreeMap::new(),
        busy: BTreeSet::new(),
        quarantined: None,
    }
}

fn ended(code: i32) -> PodHistory {
    let clock = crate::clock::BootTime { boot_id: "b".into(), millis: 0 };
    let seen = crate::clock::Stamp { boot: clock, wall: Timestamp::UNIX_EPOCH };
    let exit = Exit {
        container_id: "i1".into(),
        attempt: 1,
        code,
        reason: "Error".into(),
        message: String::new(),
        started_at: 1,
        finished_at: 2,
    };
    let mut history = PodHistory::default();
    history.apply(&What::Exited { name: "c".into(), exit, seen });
    history
}

fn shown(face: &Face) -> (PodView, ContainerView) {
    let uid = PodUid::new("u1").unwrap();
    let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
    let subject = Subject { uid: &uid, face, seen: None, dirs: &dirs };
    (pod(&subject), container(&subject, "c"))
}

#[test]
fn what_never_started_is_pending_and_creating() {
    let (pod, container) = shown(&face("Always", PodHistory::default()));
    assert_eq!((pod.phase.as_str(), pod.status.as_str()), ("Pending", "ContainerCreating"));
    assert_eq!((container.state.as_str(), container.log_path), ("Waiting", None));
}

#[test]
fn a_back_off_is_a_crash_loop_in_a_running_pod() {
    let mut face = face("Always", ended(7));
    face.waits = vec![Wait::until("restart container c", "the back-off", Duration::from_secs(3))];
    let (pod, container) = shown(&face);
    assert_eq!((pod.phase.as_str(), pod.status.as_str()), ("Running", "CrashLoopBackOff"));
    assert_eq!((container.last_exit_code, container.restarts), (Some(7), 1));
    assert!(container.message.contains("restarting failed container=c pod=web_ns(u1)"));
}

#[test]
fn the_terminal_word_is_the_historys() {
    let mut history = ended(7);
    let terminal =
        Terminal { succeeded: false, reason: "DeadlineExceeded".into(), message: "too long".into() };
    history.apply(&What::Terminal(terminal));
    let (pod, container) = shown(&face("Always", history));
    assert_eq!((pod.phase.as_str(), pod.status.as_str()), ("Failed", "DeadlineExceeded"));
    assert_eq!((pod.reason.as_str(), container.exit_code), ("too long", Some(7)));
}

#[test]
fn what_shall_not_restart_is_terminated() {
    let (_, container) = shown(&face("Never", ended(7)));
    assert_eq!((container.state.as_str(), container.exit_code), ("Terminated", Some(7)));
    let (_, container) = shown(&face("OnFailure", ended(0)));
    assert_eq!(container.state, "Terminated");
}

#[test]
fn a_pull_that_fails_again_is_backing_off() {
    let mut face = face("Always", PodHistory::default());
    let key = Step::EnsureImage { name: "c".into(), attempt: 0 }.key();
    let retry = |failures| Retry {
        failures,
        left: Duration::from_secs(5),
        in_doubt: false,
        reason: "ErrImagePull".into(),
        message: "no".into(),
    };
    face.retries.insert(key.clone(), retry(1));
    assert_eq!(shown(&face).0.status, "ErrImagePull");
    face.retries.insert(key, retry(2));
    assert_eq!(shown(&face).0.status, "ImagePullBackOff");
}
