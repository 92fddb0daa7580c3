//! Deletion as users and outages have it: gracefully, by force, while the agent is away, and the same name again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admin::is_ready;
use crate::case::{Case, SOON, WAIT, pod};
use crate::control_plane::ControlPlane;
use crate::restarts::containers;

/// A pod that a test looks at is Ready.
fn until_all_ready(case: &Case<'_>, count: usize) -> Vec<Value> {
    let ready = |pods: &[Value]| (pods.len() == count && pods.iter().all(is_ready)).then(|| pods.to_vec());
    case.until_pods(&format!("{count} Ready pods"), Instant::now(), ready).0
}

pub(crate) fn b05_pods_deleted_while_the_agent_is_away_go_when_it_is_back(cluster: &ControlPlane) {
    let mut case = Case::start(cluster, "away");
    for name in ["graceful", "forced", "kept"] {
        case.namespace.create(&pod(name, "Always", WAIT));
    }
    until_all_ready(&case, 3);
    case.agent.kill();
    case.namespace.kubectl(&["delete", "--wait=false", "pod", "graceful"]);
    case.namespace.kubectl(&["delete", "--wait=false", "--force", "--grace-period=0", "pod", "forced"]);
    assert_eq!(containers(&case).len(), 3, "nobody ends them now");
    case.agent.launch();
    let kept = |pods: &[Value]| (pods.len() == 1 && pods.iter().all(is_ready)).then_some(());
    case.until_pods("the kept pod alone", Instant::now(), kept);
    until_containers(&case, 1);
    case.namespace.kubectl(&["delete", "--wait=false", "pod", "kept"]);
    case.until_nothing_is_left();
    case.agent.a80_was_never_refused();
}

fn until_containers(case: &Case<'_>, count: usize) {
    case.agent.until(&format!("{count} running containers"), Instant::now(), SOON, || {
        let found = containers(case);
        if found.len() == count { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

pub(crate) fn b66_the_same_name_again_is_another_pod(cluster: &ControlPlane) {
    let case = Case::start(cluster, "again");
    // Deaf to TERM: the first one is still ending when the second one comes.
    case.namespace.create(&pod("name", "Always", "trap '' TERM; while true; do sleep 1; done"));
    let first = until_all_ready(&case, 1);
    let before = containers(&case);
    case.namespace.kubectl(&["delete", "--wait=false", "--force", "--grace-period=0", "pod", "name"]);
    case.namespace.create(&pod("name", "Always", WAIT));
    let second = until_all_ready(&case, 1);
    assert_ne!(first[0]["metadata"]["uid"], second[0]["metadata"]["uid"]);
    until_containers(&case, 1);
    assert!(containers(&case).is_disjoint(&before));
    assert_eq!(case.namespace.kubectl(&["logs", "name"]), "");
    case.agent.a80_was_never_refused();
}

pub(crate) fn a_graceful_delete_keeps_its_grace_and_a_shorter_one_shortens_it(cluster: &ControlPlane) {
    let case = Case::start(cluster, "grace");
    let mut deaf = pod("deaf", "Always", "trap '' TERM; while true; do sleep 1; done");
    deaf["spec"]["terminationGracePeriodSeconds"] = 100.into();
    case.namespace.create(&deaf);
    until_all_ready(&case, 1);
    case.namespace.kubectl(&["delete", "--wait=false", "pod", "deaf"]);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(containers(&case).len(), 1, "its grace lasts");
    let shortened = Instant::now();
    case.namespace.kubectl(&["delete", "--wait=false", "--grace-period=1", "pod", "deaf"]);
    case.until_nothing_is_left();
    assert!(shortened.elapsed() < Duration::from_secs(30), "{:?}", shortened.elapsed());
    case.agent.a80_was_never_refused();
}

pub(crate) fn a_finalizer_of_others_keeps_the_object_and_not_the_containers(cluster: &ControlPlane) {
    let case = Case::start(cluster, "finalizer");
    let mut held = pod("held", "Always", WAIT);
    held["metadata"]["finalizers"] = serde_json::json!(["pinnace.dev/test"]);
    case.namespace.create(&held);
    until_all_ready(&case, 1);
    case.namespace.kubectl(&["delete", "--wait=false", "pod", "held"]);
    until_containers(&case, 0);
    let ended = |pods: &[Value]| {
        let pod = pods.first()?;
        let code = &pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"];
        (*code == 0 && !is_ready(pod)).then(|| pod["status"]["phase"].clone())
    };
    let (phase, _) = case.until_pods("its last status", Instant::now(), ended);
    assert_eq!(phase, "Succeeded");
    let free = r#"{"metadata":{"finalizers":null}}"#;
    case.namespace.kubectl(&["patch", "pod", "held", "--type=merge", "-p", free]);
    case.until_nothing_is_left();
    case.agent.a80_was_never_refused();
}
