//! What a pod's state is called: phase, container states and reasons in the API's words. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::container::ContainerState;
use pinnace_cri::id::PodUid;
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved};

use crate::journal::history::{ContainerHistory, Exit, TerminationCause};
use crate::pod::card::Face;
use crate::pod::go_duration::go_duration;
use crate::pod::paths::{Dirs, PodNames};
use crate::pod::plan::{Rest, Retry, Wait, Wish};
use crate::pod::step::Key;
use crate::source::desired::{DesiredPod, Origin};
use crate::view::{ContainerView, PodView};

/// What a view is made from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// UID.
    pub uid: &'a PodUid,
    /// The worker's last word.
    pub face: &'a Face,
    /// What the runtime holds.
    pub seen: Option<&'a PodObserved>,
    /// Where files are.
    pub dirs: &'a Dirs,
}

/// Phase of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A container never started.
    Pending,
    /// At least one runs or will again.
    Running,
    /// All ended with 0 and stay so.
    Succeeded,
    /// All ended, not all with 0, and stay so.
    Failed,
}

impl Phase {
    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

impl Subject<'_> {
    fn specs(&self) -> &[Spec] {
        let spec = self.face.pod.as_ref().and_then(|pod| pod.pod.spec.as_ref());
        spec.map(|spec| spec.containers.as_slice()).unwrap_or_default()
    }

    fn newest(&self, name: &str) -> Option<&ContainerSeen> {
        self.seen.and_then(|seen| seen.newest_container(name))
    }

    fn history(&self, name: &str) -> Option<&ContainerHistory> {
        self.face.history.containers.get(name)
    }

    fn last_exit(&self, name: &str) -> Option<&Exit> {
        self.history(name).and_then(|history| history.last_exit.as_ref())
    }

    fn is_running(&self, name: &str) -> bool {
        self.newest(name).is_some_and(|seen| seen.record.state == ContainerState::Running)
    }

    /// Names of the containers: the spec's, or for a pod that only the runtime knows, those that it lists.
    fn names(&self) -> Vec<String> {
        if self.face.pod.is_some() {
            return self.specs().iter().map(|spec| spec.name.clone()).collect();
        }
        let mut names: Vec<_> = self
            .seen
            .map(|seen| seen.containers.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|container| container.record.name.clone())
            .collect();
        names.dedup();
        names
    }

    fn is_leaving(&self) -> bool {
        let removed = |cause: &TerminationCause| {
            matches!(
                cause,
                TerminationCause::Removed | TerminationCause::Replaced | TerminationCause::Orphaned
            )
        };
        self.face.wish != Wish::Run
            || self.face.history.termination.as_ref().is_some_and(|termination| removed(&termination.cause))
    }

    /// The phase; terminal for ever once the history says so.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if let Some(terminal) = &self.face.history.terminal {
            return if terminal.succeeded { Phase::Succeeded } else { Phase::Failed };
        }
        let started = |name: &String| self.is_running(name) || self.last_exit(name).is_some();
        if self.names().iter().all(started) && !self.names().is_empty() {
            Phase::Running
        } else {
            Phase::Pending
        }
    }
}

/// What is waited for on the way to a restart, by container name.
fn backing_off<'a>(waits: &'a [Wait], name: &str) -> Option<&'a Wait> {
    waits.iter().find(|wait| wait.left.is_some() && wait.step == format!("restart container {name}"))
}

struct Waiting {
    reason: String,
    message: String,
}

/// Why a container that does not run is waiting.
fn waiting(subject: &Subject<'_>, name: &str) -> Waiting {
    let face = subject.face;
    if let Some(wait) = backing_off(&face.waits, name) {
        let delay =
            subject.history(name).and_then(|history| history.backoff.as_ref()).map(|known| known.delay);
        let pod = format!("{}_{}({})", face.name, face.namespace, subject.uid);
        let delay = delay.map_or_else(|| wait.waiting_for.clone(), go_duration);
        let message = format!("back-off {delay} restarting failed container={name} pod={pod}");
        return Waiting { reason: "CrashLoopBackOff".to_owned(), message };
    }
    if let Some(held) = face.pod.as_ref().and_then(|pod| pod.held.first()) {
        return Waiting { reason: "Held".to_owned(), message: format!("{}: {}", held.field, held.reason) };
    }
    for key in [Key::Start(name.to_owned()), Key::Image(name.to_owned()), Key::Sandbox, Key::Volumes] {
        if let Some(retry) = face.retries.get(&key) {
            let reason = if matches!(key, Key::Sandbox | Key::Volumes) { "ContainerCreating".to_owned() } else { failed(retry) };
            return Waiting { reason, message: retry.message.clone() };
        }
    }
    Waiting { reason: "ContainerCreating".to_owned(), message: String::new() }
}

/// An image that failed more than once is backing off.
fn failed(retry: &Retry) -> String {
    match retry.reason.as_str() {
        "ErrImagePull" if retry.failures > 1 && !retry.left.is_zero() => "ImagePullBackOff".to_owned(),
        reason => reason.to_owned(),
    }
}

fn wall(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()).flatten()
}

/// How often a container was started again: the attempt of the newest instance that there ever was.
fn restarts(subject: &Subject<'_>, name: &str) -> u32 {
    let history = subject.history(name);
    let ended = history.and_then(|history| history.last_exit.as_ref()).map(|exit| exit.attempt);
    let ran = history.and_then(|history| history.running.as_ref()).map(|running| running.attempt);
    let listed = subject.newest(name).map(|seen| seen.record.attempt);
    ended.max(ran).max(listed).unwrap_or(0)
}

/// One container's view.
#[must_use]
pub fn container(subject: &Subject<'_>, name: &str) -> ContainerView {
    let face = subject.face;
    let newest = subject.newest(name);
    let exit = subject.last_exit(name);
    let restarts = restarts(subject, name);
    let spec = subject.specs().iter().find(|spec| spec.name == name);
    let image = spec.and_then(|spec| spec.image.clone()).or(newest.map(|seen| seen.record.image.clone()));
    let logs = PodNames::new(&face.namespace, &face.name, subject.uid);
    let log = |attempt| {
        let path = subject.dirs.log_file(logs.as_ref()?, name, attempt);
        Some(path.to_string_lossy().into_owned())
    };
    let view = ContainerView {
        namespace: face.namespace.clone(),
        pod: face.name.clone(),
        name: name.to_owned(),
        id: newest.map(|seen| seen.record.id.to_string()).or(exit.map(|exit| exit.container_id.clone())),
        state: String::new(),
        reason: String::new(),
        message: String::new(),
        exit_code: None,
        last_exit_code: None,
        restarts,
        image: image.unwrap_or_default(),
        started: None,
        finished: None,
        log_path: (newest.is_some() || exit.is_some()).then(|| log(restarts)).flatten(),
        previous_log_path: restarts.checked_sub(1).and_then(log),
    };
    with_state(subject, name, view)
}

fn with_state(subject: &Subject<'_>, name: &str, view: ContainerView) -> ContainerView {
    let exit = subject.last_exit(name);
    if subject.is_running(name) {
        let status = subject.newest(name).and_then(|seen| seen.status.as_ref());
        return ContainerView {
            state: "Running".to_owned(),
            started: status.and_then(|status| wall(status.started_at?)),
            last_exit_code: exit.map(|exit| exit.code),
            ..view
        };
    }
    let stays = subject.face.history.termination.is_some() || subject.face.history.terminal.is_some();
    let over = |exit: &&Exit| stays || is_done(subject.face.pod.as_deref(), exit.code);
    match exit.filter(over) {
        Some(exit) => ContainerView {
            state: "Terminated".to_owned(),
            reason: exit.reason.clone(),
            message: exit.message.clone(),
            exit_code: Some(exit.code),
            started: wall(exit.started_at),
            finished: wall(exit.finished_at),
            ..view
        },
        None => {
            let waiting = waiting(subject, name);
            ContainerView {
                state: "Waiting".to_owned(),
                reason: waiting.reason,
                message: waiting.message,
                last_exit_code: exit.map(|exit| exit.code),
                ..view
            }
        }
    }
}

fn is_done(pod: Option<&DesiredPod>, code: i32) -> bool {
    use crate::pod::plan::containers::Policy;
    pod.is_none_or(|pod| !Policy::of(pod).restarts(code))
}

/// Every container's view, in the order of the spec.
#[must_use]
pub fn containers(subject: &Subject<'_>) -> Vec<ContainerView> {
    subject.names().iter().map(|name| container(subject, name)).collect()
}

/// The pod's view.
#[must_use]
pub fn pod(subject: &Subject<'_>) -> PodView {
    let face = subject.face;
    let containers = containers(subject);
    let phase = subject.phase();
    let sandbox = subject.seen.and_then(|seen| seen.newest_sandbox());
    let ip = sandbox.and_then(|sandbox| sandbox.status.as_ref()).and_then(|status| status.ips.first());
    PodView {
        namespace: face.namespace.clone(),
        name: face.name.clone(),
        uid: subject.uid.to_string(),
        ready: containers.iter().filter(|container| container.state == "Running").count(),
        containers: containers.len(),
        status: word(subject, phase, &containers),
        phase: phase.as_str().to_owned(),
        restarts: containers.iter().map(|container| container.restarts).fold(0, u32::saturating_add),
        started: face.history.started.as_ref().map(|stamp| stamp.wall),
        ip: ip.map(ToString::to_string),
        reason: reason(subject, &containers),
        source: face.pod.as_ref().map(|pod| match &pod.origin {
            Origin::File(path) => path.to_string_lossy().into_owned(),
        }),
    }
}

/// What kubectl would show.
fn word(subject: &Subject<'_>, phase: Phase, containers: &[ContainerView]) -> String {
    if subject.face.quarantined.is_some() {
        return "Quarantined".to_owned();
    }
    if subject.is_leaving() {
        return "Terminating".to_owned();
    }
    let terminal = subject.face.history.terminal.as_ref();
    if let Some(reason) = terminal.map(|terminal| terminal.reason.clone()).filter(|reason| !reason.is_empty())
    {
        return reason;
    }
    let telling = |state: &str| {
        let found = containers
            .iter()
            .rev()
            .find(|container| container.state == state && !container.reason.is_empty());
        found.map(|container| container.reason.clone())
    };
    match phase {
        Phase::Succeeded => "Completed".to_owned(),
        Phase::Failed => {
            telling("Terminated").filter(|reason| reason != "Completed").unwrap_or("Error".to_owned())
        }
        Phase::Pending | Phase::Running => telling("Waiting").unwrap_or_else(|| phase.as_str().to_owned()),
    }
}

/// Why all is not well.
fn reason(subject: &Subject<'_>, containers: &[ContainerView]) -> String {
    let face = subject.face;
    if let Some(why) = &face.quarantined {
        return why.clone();
    }
    if let Some(held) = face.pod.as_ref().and_then(|pod| pod.held.first()) {
        return format!("held by {}: {}", held.field, held.reason);
    }
    if let Some(terminal) = face.history.terminal.as_ref().filter(|terminal| !terminal.message.is_empty()) {
        return terminal.message.clone();
    }
    if let Some(quarantine) = subject.seen.and_then(|seen| seen.quarantine.as_ref()) {
        return format!("the runtime does not tell this pod's state: {quarantine:?}");
    }
    let message =
        containers.iter().find(|container| container.state == "Waiting" && !container.message.is_empty());
    match message {
        Some(container) => container.message.clone(),
        None if face.rest == Rest::Working => face
            .waits
            .first()
            .map(|wait| format!("{}: waiting for {}", wait.step, wait.waiting_for))
            .unwrap_or_default(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::journal::history::{PodHistory, Terminal, What};
    use crate::pod::step::Step;

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
}
