use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodCondition;
use pinnace_cri::id::PodUid;
use pinnace_cri::sandbox::SandboxState;
use serde_json::json;

use super::*;
use crate::journal::history::{Terminal, TerminationCause, What};
use crate::pod::paths::Dirs;
use crate::pod::plan::{Rest, Retry, Wait};
use crate::pod::step::Key;

mod properties;
mod world;

use world::{World, code, condition, container, says, waits_for};

#[test]
fn a_new_pod_is_pending_and_creating() {
    let status = World::policy("Always").status(None, 1);
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(waits_for(container(&status, "c")), "ContainerCreating");
    let three = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    let unready = three("False", "ContainersNotReady", "containers with unready status: [c]");
    assert_eq!((says(&status, "Ready"), says(&status, "ContainersReady")), (unready.clone(), unready));
    assert_eq!(says(&status, "Initialized"), three("True", "", ""));
    assert_eq!(says(&status, "PodReadyToStartContainers"), three("False", "", ""));
    assert_eq!(says(&status, "PodScheduled"), three("True", "", ""));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(status.start_time, Some(Time(Timestamp::from_second(1_000).unwrap())));
    assert_eq!((status.host_ip.as_deref(), status.pod_ip), (Some("192.0.2.1"), None));
}

#[test]
fn a_running_pod_is_told_in_full() {
    let mut world = World::policy("Always");
    world.sandbox(SandboxState::Ready, &["2001:db8::9", "10.0.0.9"]).runs("c", 0);
    let status = world.status(None, 1);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(says(&status, "Ready").0, "True");
    assert_eq!(says(&status, "PodReadyToStartContainers").0, "True");
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.9"), "the node's primary family comes first");
    assert_eq!(status.pod_ips.as_ref().unwrap().len(), 2);
    let told = serde_json::to_value(container(&status, "c")).unwrap();
    let wanted = json!({
        "name": "c", "image": "images.test/library/i:1", "imageID": "i@sha256:1", "containerID": "containerd://c0",
        "state": { "running": { "startedAt": "1970-01-01T00:16:45Z" } }, "lastState": {},
        "ready": true, "started": true, "restartCount": 0, "resources": {},
    });
    assert_eq!(told, wanted);
}

#[test]
fn a_restart_moves_the_end_to_last_state_and_counts() {
    let mut world = World::policy("Always");
    world.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("c", 0);
    let running = world.status(None, 1);
    world.ends("c", 0, 7);
    let ended = world.status(Some(&running), 2);
    assert_eq!((ended.phase.as_deref(), code(&container(&ended, "c").state)), (Some("Running"), Some(7)));
    assert_eq!(says(&ended, "Ready").1, "ContainersNotReady");
    world.face.waits = vec![Wait::until("restart container c", "the back-off", Duration::from_secs(3))];
    let waiting = world.status(Some(&ended), 3);
    let of = container(&waiting, "c");
    assert_eq!((waits_for(of).as_str(), code(&of.last_state)), ("CrashLoopBackOff", Some(7)));
    assert_eq!(waiting.phase.as_deref(), Some("Running"));
    world.face.waits.clear();
    world.runs("c", 1);
    let again = world.status(Some(&waiting), 4);
    let of = container(&again, "c");
    assert_eq!((of.restart_count, of.ready, code(&of.last_state)), (1, true, Some(7)));
    assert_eq!(
        of.last_state.as_ref().unwrap().terminated.as_ref().unwrap().message.as_deref(),
        Some("last words")
    );
}

#[test]
fn i10_transition_times_change_on_flips_only() {
    let mut world = World::policy("Always");
    let pending = world.status(None, 1);
    let later = world.status(Some(&pending), 9);
    assert_eq!(pending, later);
    world.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("c", 0);
    let running = world.status(Some(&later), 20);
    let since =
        |status: &PodStatus, name: &str| condition(status, name).last_transition_time.clone().unwrap();
    assert_eq!(since(&running, "Ready"), Time(Timestamp::from_second(1_020).unwrap()));
    assert_eq!(since(&running, "PodScheduled"), since(&pending, "PodScheduled"));
}

#[test]
fn conditions_of_others_and_readiness_gates_are_obeyed() {
    let mut world = World::new(json!({
        "containers": [{ "name": "c", "image": "i" }],
        "readinessGates": [{ "conditionType": "a.b/c" }],
    }));
    world.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("c", 0);
    let shut = world.status(None, 1);
    let message = "corresponding condition of pod readiness gate \"a.b/c\" does not exist.";
    assert_eq!(says(&shut, "Ready"), ("False".into(), "ReadinessGatesNotReady".into(), message.into()));
    assert_eq!(says(&shut, "ContainersReady").0, "True");
    let foreign = |status: &str| PodCondition {
        type_: "a.b/c".into(),
        status: status.into(),
        observed_generation: Some(1),
        ..PodCondition::default()
    };
    let mut api = shut.clone();
    api.conditions.as_mut().unwrap().insert(0, foreign("False"));
    let half = world.status(basis(Some(&shut), Some(&api)).as_ref(), 2);
    assert_eq!(
        says(&half, "Ready").2,
        "the status of pod readiness gate \"a.b/c\" is not \"True\", but False"
    );
    api.conditions.as_mut().unwrap()[0] = foreign("True");
    let open = world.status(basis(Some(&shut), Some(&api)).as_ref(), 2);
    assert_eq!(says(&open, "Ready").0, "True");
    assert_eq!(*condition(&open, "a.b/c"), foreign("True"), "another's condition was changed");
}

#[test]
fn i2_a_terminal_phase_waits_for_the_last_container_and_then_stays() {
    let mut world = World::policy("Always");
    world.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("c", 0);
    let running = world.status(None, 1);
    let message = "Pod was active on the node longer than the specified deadline";
    let terminal = Terminal { succeeded: false, reason: "DeadlineExceeded".into(), message: message.into() };
    world.apply(What::Terminal(terminal)).terminates(TerminationCause::DeadlineExceeded);
    let ending = world.status(Some(&running), 2);
    assert_eq!((ending.phase.as_deref(), ending.reason.as_deref()), (Some("Running"), None));
    assert_eq!(says(&ending, "Ready").1, "PodFailed", "it takes no more traffic while it is stopped");
    world.ends("c", 0, 137).sandbox(SandboxState::NotReady, &[]);
    let ended = world.status(Some(&ending), 3);
    assert_eq!((ended.phase.as_deref(), ended.reason.as_deref()), (Some("Failed"), Some("DeadlineExceeded")));
    assert_eq!(ended.message.as_deref(), Some(message));
    assert_eq!(ended.pod_ip.as_deref(), Some("10.0.0.9"), "an ended pod keeps its address");
    assert_eq!(World::policy("Always").status(Some(&ended), 4).phase.as_deref(), Some("Failed"));
}

#[test]
fn b33_what_ran_and_vanished_is_never_a_success() {
    let mut world = World::policy("Always");
    world.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("c", 2);
    let running = world.status(None, 1);
    let forgetful = World::policy("Always");
    let gone = forgetful.status(Some(&running), 2);
    let of = container(&gone, "c");
    assert_eq!((code(&of.last_state), of.restart_count), (Some(137), 3));
    let end = of.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(end.reason.as_deref(), Some("ContainerStatusUnknown"));
    assert_eq!(
        end.message.as_deref(),
        Some(
            "The container could not be located when the pod was deleted.  The container used to be Running"
        )
    );
    assert_eq!(gone.phase.as_deref(), Some("Running"), "it does not go back to Pending");
    assert_eq!(forgetful.status(Some(&gone), 9), gone, "counted once");
}

#[test]
fn an_end_that_policy_keeps_is_kept_when_all_have_forgotten_it() {
    let mut world = World::policy("Never");
    world.sandbox(SandboxState::Ready, &["10.0.0.9"]).ends("c", 0, 0);
    let done = world.status(None, 1);
    assert_eq!(done.phase.as_deref(), Some("Succeeded"));
    assert_eq!(says(&done, "Initialized").1, "PodCompleted");
    assert_eq!(says(&done, "Ready").1, "PodCompleted");
    let mut amnesiac = World::policy("Never");
    assert_eq!(code(&container(&amnesiac.status(Some(&done), 2), "c").state), Some(0));
    amnesiac.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("c", 0);
    assert_eq!(amnesiac.status(Some(&done), 3), done, "an ended container must not come to life");
}

#[test]
fn b06_a_deleted_pod_ends_as_its_containers_did_and_as_a_failure_if_they_never_ran() {
    for policy in ["Always", "OnFailure", "Never"] {
        let mut pending = World::policy(policy);
        let before = pending.status_of_api(None, 1);
        assert_eq!(before.observed_generation, Some(3));
        assert!(before.conditions.iter().flatten().all(|of| of.observed_generation == Some(3)));
        pending.terminates(TerminationCause::Removed);
        let lost = pending.status_of_api(Some(&before), 2);
        let end = container(&lost, "c").state.as_ref().unwrap().terminated.clone().unwrap();
        assert_eq!((lost.phase.as_deref(), end.exit_code), (Some("Failed"), 137));
        assert_eq!(
            end.message.as_deref(),
            Some("The container could not be located when the pod was terminated")
        );
        for (code, phase) in [(0, "Succeeded"), (137, "Failed")] {
            let mut world = World::policy(policy);
            world.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("c", 0);
            let running = world.status_of_api(None, 1);
            world.terminates(TerminationCause::Removed);
            let ending = world.status_of_api(Some(&running), 2);
            assert_eq!(ending.phase.as_deref(), Some("Running"), "it still runs");
            world.ends("c", 0, code);
            let ended = world.status_of_api(Some(&ending), 3);
            assert_eq!(ended.phase.as_deref(), Some(phase), "{policy} {code}");
            assert_eq!(world.status(None, 3).observed_generation, None, "a mirror's generation says nothing");
        }
    }
}

#[test]
fn a_refused_pod_says_why_and_has_no_containers() {
    let mut world = World::policy("Always");
    let message = "Pod was rejected: Node didn't have enough resource: cpu";
    let terminal = Terminal { succeeded: false, reason: "OutOfcpu".into(), message: message.into() };
    world.apply(What::Terminal(terminal)).terminates(TerminationCause::Completed);
    let status = world.status(None, 1);
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("OutOfcpu")));
    assert_eq!((status.message.as_deref(), &status.container_statuses), (Some(message), &None));
}

#[test]
fn init_containers_come_first() {
    let mut world = World::new(json!({
        "initContainers": [{ "name": "z", "image": "i" }, { "name": "y", "image": "i" }],
        "containers": [{ "name": "c", "image": "i" }],
    }));
    world.sandbox(SandboxState::Ready, &["10.0.0.9"]).runs("z", 0);
    let status = world.status(None, 1);
    let message = "containers with incomplete status: [z y]";
    assert_eq!(
        says(&status, "Initialized"),
        ("False".into(), "ContainersNotInitialized".into(), message.into())
    );
    assert_eq!(waits_for(container(&status, "y")), "PodInitializing");
    assert_eq!(waits_for(container(&status, "c")), "PodInitializing");
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let names: Vec<_> = status.init_container_statuses.iter().flatten().map(|of| of.name.as_str()).collect();
    assert_eq!(names, ["z", "y"], "in the order of the spec");
    world.ends("z", 0, 0).ends("y", 0, 0).runs("c", 0);
    let status = world.status(Some(&status), 2);
    assert_eq!((says(&status, "Initialized").0.as_str(), status.phase.as_deref()), ("True", Some("Running")));
    assert!(container(&status, "z").ready);
}

#[test]
fn messages_are_cut_to_the_containers_share_and_times_to_seconds() {
    let mut world = World::new(json!({
        "restartPolicy": "Never",
        "containers": [{ "name": "b", "image": "i" }, { "name": "a", "image": "i" }],
    }));
    world.ends("a", 0, 1).ends("b", 0, 1);
    for history in world.face.history.containers.values_mut() {
        history.last_exit.as_mut().unwrap().message = "é".repeat(5_000);
    }
    let status = world.status(None, 1);
    let ended = container(&status, "a").state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(ended.message.as_ref().unwrap().len(), 12_288 / 2);
    assert_eq!(ended.finished_at, Some(Time(Timestamp::from_second(1_006).unwrap())));
    let names: Vec<_> = status.container_statuses.iter().flatten().map(|of| of.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn what_is_open_keeps_a_pod_from_being_over() {
    let mut world = World::policy("Always");
    world.terminates(TerminationCause::Removed);
    let asked = What::ContainerAttempt { name: "c".into(), attempt: 0, image: "i".into() };
    world.apply(asked);
    let over = |world: &World| {
        let uid = PodUid::new("u1").unwrap();
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        terminal::is_over(&Subject { uid: &uid, face: &world.face, seen: world.seen.as_ref(), dirs: &dirs })
    };
    assert!(!over(&world), "it was asked for and is in no list yet");
    let retry = |in_doubt| Retry {
        failures: 1,
        left: Duration::ZERO,
        in_doubt,
        reason: "CreateContainerError".into(),
        message: "no".into(),
    };
    world.face.retries.insert(Key::Start("c".into()), retry(true));
    assert!(!over(&world), "its answer was lost");
    world.face.retries.insert(Key::Start("c".into()), retry(false));
    assert!(over(&world), "it was refused");
    world.face.retries.clear();
    world.face.rest = Rest::Vanished;
    assert!(over(&world), "the worker says that nothing is left");
}
