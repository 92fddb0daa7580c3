//! When a pod's volumes are set up and taken down.

use std::sync::Arc;

use jiff::Timestamp;
use pinnace_cri::container::{Container, ContainerState};
use pinnace_cri::id::{ContainerId, PodUid};
use pinnace_cri::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
use serde_json::json;

use super::*;
use crate::clock::BootTime;
use crate::pod::job::{Done, Failure};
use crate::pod::mind::{Around, Mind, Pace};
use crate::source::desired::Origin;
use crate::volume::plan::tests::{admitted, pod_with};

fn uid() -> PodUid {
    PodUid::new("u1").unwrap()
}

fn now() -> Now {
    Now {
        boot: BootTime { boot_id: "b".into(), millis: 9_000_000 },
        wall: Timestamp::from_second(9_000).unwrap(),
    }
}

fn pod(volumes: serde_json::Value) -> DesiredPod {
    DesiredPod {
        uid: uid(),
        namespace: "ns".into(),
        name: "web".into(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(pod_with(volumes)),
        held: Vec::new(),
    }
}

fn with_sandbox(state: SandboxState) -> PodObserved {
    let id = SandboxId::new("s0").unwrap();
    let ips = vec!["10.0.0.1".parse().unwrap()];
    let status = SandboxStatus { id: id.clone(), state, ips, network: NetworkMode::Pod };
    let record = Sandbox {
        id,
        pod_uid: uid(),
        pod_name: "web".into(),
        pod_namespace: "ns".into(),
        attempt: 0,
        state,
        created_at: 1,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        runtime_handler: String::new(),
    };
    let sandbox = SandboxSeen { record: Arc::new(record), status: Some(Arc::new(status)) };
    let (name, namespace) = ("web".into(), "ns".into());
    let (sandboxes, containers) = (vec![sandbox], Vec::new());
    PodObserved { uid: uid(), name, namespace, began: 1, sandboxes, containers, quarantine: None }
}

fn with_container() -> PodObserved {
    let record = Container {
        id: ContainerId::new("c0").unwrap(),
        sandbox_id: SandboxId::new("s0").unwrap(),
        pod_uid: uid(),
        name: "c".into(),
        attempt: 0,
        state: ContainerState::Running,
        image: "i".into(),
        image_ref: "i".into(),
        created_at: 1,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    let container = ContainerSeen { record: Arc::new(record), status: None };
    PodObserved { containers: vec![container], ..with_sandbox(SandboxState::Ready) }
}

struct Stage {
    mind: Mind,
    looks: u64,
}

impl Stage {
    fn new() -> Self {
        Self { mind: Mind::new(PodHistory::default()), looks: 1 }
    }

    fn plan(&mut self, pod: Option<&DesiredPod>, wish: &Wish, seen: Option<&PodObserved>) -> Plan {
        self.looks += 1;
        self.mind.observe(self.looks);
        let now = now();
        let backoff_cap = Duration::from_secs(300);
        let around = Around { wish, pod, seen, alone: true, network_ready: true, backoff_cap, now: &now };
        loop {
            let plan = self.mind.plan(around);
            if plan.notes.is_empty() {
                return plan;
            }
            plan.notes.iter().for_each(|note| self.mind.remember(note));
        }
    }

    fn settle(&mut self, step: &Step, result: Result<Done, Failure>) {
        self.mind.begin(step);
        self.mind.settle(step, &result, self.looks, &Pace::default(), &now());
    }
}

fn image() -> Done {
    Done::Image { name: "c".into(), attempt: 0, image_ref: "i".into() }
}

fn is_start(step: &Step) -> bool {
    matches!(step, Step::StartContainer { .. })
}

#[test]
fn volumes_are_set_up_beside_the_sandbox_and_before_any_container() {
    let (pod, mut stage) = (pod(json!([admitted()])), Stage::new());
    let plan = stage.plan(Some(&pod), &Wish::Run, None);
    let image_step = Step::EnsureImage { name: "c".into(), attempt: 0 };
    assert_eq!(plan.steps, [Step::RunSandbox { attempt: 0 }, image_step.clone(), Step::SetUpVolumes]);
    stage.settle(&image_step, Ok(image()));
    let seen = with_sandbox(SandboxState::Ready);
    assert_eq!(stage.plan(Some(&pod), &Wish::Run, Some(&seen)).steps, [Step::SetUpVolumes]);
    stage.settle(&Step::SetUpVolumes, Err(Failure::plain("ContainerCreating", "no".into())));
    let plan = stage.plan(Some(&pod), &Wish::Run, Some(&seen));
    assert_eq!((plan.steps.len(), plan.due()), (0, Some(Duration::from_millis(500))));
    stage.settle(&Step::SetUpVolumes, Ok(Done::VolumesReady));
    let plan = stage.plan(Some(&pod), &Wish::Run, Some(&seen));
    assert!(plan.steps.len() == 1 && is_start(&plan.steps[0]), "{:?}", plan.steps);
}

#[test]
fn a_pod_without_volumes_has_no_such_steps() {
    let (pod, mut stage) = (pod(json!([])), Stage::new());
    let plan = stage.plan(Some(&pod), &Wish::Run, None);
    assert!(!plan.steps.contains(&Step::SetUpVolumes));
    let gone = Wish::Gone(TerminationCause::Removed);
    assert_eq!(stage.plan(Some(&pod), &gone, None).steps, [Step::RemoveTraces]);
}

#[test]
fn after_a_restart_a_container_that_runs_is_left_alone() {
    let (pod, mut stage) = (pod(json!([admitted()])), Stage::new());
    let seen = with_container();
    assert_eq!(stage.plan(Some(&pod), &Wish::Run, Some(&seen)).steps, [Step::SetUpVolumes]);
    stage.settle(&Step::SetUpVolumes, Ok(Done::VolumesReady));
    let plan = stage.plan(Some(&pod), &Wish::Run, Some(&seen));
    assert_eq!((plan.steps, plan.rest), (Vec::new(), Rest::Settled));
}

#[test]
fn volumes_go_after_the_sandboxes_and_before_the_files() {
    let gone = Wish::Gone(TerminationCause::Removed);
    for known in [true, false] {
        let pod = pod(json!([admitted()]));
        let (pod, mut stage) = (known.then_some(&pod), Stage::new());
        let seen = with_sandbox(SandboxState::Ready);
        let stop = Step::StopSandbox { id: SandboxId::new("s0").unwrap() };
        assert_eq!(stage.plan(pod, &gone, Some(&seen)).steps, std::slice::from_ref(&stop));
        stage.settle(&stop, Ok(Done::SandboxStopped(SandboxId::new("s0").unwrap())));
        let seen = with_sandbox(SandboxState::NotReady);
        assert_eq!(stage.plan(pod, &gone, Some(&seen)).steps, [Step::TearDownVolumes]);
        stage.settle(&Step::TearDownVolumes, Ok(Done::VolumesGone));
        let remove = Step::RemoveSandbox { id: SandboxId::new("s0").unwrap() };
        assert_eq!(stage.plan(pod, &gone, Some(&seen)).steps, std::slice::from_ref(&remove));
        stage.settle(&remove, Ok(Done::Changed));
        assert_eq!(stage.plan(pod, &gone, None).steps, [Step::RemoveTraces]);
    }
}

#[test]
fn a_pod_that_is_to_go_waits_for_a_set_up_under_way_and_not_for_its_next_try() {
    let (pod, mut stage) = (pod(json!([admitted()])), Stage::new());
    let gone = Wish::Gone(TerminationCause::Removed);
    stage.plan(Some(&pod), &Wish::Run, None);
    stage.mind.begin(&Step::SetUpVolumes);
    let plan = stage.plan(Some(&pod), &gone, None);
    assert_eq!((plan.steps.len(), plan.waits.len()), (0, 1));
    stage.settle(&Step::SetUpVolumes, Err(Failure::plain("ContainerCreating", "no".into())));
    assert_eq!(stage.plan(Some(&pod), &gone, None).steps, [Step::TearDownVolumes]);
}
