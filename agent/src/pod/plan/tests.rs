//! The planner against a model of the runtime: steps are applied as the runtime would, observations are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec};
use pinnace_cri::container::{Container, ContainerState, ContainerStatus};
use pinnace_cri::id::PodUid;
use pinnace_pleg::snapshot::PodObserved;
use proptest::prelude::*;

use super::*;
use crate::clock::BootTime;
use crate::pod::act::Done;
use crate::pod::mind::{Around, Mind, Pace};
use crate::source::desired::Origin;

const UID: &str = "u1";

fn pod(policy: &str, names: &[&str]) -> DesiredPod {
    let containers = names
        .iter()
        .map(|name| Spec { name: (*name).to_owned(), image: Some("i".to_owned()), ..Spec::default() })
        .collect();
    let spec = PodSpec { restart_policy: Some(policy.to_owned()), containers, ..PodSpec::default() };
    DesiredPod {
        uid: PodUid::new(UID).unwrap(),
        namespace: "default".into(),
        name: "x".into(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(Pod { spec: Some(spec), ..Pod::default() }),
        held: Vec::new(),
    }
}

/// A runtime in a few fields, whose calls work at once.
#[derive(Default)]
struct Model {
    sandboxes: Vec<SandboxSeen>,
    containers: Vec<ContainerSeen>,
    made: u32,
    traces: bool,
}

impl Model {
    fn next_id(&mut self) -> String {
        self.made += 1;
        format!("id{}", self.made)
    }

    fn observed(&self) -> Option<PodObserved> {
        if self.sandboxes.is_empty() && self.containers.is_empty() {
            return None;
        }
        let (mut sandboxes, mut containers) = (self.sandboxes.clone(), self.containers.clone());
        sandboxes.sort_by_key(|seen| std::cmp::Reverse(seen.record.attempt));
        containers.sort_by_key(|seen| (seen.record.name.clone(), std::cmp::Reverse(seen.record.attempt)));
        let uid = PodUid::new(UID).unwrap();
        let (name, namespace) = ("x".into(), "default".into());
        Some(PodObserved { uid, name, namespace, began: 1, sandboxes, containers, quarantine: None })
    }

    fn run_sandbox(&mut self, attempt: u32) {
        use pinnace_cri::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
        assert!(
            self.sandboxes.iter().all(|s| s.record.attempt != attempt),
            "sandbox attempt {attempt} reused"
        );
        let id = SandboxId::new(&self.next_id()).unwrap();
        let ips = vec!["10.0.0.1".parse().unwrap()];
        let status =
            SandboxStatus { id: id.clone(), state: SandboxState::Ready, ips, network: NetworkMode::Pod };
        let record = Sandbox {
            id,
            pod_uid: PodUid::new(UID).unwrap(),
            pod_name: "x".into(),
            pod_namespace: "default".into(),
            attempt,
            state: SandboxState::Ready,
            created_at: 1,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            runtime_handler: String::new(),
        };
        self.sandboxes.push(SandboxSeen { record: Arc::new(record), status: Some(Arc::new(status)) });
        self.traces = true;
    }

    fn start(&mut self, name: &str, attempt: u32, sandbox: &SandboxId) {
        let taken = |seen: &&ContainerSeen| seen.record.name == name && seen.record.attempt == attempt;
        assert!(self.containers.iter().find(taken).is_none(), "attempt {attempt} of {name} reused");
        let id = pinnace_cri::id::ContainerId::new(&self.next_id()).unwrap();
        let status = ContainerStatus {
            id: id.clone(),
            name: name.to_owned(),
            attempt,
            state: ContainerState::Running,
            created_at: 1,
            started_at: Some(1),
            finished_at: None,
            exit_code: 0,
            image: "i".into(),
            image_ref: "i".into(),
            reason: String::new(),
            message: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            log_path: String::new(),
            mounts: Vec::new(),
        };
        let record = Container {
            id,
            sandbox_id: sandbox.clone(),
            pod_uid: PodUid::new(UID).unwrap(),
            name: name.to_owned(),
            attempt,
            state: ContainerState::Running,
            image: "i".into(),
            image_ref: "i".into(),
            created_at: 1,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        self.containers.push(ContainerSeen { record: Arc::new(record), status: Some(Arc::new(status)) });
    }

    fn end(&mut self, which: impl Fn(&Container) -> bool, code: i32) {
        for seen in &mut self.containers {
            if which(&seen.record) && seen.record.state == ContainerState::Running {
                Arc::make_mut(&mut seen.record).state = ContainerState::Exited;
                if let Some(status) = &mut seen.status {
                    let status = Arc::make_mut(status);
                    (status.state, status.exit_code) = (ContainerState::Exited, code);
                    status.finished_at = Some(2);
                }
            }
        }
    }

    fn down(&mut self, id: &SandboxId) {
        use pinnace_cri::sandbox::SandboxState;
        self.end(|container| container.sandbox_id == *id, 137);
        for seen in self.sandboxes.iter_mut().filter(|seen| seen.record.id == *id) {
            Arc::make_mut(&mut seen.record).state = SandboxState::NotReady;
            if let Some(status) = &mut seen.status {
                Arc::make_mut(status).state = SandboxState::NotReady;
            }
        }
    }

    /// Does a step as the runtime would, and refuses what must never be asked of it.
    fn apply(&mut self, step: &Step, history: &PodHistory) -> Done {
        match step {
            Step::RunSandbox { attempt } => self.run_sandbox(*attempt),
            Step::StopSandbox { id } => {
                self.down(id);
                return Done::SandboxStopped(id.clone());
            }
            Step::RemoveSandbox { id } => {
                assert!(self.containers.iter().all(|seen| seen.record.sandbox_id != *id), "removed in use");
                self.sandboxes.retain(|seen| seen.record.id != *id);
            }
            Step::EnsureImage { name, attempt } => {
                let image_ref = "i".to_owned();
                return Done::Image { name: name.clone(), attempt: *attempt, image_ref };
            }
            Step::StartContainer { name, attempt, sandbox, .. } => self.start(name, *attempt, sandbox),
            Step::StartCreated { .. } => panic!("nothing is ever only created here"),
            Step::StopContainer { id, .. } => self.end(|container| container.id == *id, 143),
            Step::RemoveContainer { name, id, attempt } => {
                let seen = self.containers.iter().find(|seen| seen.record.id == *id).unwrap();
                assert_ne!(seen.record.state, ContainerState::Running, "removed while it runs");
                let exit = history.containers.get(name).and_then(|known| known.last_exit.as_ref());
                assert!(exit.is_some_and(|exit| exit.attempt >= *attempt), "removed before it was recorded");
                self.containers.retain(|seen| seen.record.id != *id);
            }
            Step::SetUpVolumes => return Done::VolumesReady,
            Step::TearDownVolumes => return Done::VolumesGone,
            Step::RemoveTraces => {
                self.traces = false;
                return Done::TracesGone;
            }
        }
        Done::Changed
    }
}

/// A worker without its waits.
struct Play {
    model: Model,
    mind: Mind,
    pod: DesiredPod,
    wish: Wish,
    seconds: u64,
    sequence: u64,
}

impl Play {
    fn new(pod: DesiredPod) -> Self {
        let (model, mind) = (Model::default(), Mind::new(PodHistory::default()));
        Self { model, mind, pod, wish: Wish::Run, seconds: 1_000, sequence: 1 }
    }

    fn now(&self) -> Now {
        let boot = BootTime { boot_id: "b".into(), millis: self.seconds * 1_000 };
        let wall = Timestamp::from_second(1_000_000 + i64::try_from(self.seconds).unwrap()).unwrap();
        Now { boot, wall }
    }

    /// One pass: observes, plans twice, does the steps. Time goes on by what the plan waits for.
    fn pass(&mut self) -> Plan {
        self.sequence += 1;
        let (seen, now) = (self.model.observed(), self.now());
        self.mind.observe(self.sequence);
        self.mind.forget_overtaken(seen.as_ref());
        let (pod, wish) = (self.pod.clone(), self.wish.clone());
        let around = Around {
            wish: &wish,
            pod: Some(&pod),
            seen: seen.as_ref(),
            alone: true,
            network_ready: true,
            backoff_cap: Duration::from_secs(300),
            now: &now,
        };
        let plan = loop {
            let plan = self.mind.plan(around);
            assert_eq!(plan, self.mind.plan(around), "planning twice differs");
            if plan.notes.is_empty() {
                break plan;
            }
            assert!(plan.steps.is_empty(), "notes and steps at once");
            plan.notes.iter().for_each(|note| self.mind.remember(note));
        };
        let keys: BTreeSet<Key> = plan.steps.iter().map(Step::key).collect();
        assert_eq!(keys.len(), plan.steps.len(), "two steps of one key: {:?}", plan.steps);
        let creates = plan.steps.iter().filter(|step| step.creates()).count();
        assert!(creates <= 1, "two creates: {:?}", plan.steps);
        for step in &plan.steps {
            self.announce(step, &around);
            self.mind.begin(step);
        }
        for step in &plan.steps {
            let done = self.model.apply(step, &self.mind.history);
            self.mind.settle(step, &Ok(done), self.sequence, &Pace::default(), &now);
        }
        self.seconds += plan.due().map_or(0, |due| due.as_secs().max(1));
        self.assert_single();
        plan
    }

    fn announce(&mut self, step: &Step, around: &Around<'_>) {
        match step {
            Step::RunSandbox { attempt } => self.mind.remember(&What::SandboxAttempt(*attempt)),
            Step::StartContainer { name, attempt, .. } => {
                let backoff = self.mind.backoff_of_start(name, *attempt, around);
                let (name, image) = (name.clone(), "i".to_owned());
                self.mind.remember(&What::ContainerAttempt { name: name.clone(), attempt: *attempt, image });
                if backoff.is_some() {
                    self.mind.remember(&What::Backoff { name, backoff });
                }
            }
            _ => {}
        }
    }

    fn assert_single(&self) {
        let running = |name: &str| {
            let all = self.model.containers.iter();
            all.filter(|c| c.record.name == name && c.record.state == ContainerState::Running).count()
        };
        for name in ["a", "b", "c"] {
            assert!(running(name) <= 1, "two of {name} run");
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self, &Plan) -> bool) {
        for _ in 0..400 {
            let plan = self.pass();
            if done(self, &plan) {
                return;
            }
        }
        panic!("not within 400 passes: {what}; the last plan was {:?}", self.pass());
    }

    fn running(&self) -> usize {
        self.model.containers.iter().filter(|c| c.record.state == ContainerState::Running).count()
    }

    fn leave(&mut self) {
        self.wish = Wish::Gone(TerminationCause::Removed);
        self.until("vanished", |_, plan| plan.rest == Rest::Vanished);
        assert!(self.model.sandboxes.is_empty() && self.model.containers.is_empty() && !self.model.traces);
    }
}

#[test]
fn the_table_of_policies_and_ends() {
    let table = [
        ("Always", 0, None),
        ("Always", 7, None),
        ("OnFailure", 0, Some(true)),
        ("OnFailure", 7, None),
        ("Never", 0, Some(true)),
        ("Never", 7, Some(false)),
    ];
    for (policy, code, terminal) in table {
        let mut play = Play::new(pod(policy, &["a"]));
        play.until("runs", |play, plan| play.running() == 1 && plan.rest == Rest::Settled);
        play.model.end(|_| true, code);
        match terminal {
            None => play.until("restarted", |play, plan| play.running() == 1 && plan.rest == Rest::Settled),
            Some(_) => play.until("at its end", |_, plan| plan.rest == Rest::Settled),
        }
        let said = play.mind.history.terminal.as_ref().map(|terminal| terminal.succeeded);
        assert_eq!(said, terminal, "{policy} {code}");
        play.leave();
    }
}

#[derive(Debug, Clone)]
enum Event {
    Exit(usize, i32),
    SandboxDies,
    Passes(usize),
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0usize..3, prop_oneof![Just(0), Just(1), Just(137)])
            .prop_map(|(which, code)| Event::Exit(which, code)),
        Just(Event::SandboxDies),
        (1usize..12).prop_map(Event::Passes),
        Just(Event::Restart),
    ];
    proptest::collection::vec(event, 0..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens to it, a pod comes to rest with what its policy says running, and leaves nothing in the end.
    #[test]
    fn every_history_converges_and_every_termination_ends(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        count in 1usize..4,
        events in events(),
    ) {
        let names = ["a", "b", "c"];
        let names = &names[..count];
        let mut play = Play::new(pod(policy, names));
        for event in events {
            match event {
                Event::Exit(which, code) => {
                    play.model.end(|container| names.get(which).is_some_and(|name| container.name == *name), code);
                }
                Event::SandboxDies => {
                    let newest = play.model.sandboxes.iter().max_by_key(|seen| seen.record.attempt);
                    if let Some(id) = newest.map(|seen| seen.record.id.clone()) {
                        play.model.down(&id);
                    }
                }
                Event::Passes(count) => (0..count).for_each(|_| drop(play.pass())),
                Event::Restart => play.mind = Mind::new(play.mind.history.clone()),
            }
        }
        play.until("at rest", |_, plan| plan.rest == Rest::Settled);
        prop_assert!(policy != "Always" || play.running() == count, "{} of {count} run", play.running());
        play.leave();
    }
}
