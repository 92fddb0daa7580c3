//! What a container's state is called: its waiting reason, and its line for people. Pure.

use jiff::Timestamp;

use super::Subject;
use crate::image::words;
use crate::journal::history::Exit;
use crate::pod::go_duration::go_duration;
use crate::pod::paths::PodNames;
use crate::pod::plan::{Retry, Wait};
use crate::pod::step::Key;
use crate::source::desired::DesiredPod;
use crate::view::ContainerView;

/// Waiting reason of an image whose pull failed more than once.
const PULL_BACK_OFF: &str = "ImagePullBackOff";

/// What is waited for on the way to a restart, by container name.
fn backing_off<'a>(waits: &'a [Wait], name: &str) -> Option<&'a Wait> {
    waits.iter().find(|wait| wait.left.is_some() && wait.step == format!("restart container {name}"))
}

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// A word of the kubelet's, such as `CrashLoopBackOff`.
    pub reason: String,
    /// A sentence, or nothing.
    pub message: String,
}

/// Why a container that does not run is waiting.
#[must_use]
pub fn waiting(subject: &Subject<'_>, name: &str) -> Waiting {
    let nothing_yet = || Waiting { reason: "ContainerCreating".to_owned(), message: String::new() };
    known_reason(subject, name).unwrap_or_else(nothing_yet)
}

/// The same, where something is known to hold it up.
#[must_use]
pub fn known_reason(subject: &Subject<'_>, name: &str) -> Option<Waiting> {
    let face = subject.face;
    if let Some(wait) = backing_off(&face.waits, name) {
        let delay =
            subject.history(name).and_then(|history| history.backoff.as_ref()).map(|known| known.delay);
        let pod = format!("{}_{}({})", face.name, face.namespace, subject.uid);
        let delay = delay.map_or_else(|| wait.waiting_for.clone(), go_duration);
        let message = format!("back-off {delay} restarting failed container={name} pod={pod}");
        return Some(Waiting { reason: "CrashLoopBackOff".to_owned(), message });
    }
    if let Some(held) = face.pod.as_ref().and_then(|pod| pod.hold(subject.runs())) {
        let message = format!("{}: {}", held.field, held.reason);
        return Some(Waiting { reason: "Held".to_owned(), message });
    }
    // An image that is not there although a start failed before is the later failure: it was looked for anew.
    for key in [Key::Image(name.to_owned()), Key::Start(name.to_owned()), Key::Sandbox, Key::Volumes] {
        if let Some(retry) = face.retries.get(&key) {
            let reason = if matches!(key, Key::Sandbox | Key::Volumes) {
                "ContainerCreating".to_owned()
            } else {
                failed(retry)
            };
            return Some(Waiting { message: message(subject, name, &reason, retry), reason });
        }
    }
    None
}

/// An image that failed more than once is backing off.
fn failed(retry: &Retry) -> String {
    match retry.reason.as_str() {
        reason if words::BACKING_OFF.contains(&reason) && retry.failures > 1 && !retry.left.is_zero() => {
            PULL_BACK_OFF.to_owned()
        }
        reason => reason.to_owned(),
    }
}

/// An image that backs off is told with what its last pull failed with.
fn message(subject: &Subject<'_>, name: &str, reason: &str, retry: &Retry) -> String {
    if reason != PULL_BACK_OFF {
        return retry.message.clone();
    }
    let spec = subject.specs().iter().find(|spec| spec.name == name);
    let image = spec.and_then(|spec| spec.image.as_deref()).unwrap_or_default();
    words::backing_off(image, &retry.reason, &retry.message)
}

/// A wall-clock stamp of the runtime; none for 0, which means never.
#[must_use]
pub fn wall(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()).flatten()
}

/// How often a container was started again: the attempt of the newest instance that there ever was.
#[must_use]
pub fn restarts(subject: &Subject<'_>, name: &str) -> u32 {
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
