use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState as Told, ContainerStatus, PodCondition};
use pinnace_cri::container::{Container as Record, ContainerState, ContainerStatus as Inspected};
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved, SandboxSeen};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::{BootTime, Stamp};
use crate::journal::history::{Exit, PodHistory, RunningSeen, Terminal, Termination, TerminationCause, What};
use crate::pod::card::Face;
use crate::pod::paths::Dirs;
use crate::pod::plan::{Rest, Retry, Wait, Wish};
use crate::pod::step::Key;
use crate::source::desired::DesiredPod;

const SECOND: i64 = 1_000_000_000;

fn now(second: i64) -> Now {
    let boot = BootTime { boot_id: "b".into(), millis: 0 };
    let wall = Timestamp::from_second(1_000 + second).unwrap() + Duration::from_millis(700);
    Now { boot, wall }
}

fn stamp(second: i64) -> Stamp {
    now(second).stamp()
}

fn host() -> Host {
    let ips = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    Host { ips, runtime: "containerd".into(), recursive_read_only: false }
}

struct World {
    face: Face,
    seen: Option<PodObserved>,
}

impl World {
    fn new(spec: Value) -> Self {
        let pod = json!({ "metadata": { "generation": 3 }, "spec": spec });
        let pod = DesiredPod {
            uid: PodUid::new("u1").unwrap(),
            namespace: "ns".into(),
            name: "web".into(),
            origin: Origin::File("/m".into()),
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            held: Vec::new(),
        };
        let face = Face {
            namespace: "ns".into(),
            name: "web".into(),
            pod: Some(Arc::new(pod)),
            wish: Wish::Run,
            history: PodHistory { started: Some(stamp(0)), ..PodHistory::default() },
            waits: Vec::new(),
            rest: Rest::Working,
            retries: BTreeMap::new(),
            busy: BTreeSet::new(),
            quarantined: None,
        };
        Self { face, seen: None }
    }

    fn policy(policy: &str) -> Self {
        Self::new(json!({ "restartPolicy": policy, "containers": [{ "name": "c", "image": "i" }] }))
    }

    fn apply(&mut self, what: What) -> &mut Self {
        self.face.history.apply(&what);
        self
    }

    fn seen(&mut self) -> &mut PodObserved {
        self.seen.get_or_insert_with(|| PodObserved {
            uid: PodUid::new("u1").unwrap(),
            name: "web".into(),
            namespace: "ns".into(),
            began: 1,
            sandboxes: Vec::new(),
            containers: Vec::new(),
            quarantine: None,
        })
    }

    fn sandbox(&mut self, state: SandboxState, ips: &[&str]) -> &mut Self {
        let id = SandboxId::new("s1").unwrap();
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let status = SandboxStatus { id: id.clone(), state, ips, network: NetworkMode::Pod };
        let record = Sandbox {
            id,
            pod_uid: PodUid::new("u1").unwrap(),
            pod_name: "web".into(),
            pod_namespace: "ns".into(),
            attempt: 0,
            state,
            created_at: 1,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            runtime_handler: String::new(),
        };
        let seen = SandboxSeen { record: Arc::new(record), status: Some(Arc::new(status)) };
        self.seen().sandboxes = vec![seen];
        self
    }

    fn instance(&mut self, name: &str, attempt: u32, state: ContainerState, code: i32) -> &mut Self {
        let id = ContainerId::new(&format!("{name}{attempt}")).unwrap();
        let ended = state == ContainerState::Exited;
        let status = Inspected {
            id: id.clone(),
            name: name.into(),
            attempt,
            state,
            created_at: 1,
            started_at: (state != ContainerState::Created).then_some(1_005 * SECOND + 5),
            finished_at: ended.then_some(1_006 * SECOND + 5),
            exit_code: code,
            image: "docker.io/library/i:1".into(),
            image_ref: "i@sha256:1".into(),
            reason: if ended { "Error".into() } else { String::new() },
            message: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            log_path: String::new(),
            mounts: Vec::new(),
            user: None,
        };
        let record = Record {
            id,
            sandbox_id: SandboxId::new("s1").unwrap(),
            pod_uid: PodUid::new("u1").unwrap(),
            name: name.into(),
            attempt,
            state,
            image: "i".into(),
            image_ref: "i".into(),
            created_at: 1,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        let seen = self.seen();
        seen.containers.retain(|known| known.record.name != name || known.record.attempt != attempt);
        seen.containers.push(ContainerSeen { record: Arc::new(record), status: Some(Arc::new(status)) });
        seen.containers.sort_by(|one, other| {
            one.record.name.cmp(&other.record.name).then(other.record.attempt.cmp(&one.record.attempt))
        });
        self
    }

    fn runs(&mut self, name: &str, attempt: u32) -> &mut Self {
        let seen = RunningSeen { container_id: format!("{name}{attempt}"), attempt };
        self.apply(What::Running { name: name.into(), seen });
        self.instance(name, attempt, ContainerState::Running, 0)
    }

    fn ends(&mut self, name: &str, attempt: u32, code: i32) -> &mut Self {
        self.remembers_end(name, attempt, code).instance(name, attempt, ContainerState::Exited, code)
    }

    fn remembers_end(&mut self, name: &str, attempt: u32, code: i32) -> &mut Self {
        let exit = Exit {
            container_id: format!("{name}{attempt}"),
            attempt,
            code,
            reason: "Error".into(),
            message: "last words".into(),
            started_at: 1_005 * SECOND + 5,
            finished_at: 1_006 * SECOND + 5,
        };
        self.apply(What::Exited { name: name.into(), exit, seen: stamp(6) })
    }

    fn terminates(&mut self, cause: TerminationCause) -> &mut Self {
        let grace = Duration::from_secs(30);
        self.apply(What::Terminating(Termination { cause, since: stamp(7), grace, shortened: false }))
    }

    fn status(&self, before: Option<&PodStatus>, second: i64) -> PodStatus {
        let uid = PodUid::new("u1").unwrap();
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        let subject = Subject { uid: &uid, face: &self.face, seen: self.seen.as_ref(), dirs: &dirs };
        status(&subject, before, &host(), &now(second))
    }

    /// The same for a pod that the API server gave us.
    fn status_of_api(&self, before: Option<&PodStatus>, second: i64) -> PodStatus {
        let uid = PodUid::new("u1").unwrap();
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        let subject = Subject { uid: &uid, face: &self.face, seen: self.seen.as_ref(), dirs: &dirs };
        of(&subject, before, &host(), false, &now(second))
    }
}

fn condition<'a>(status: &'a PodStatus, name: &str) -> &'a PodCondition {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name).unwrap()
}

fn says(status: &PodStatus, name: &str) -> (String, String, String) {
    let condition = condition(status, name);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (condition.status.clone(), text(&condition.reason), text(&condition.message))
}

fn container<'a>(status: &'a PodStatus, name: &str) -> &'a ContainerStatus {
    let inits = status.init_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten()).find(|status| status.name == name).unwrap()
}

fn waits_for(status: &ContainerStatus) -> String {
    status
        .state
        .as_ref()
        .unwrap()
        .waiting
        .as_ref()
        .map(|waiting| waiting.reason.clone().unwrap())
        .unwrap_or_default()
}

fn code(state: &Option<Told>) -> Option<i32> {
    state.as_ref()?.terminated.as_ref().map(|ended| ended.exit_code)
}

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
        "name": "c", "image": "docker.io/library/i:1", "imageID": "i@sha256:1", "containerID": "containerd://c0",
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

#[derive(Debug, Clone)]
enum Event {
    Runs(u8),
    Ends(u8, i32),
    Remembers(u8, i32),
    RuntimeForgets(u8),
    BacksOff(bool),
    Sandbox(bool),
    Terminates,
    Over,
    AgentForgets,
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..2_u8;
    prop_oneof![
        4 => which.clone().prop_map(Event::Runs),
        4 => (which.clone(), 0..2_i32).prop_map(|(which, code)| Event::Ends(which, code)),
        2 => (which.clone(), 0..2_i32).prop_map(|(which, code)| Event::Remembers(which, code)),
        1 => which.prop_map(Event::RuntimeForgets),
        2 => any::<bool>().prop_map(Event::BacksOff),
        2 => any::<bool>().prop_map(Event::Sandbox),
        1 => Just(Event::Terminates),
        1 => Just(Event::Over),
        1 => Just(Event::AgentForgets),
    ]
}

fn name(which: u8) -> &'static str {
    if which == 0 { "a" } else { "b" }
}

/// Lets something happen that can happen: an instance runs once, under a number that was never used.
fn happen(world: &mut World, next: &mut [u32; 2], codes: &mut BTreeMap<(u8, u32), i32>, event: &Event) {
    match event {
        Event::Runs(which) => {
            let attempt = next[usize::from(*which)];
            let alive = world.seen.as_ref().and_then(|seen| seen.newest_container(name(*which)));
            if alive.is_none_or(|alive| alive.record.state == ContainerState::Exited) {
                world.runs(name(*which), attempt);
                next[usize::from(*which)] += 1;
            }
        }
        Event::Ends(which, code) | Event::Remembers(which, code) => {
            let Some(attempt) = next[usize::from(*which)].checked_sub(1) else { return };
            let code = *codes.entry((*which, attempt)).or_insert(*code);
            world.remembers_end(name(*which), attempt, code);
            if matches!(event, Event::Ends(..)) {
                world.instance(name(*which), attempt, ContainerState::Exited, code);
            } else if let Some(seen) = &mut world.seen {
                seen.containers.retain(|known| known.record.name != name(*which));
            }
        }
        Event::RuntimeForgets(which) => {
            if let Some(seen) = &mut world.seen {
                seen.containers.retain(|known| known.record.name != name(*which));
            }
        }
        Event::BacksOff(yes) => {
            let wait = Wait::until("restart container a", "the back-off", Duration::from_secs(3));
            world.face.waits = yes.then_some(wait).into_iter().collect();
        }
        Event::Sandbox(up) => {
            let state = if *up { SandboxState::Ready } else { SandboxState::NotReady };
            world.sandbox(state, if *up { &["10.0.0.9"] } else { &[] });
        }
        Event::Terminates => {
            world.terminates(TerminationCause::Removed);
        }
        Event::Over => {
            if world.face.history.termination.is_some() {
                world.seen = None;
                world.face.rest = Rest::Vanished;
            }
        }
        Event::AgentForgets => {
            let kept = world.face.history.termination.clone();
            world.face.history =
                PodHistory { started: Some(stamp(0)), termination: kept, ..PodHistory::default() };
        }
    }
}

fn told_ends(status: &PodStatus) -> BTreeMap<String, i32> {
    let all = status.container_statuses.iter().flatten();
    let ends =
        all.flat_map(|of| [&of.state, &of.last_state]).flatten().filter_map(|state| state.terminated.clone());
    ends.filter_map(|end| Some((end.container_id?, end.exit_code))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn i2_i3_ends_and_terminal_phases_never_change_and_counts_never_fall(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        events in prop::collection::vec(event(), 1..30),
    ) {
        let containers = json!([{ "name": "b", "image": "i" }, { "name": "a", "image": "i" }]);
        let mut world = World::new(json!({ "restartPolicy": policy, "containers": containers }));
        let (mut next, mut codes) = ([0, 0], BTreeMap::new());
        let mut before: Option<PodStatus> = None;
        let mut ends = BTreeMap::new();
        for (second, event) in (1..).zip(&events) {
            happen(&mut world, &mut next, &mut codes, event);
            let new = world.status(before.as_ref(), second);
            prop_assert_eq!(&world.status(Some(&new), second + 1), &new, "giving it back changes it: {:?}", event);
            for (id, code) in told_ends(&new) {
                prop_assert_eq!(*ends.entry(id.clone()).or_insert(code), code, "the end of {} changed", id);
            }
            if let Some(before) = &before {
                let phase = before.phase.clone().unwrap();
                prop_assert!(!is_terminal(&phase) || new.phase.as_ref() == Some(&phase), "terminal is for ever");
                for name in ["a", "b"] {
                    prop_assert!(container(&new, name).restart_count >= container(before, name).restart_count);
                }
            }
            let ready = says(&new, "Ready").0 == "True";
            prop_assert!(!(ready && is_terminal(new.phase.as_deref().unwrap())), "done and ready");
            prop_assert!(!ready || new.container_statuses.iter().flatten().all(|of| of.ready));
            before = Some(new);
        }
    }
}
