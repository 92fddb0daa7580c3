//! The status of each container. Pure.
//!
//! What ran and how it ended comes from the journal's history; the runtime adds what runs now. Where both have
//! forgotten, the status before is kept: an end that was told never changes, and a restart that was counted stays so.

use k8s_openapi::api::core::v1::{
    Container, ContainerState as State, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, PodSpec, PodStatus,
    VolumeMount, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_cri::container::{ContainerState, ContainerStatus as Inspected};
use pinnace_pleg::snapshot::ContainerSeen;

use super::{Around, terminal};
use crate::journal::history::Exit;
use crate::pod::plan::notice::{UNKNOWN_CODE, UNKNOWN_MESSAGE, UNKNOWN_REASON, exit_of};
use crate::pod::status::{Waiting, known_reason, restarts as counted, wall};

/// Message of an init container that the runtime has forgotten while app containers are there, byte for byte the
/// kubelet's.
const INIT_FORGOTTEN: &str = "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally";

/// Whether an init container runs beside the app containers.
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether an end with this code is followed by a restart: by the container's own policy, else by the pod's, which for
/// a plain init container means a restart after failures only.
pub(super) fn restarts(spec: &PodSpec, container: &Container, init: bool, code: i32) -> bool {
    let own = container.restart_policy.as_deref();
    match own.or(spec.restart_policy.as_deref()) {
        Some("Never") => false,
        Some("OnFailure") => code != 0,
        _ => !init || own.is_some() || code != 0,
    }
}

/// Fills in all container statuses.
pub(super) fn fill(around: Around<'_>, new: &mut PodStatus) {
    let find = |statuses: &Option<Vec<ContainerStatus>>, name: &str| {
        statuses.iter().flatten().find(|status| status.name == name).cloned()
    };
    let before = around.before;
    let of = |container: &Container, init: bool| {
        let statuses = if init { &before.init_container_statuses } else { &before.container_statuses };
        let before = find(statuses, &container.name);
        One { around, container, init, before: before.as_ref() }.status()
    };
    let inits: Vec<_> =
        around.spec.init_containers.iter().flatten().map(|container| of(container, true)).collect();
    new.init_container_statuses = (!inits.is_empty()).then_some(inits);
    new.container_statuses =
        Some(around.spec.containers.iter().map(|container| of(container, false)).collect());
    if around.over && !around.is_static {
        terminal::complete(around.spec, new);
    }
}

#[derive(Debug, Clone, Copy)]
struct One<'a> {
    around: Around<'a>,
    container: &'a Container,
    init: bool,
    before: Option<&'a ContainerStatus>,
}

/// What is known of the newest instance.
#[derive(Debug)]
enum Known<'a> {
    /// It runs.
    Running(&'a ContainerSeen),
    /// It ended.
    Ended(Exit),
    /// It is made and not started.
    Created(&'a ContainerSeen),
    /// It is there, or was, and how it fares is not known in this moment.
    Unclear,
    /// Nothing tells of it.
    Nothing,
}

impl<'a> One<'a> {
    fn name(&self) -> &'a str {
        &self.container.name
    }

    fn newest(&self) -> Option<&'a ContainerSeen> {
        self.around.subject.seen.and_then(|seen| seen.newest_container(self.name()))
    }

    fn inspected(&self) -> Option<&'a Inspected> {
        self.newest().and_then(|seen| seen.status.as_deref())
    }

    fn known(&self) -> Known<'a> {
        let subject = self.around.subject;
        let exit = subject.last_exit(self.name());
        let Some(newest) = self.newest() else {
            let running = subject.history(self.name()).and_then(|history| history.running.as_ref());
            return match (exit, running) {
                (Some(exit), Some(running)) if running.attempt > exit.attempt => Known::Unclear,
                (Some(exit), _) => Known::Ended(exit.clone()),
                (None, Some(_)) => Known::Unclear,
                (None, None) => Known::Nothing,
            };
        };
        match newest.record.state {
            ContainerState::Running => Known::Running(newest),
            ContainerState::Created => match exit {
                Some(exit) if exit.attempt >= newest.record.attempt => Known::Ended(exit.clone()),
                _ => Known::Created(newest),
            },
            ContainerState::Unknown => Known::Unclear,
            ContainerState::Exited => {
                let status = newest.status.as_ref().filter(|status| status.state == ContainerState::Exited);
                match (exit, status) {
                    (Some(exit), _) if exit.attempt >= newest.record.attempt => Known::Ended(exit.clone()),
                    (_, Some(status)) => Known::Ended(exit_of(status, newest.record.attempt)),
                    (_, None) => Known::Unclear,
                }
            }
        }
    }

    fn status(&self) -> ContainerStatus {
        let known = self.known();
        let told = self.before.and_then(|before| before.state.as_ref());
        let was_running = told.is_some_and(|state| state.running.is_some());
        let has_ended = told.is_some_and(|state| state.terminated.is_some());
        let mut status = self.outline();
        match known {
            Known::Running(seen) => {
                let started = seen.status.as_ref().and_then(|status| status.started_at).and_then(wall);
                let running = ContainerStateRunning { started_at: started.map(Time) };
                status.state = Some(State { running: Some(running), ..State::default() });
                status.last_state = Some(terminated(self.end_before(seen)));
                // A plain init container is ready once it has done its work.
                status.ready = !self.init || is_sidecar(self.container);
                status.started = Some(true);
            }
            Known::Ended(exit) => self.ended(&exit, &mut status),
            Known::Unclear if told.is_some() => {
                status.state = told.cloned();
                status.ready = self.before.is_some_and(|before| before.ready);
                status.started = self.before.and_then(|before| before.started);
            }
            Known::Nothing if has_ended => {
                status.state = told.cloned();
                status.ready = self.before.is_some_and(|before| before.ready);
            }
            Known::Nothing if was_running => self.vanished(&mut status),
            Known::Created(seen) => {
                status.state = Some(self.waiting());
                status.last_state = Some(terminated(self.end_before(seen)));
            }
            Known::Unclear | Known::Nothing => status.state = Some(self.waiting()),
        }
        self.forgotten_init(&mut status);
        status
    }

    /// All but the state.
    fn outline(&self) -> ContainerStatus {
        let before = self.before;
        let seen = self.inspected();
        let image = seen.map(|seen| seen.image.clone()).filter(|image| !image.is_empty());
        let image_id = seen.map(|seen| seen.image_ref.clone()).filter(|id| !id.is_empty());
        let asked_for = || self.container.image.clone().unwrap_or_default();
        let told = before.filter(|before| !before.image_id.is_empty());
        let id = self.id();
        let needs = self.container.resources.clone().unwrap_or_default();
        let count = counted(self.around.subject, self.name());
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        ContainerStatus {
            name: self.name().to_owned(),
            image: image.or(told.map(|told| told.image.clone())).unwrap_or_else(asked_for),
            image_id: image_id.or(told.map(|told| told.image_id.clone())).unwrap_or_default(),
            allocated_resources: id.as_ref().and(needs.requests.clone()),
            resources: id.as_ref().map(|_| needs),
            container_id: id,
            restart_count: count.max(before.map_or(0, |before| before.restart_count)),
            started: Some(false),
            ready: false,
            last_state: Some(terminated(self.end_told(None))),
            volume_mounts: mounts(self.container, self.around.host.recursive_read_only),
            user: seen.and_then(user).or_else(|| before?.user.clone()),
            ..ContainerStatus::default()
        }
    }

    fn id(&self) -> Option<String> {
        let runtime = &self.around.host.runtime;
        let listed = self.newest().map(|seen| seen.record.id.to_string());
        let remembered = || self.around.subject.last_exit(self.name()).map(|exit| exit.container_id.clone());
        let id = listed.or_else(remembered).map(|id| format!("{runtime}://{id}"));
        id.or_else(|| self.before?.container_id.clone())
    }

    /// The end that was told before the instance called `now`.
    fn end_told(&self, now: Option<&str>) -> Option<ContainerStateTerminated> {
        let before = self.before?;
        let ended = |state: &Option<State>| state.as_ref()?.terminated.clone();
        let other = now.is_some() && before.container_id.as_deref() != now;
        ended(&before.state).filter(|_| other).or_else(|| ended(&before.last_state))
    }

    fn end_before(&self, newest: &ContainerSeen) -> Option<ContainerStateTerminated> {
        let exit = self.around.subject.last_exit(self.name());
        let earlier = exit.filter(|exit| exit.attempt < newest.record.attempt);
        let listed = || self.end_listed(newest.record.attempt);
        let told = || self.end_told(self.id().as_deref());
        earlier.map(|exit| self.end(exit)).or_else(listed).or_else(told)
    }

    /// How the newest instance before `attempt` ended, if the runtime has it.
    fn end_listed(&self, attempt: u32) -> Option<ContainerStateTerminated> {
        let all = self.around.subject.seen.map(|seen| seen.containers.as_slice()).unwrap_or_default();
        let earlier = all
            .iter()
            .filter(|seen| seen.record.name == self.name() && seen.record.attempt < attempt)
            .max_by_key(|seen| seen.record.attempt)?;
        let status = earlier.status.as_ref().filter(|status| status.state == ContainerState::Exited)?;
        Some(self.end(&exit_of(status, earlier.record.attempt)))
    }

    fn end(&self, exit: &Exit) -> ContainerStateTerminated {
        ContainerStateTerminated {
            container_id: Some(format!("{}://{}", self.around.host.runtime, exit.container_id)),
            exit_code: exit.code,
            finished_at: wall(exit.finished_at).map(Time),
            message: (!exit.message.is_empty()).then(|| exit.message.clone()),
            reason: (!exit.reason.is_empty()).then(|| exit.reason.clone()),
            signal: None,
            started_at: wall(exit.started_at).map(Time),
        }
    }

    /// An end that a restart follows is told as waiting once there is a reason for the wait.
    fn ended(&self, exit: &Exit, status: &mut ContainerStatus) {
        let subject = self.around.subject;
        let history = &subject.face.history;
        let stays = history.termination.is_some() || history.terminal.is_some();
        let again = !stays && restarts(self.around.spec, self.container, self.init, exit.code);
        let end = self.end(exit);
        match known_reason(subject, self.name()).filter(|_| again) {
            Some(why) => {
                status.state = Some(waiting(&why, self.nothing_yet()));
                status.last_state = Some(terminated(Some(end)));
            }
            None => {
                let id = end.container_id.clone();
                let earlier = self.end_listed(exit.attempt).or_else(|| self.end_told(id.as_deref()));
                status.ready = self.init && !is_sidecar(self.container) && exit.code == 0;
                status.state = Some(terminated(Some(end)));
                status.last_state = Some(terminated(earlier));
            }
        }
    }

    /// It ran by the status before, and now nothing tells of it.
    fn vanished(&self, status: &mut ContainerStatus) {
        let leaving = self.around.subject.face.pod.as_ref();
        let leaving = leaving.is_some_and(|pod| pod.pod.metadata.deletion_timestamp.is_some());
        let end = ContainerStateTerminated {
            exit_code: UNKNOWN_CODE,
            reason: Some(UNKNOWN_REASON.to_owned()),
            message: Some(UNKNOWN_MESSAGE.to_owned()),
            ..ContainerStateTerminated::default()
        };
        let known = self.end_told(None);
        if known.is_none() && !leaving {
            status.restart_count = status.restart_count.saturating_add(1);
        }
        status.state = Some(self.waiting());
        status.last_state = Some(terminated(known.or(Some(end))));
    }

    /// An app container shows that the init containers before it were done.
    fn forgotten_init(&self, status: &mut ContainerStatus) {
        let waits = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
        let forgotten = self.init && !is_sidecar(self.container) && waits && self.newest().is_none();
        let apps = &self.around.spec.containers;
        let seen = self.around.subject.seen;
        let made = seen.is_some_and(|seen| apps.iter().any(|app| seen.newest_container(&app.name).is_some()));
        if forgotten && made {
            let end = ContainerStateTerminated {
                reason: Some("Completed".to_owned()),
                message: Some(INIT_FORGOTTEN.to_owned()),
                ..ContainerStateTerminated::default()
            };
            status.state = Some(terminated(Some(end)));
            status.ready = true;
        }
    }

    fn nothing_yet(&self) -> &'static str {
        let inits = self.around.spec.init_containers.as_ref();
        if inits.is_some_and(|inits| !inits.is_empty()) { "PodInitializing" } else { "ContainerCreating" }
    }

    fn waiting(&self) -> State {
        let nothing = Waiting { reason: String::new(), message: String::new() };
        let why = known_reason(self.around.subject, self.name()).unwrap_or(nothing);
        waiting(&why, self.nothing_yet())
    }
}

fn waiting(why: &Waiting, nothing_yet: &str) -> State {
    let plain = why.reason.is_empty() || why.reason == "ContainerCreating";
    let reason = if plain { nothing_yet } else { &why.reason };
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: (!why.message.is_empty()).then(|| why.message.clone()),
    };
    State { waiting: Some(waiting), ..State::default() }
}

fn terminated(end: Option<ContainerStateTerminated>) -> State {
    State { terminated: end, ..State::default() }
}

/// Mounts as the spec has them: the runtime does not know the names of volumes.
fn mounts(container: &Container, recursive: bool) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = |mount: &VolumeMount| {
        let read_only = mount.read_only.filter(|read_only| *read_only);
        let whole_tree = match mount.recursive_read_only.as_deref() {
            Some("Enabled") => true,
            Some("IfPossible") => recursive,
            _ => false,
        };
        let mode = if whole_tree { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            mount_path: mount.mount_path.clone(),
            name: mount.name.clone(),
            read_only,
            recursive_read_only: read_only.map(|_| mode.to_owned()),
            volume_status: None,
        }
    };
    Some(mounts.iter().map(status).collect())
}

fn user(seen: &Inspected) -> Option<ContainerUser> {
    let user = seen.user.as_ref()?;
    let groups = (!user.groups.is_empty()).then(|| user.groups.clone());
    let linux = LinuxContainerUser { uid: user.uid, gid: user.gid, supplemental_groups: groups };
    Some(ContainerUser { linux: Some(linux) })
}
