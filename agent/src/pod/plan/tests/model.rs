//! The runtime as the planner's tests have it: exact, in memory, and strict about what must never be asked of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pinnace_cri::container::{Container, ContainerState, ContainerStatus};
use pinnace_cri::id::{PodUid, SandboxId};
use pinnace_cri::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved, SandboxSeen};

use crate::journal::history::PodHistory;
use crate::pod::job::{Done, Failure};
use crate::pod::step::Step;

const UID: &str = "u1";

/// A runtime in a few fields, whose calls work at once.
#[derive(Default)]
pub(super) struct Model {
    pub(super) sandboxes: Vec<SandboxSeen>,
    pub(super) containers: Vec<ContainerSeen>,
    made: u32,
    pub(super) traces: bool,
}

impl Model {
    fn next_id(&mut self) -> String {
        self.made += 1;
        format!("id{}", self.made)
    }

    pub(super) fn observed(&self) -> Option<PodObserved> {
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

    fn is_ready(&self, sandbox: &SandboxId) -> bool {
        let ready =
            |seen: &SandboxSeen| seen.record.id == *sandbox && seen.record.state == SandboxState::Ready;
        self.sandboxes.iter().any(ready)
    }

    /// Makes an instance, which is not started yet.
    fn create(&mut self, name: &str, attempt: u32, sandbox: &SandboxId) {
        let taken = |seen: &&ContainerSeen| seen.record.name == name && seen.record.attempt == attempt;
        assert!(self.containers.iter().find(taken).is_none(), "attempt {attempt} of {name} reused");
        let id = pinnace_cri::id::ContainerId::new(&self.next_id()).unwrap();
        let status = ContainerStatus {
            user: None,
            id: id.clone(),
            name: name.to_owned(),
            attempt,
            state: ContainerState::Created,
            created_at: 1,
            started_at: None,
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
            state: ContainerState::Created,
            image: "i".into(),
            image_ref: "i".into(),
            created_at: 1,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        self.containers.push(ContainerSeen { record: Arc::new(record), status: Some(Arc::new(status)) });
    }

    /// Starts what was created; an instance that is in no sandbox which is up cannot be.
    fn start(&mut self, which: impl Fn(&Container) -> bool) -> Result<Done, Failure> {
        // A start that the runtime was slow to begin may find its instance removed with a dead sandbox.
        let found = self.containers.iter().position(|seen| which(&seen.record)).ok_or_else(refused)?;
        let sandbox = self.containers[found].record.sandbox_id.clone();
        assert_eq!(self.containers[found].record.state, ContainerState::Created, "started twice");
        if !self.is_ready(&sandbox) {
            return Err(refused());
        }
        let seen = &mut self.containers[found];
        Arc::make_mut(&mut seen.record).state = ContainerState::Running;
        if let Some(status) = &mut seen.status {
            let status = Arc::make_mut(status);
            (status.state, status.started_at) = (ContainerState::Running, Some(1));
        }
        Ok(Done::Changed)
    }

    pub(super) fn end(&mut self, which: impl Fn(&Container) -> bool, code: i32) {
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

    pub(super) fn down(&mut self, id: &SandboxId) {
        self.end(|container| container.sandbox_id == *id, 137);
        for seen in self.sandboxes.iter_mut().filter(|seen| seen.record.id == *id) {
            Arc::make_mut(&mut seen.record).state = SandboxState::NotReady;
            if let Some(status) = &mut seen.status {
                Arc::make_mut(status).state = SandboxState::NotReady;
            }
        }
    }

    /// Does a step as the runtime would, and refuses what must never be asked of it.
    pub(super) fn apply(&mut self, step: &Step, history: &PodHistory) -> Result<Done, Failure> {
        match step {
            Step::RunSandbox { attempt } => self.run_sandbox(*attempt),
            Step::StopSandbox { id } => {
                self.down(id);
                return Ok(Done::SandboxStopped(id.clone()));
            }
            Step::RemoveSandbox { id } => {
                assert!(self.containers.iter().all(|seen| seen.record.sandbox_id != *id), "removed in use");
                self.sandboxes.retain(|seen| seen.record.id != *id);
            }
            Step::EnsureImage { name, attempt } => {
                let image_ref = "i".to_owned();
                return Ok(Done::Image { name: name.clone(), attempt: *attempt, image_ref });
            }
            Step::StartContainer { name, attempt, .. } => {
                self.half(step)?;
                return self.start(|made| made.name == *name && made.attempt == *attempt);
            }
            Step::StartCreated { id, .. } => return self.start(|made| made.id == *id),
            Step::StopContainer { id, .. } | Step::HurryContainer { id, .. } => {
                self.end(|container| container.id == *id, 143)
            }
            Step::RemoveContainer { name, id, attempt } => {
                let seen = self.containers.iter().find(|seen| seen.record.id == *id).unwrap();
                assert_ne!(seen.record.state, ContainerState::Running, "removed while it runs");
                let ran = seen.record.state != ContainerState::Created;
                let exit = history.containers.get(name).and_then(|known| known.last_exit.as_ref());
                let known = exit.is_some_and(|exit| exit.attempt >= *attempt);
                assert!(known || !ran, "removed before it was recorded");
                self.containers.retain(|seen| seen.record.id != *id);
            }
            Step::SetUpVolumes => return Ok(Done::VolumesReady),
            Step::TearDownVolumes => return Ok(Done::VolumesGone),
            Step::RemoveTraces => {
                self.traces = false;
                return Ok(Done::TracesGone);
            }
        }
        Ok(Done::Changed)
    }

    /// Does of a start what comes before the instance runs.
    pub(super) fn half(&mut self, step: &Step) -> Result<Done, Failure> {
        if let Step::StartContainer { name, attempt, sandbox, .. } = step {
            if !self.is_ready(sandbox) {
                return Err(refused());
            }
            self.create(name, *attempt, sandbox);
        }
        Ok(Done::Changed)
    }
}

/// An answer that proves that nothing was done.
pub(super) fn refused() -> Failure {
    Failure::plain("RunContainerError", "refused".to_owned())
}
