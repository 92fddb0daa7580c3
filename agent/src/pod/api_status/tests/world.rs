//! A pod with a runtime and a history, put together by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState as Told, ContainerStatus, PodCondition, PodStatus};
use pinnace_cri::container::{Container as Record, ContainerState, ContainerStatus as Inspected};
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved, SandboxSeen};
use serde_json::{Value, json};

use super::super::{Host, of, status};
use crate::clock::{BootTime, Now, Stamp};
use crate::journal::history::{Exit, PodHistory, RunningSeen, Termination, TerminationCause, What};
use crate::pod::card::Face;
use crate::pod::paths::Dirs;
use crate::pod::plan::{Rest, Wish};
use crate::pod::status::Subject;
use crate::source::desired::{DesiredPod, Origin};

pub(super) const SECOND: i64 = 1_000_000_000;

pub(super) fn now(second: i64) -> Now {
    let boot = BootTime { boot_id: "b".into(), millis: 0 };
    let wall = Timestamp::from_second(1_000 + second).unwrap() + Duration::from_millis(700);
    Now { boot, wall }
}

pub(super) fn stamp(second: i64) -> Stamp {
    now(second).stamp()
}

pub(super) fn host() -> Host {
    let ips = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    Host { ips, runtime: "containerd".into(), recursive_read_only: false }
}

pub(super) struct World {
    pub(super) face: Face,
    pub(super) seen: Option<PodObserved>,
}

impl World {
    pub(super) fn new(spec: Value) -> Self {
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

    pub(super) fn policy(policy: &str) -> Self {
        Self::new(json!({ "restartPolicy": policy, "containers": [{ "name": "c", "image": "i" }] }))
    }

    pub(super) fn apply(&mut self, what: What) -> &mut Self {
        self.face.history.apply(&what);
        self
    }

    pub(super) fn seen(&mut self) -> &mut PodObserved {
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

    pub(super) fn sandbox(&mut self, state: SandboxState, ips: &[&str]) -> &mut Self {
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

    pub(super) fn instance(
        &mut self,
        name: &str,
        attempt: u32,
        state: ContainerState,
        code: i32,
    ) -> &mut Self {
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
            image: "images.test/library/i:1".into(),
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

    pub(super) fn runs(&mut self, name: &str, attempt: u32) -> &mut Self {
        let seen = RunningSeen { container_id: format!("{name}{attempt}"), attempt };
        self.apply(What::Running { name: name.into(), seen });
        self.instance(name, attempt, ContainerState::Running, 0)
    }

    pub(super) fn ends(&mut self, name: &str, attempt: u32, code: i32) -> &mut Self {
        self.remembers_end(name, attempt, code).instance(name, attempt, ContainerState::Exited, code)
    }

    pub(super) fn remembers_end(&mut self, name: &str, attempt: u32, code: i32) -> &mut Self {
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

    pub(super) fn terminates(&mut self, cause: TerminationCause) -> &mut Self {
        let grace = Duration::from_secs(30);
        self.apply(What::Terminating(Termination { cause, since: stamp(7), grace, shortened: false }))
    }

    pub(super) fn status(&self, before: Option<&PodStatus>, second: i64) -> PodStatus {
        let uid = PodUid::new("u1").unwrap();
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        let subject = Subject { uid: &uid, face: &self.face, seen: self.seen.as_ref(), dirs: &dirs };
        status(&subject, before, &host(), &now(second))
    }

    /// The same for a pod that the API server gave us.
    pub(super) fn status_of_api(&self, before: Option<&PodStatus>, second: i64) -> PodStatus {
        let uid = PodUid::new("u1").unwrap();
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        let subject = Subject { uid: &uid, face: &self.face, seen: self.seen.as_ref(), dirs: &dirs };
        of(&subject, before, &host(), false, &now(second))
    }
}

pub(super) fn condition<'a>(status: &'a PodStatus, name: &str) -> &'a PodCondition {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name).unwrap()
}

pub(super) fn says(status: &PodStatus, name: &str) -> (String, String, String) {
    let condition = condition(status, name);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (condition.status.clone(), text(&condition.reason), text(&condition.message))
}

pub(super) fn container<'a>(status: &'a PodStatus, name: &str) -> &'a ContainerStatus {
    let inits = status.init_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten()).find(|status| status.name == name).unwrap()
}

pub(super) fn waits_for(status: &ContainerStatus) -> String {
    status
        .state
        .as_ref()
        .unwrap()
        .waiting
        .as_ref()
        .map(|waiting| waiting.reason.clone().unwrap())
        .unwrap_or_default()
}

pub(super) fn code(state: &Option<Told>) -> Option<i32> {
    state.as_ref()?.terminated.as_ref().map(|ended| ended.exit_code)
}
