//! What an observation adds to a pod's history. Pure.
//!
//! An exit is remembered once per instance and never changes. An instance that was seen running and is now
//! in no list ended unseen: its code is 137 and its reason `ContainerStatusUnknown`, never 0 (invariant I2).

use std::time::Duration;

use jiff::Timestamp;
use pinnace_cri::container::{ContainerState, ContainerStatus};
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved};

use crate::clock::{Now, Stamp};
use crate::journal::history::{ContainerHistory, Exit, RunningSeen, What};
use crate::pod::plan::Input;

/// Reason of an end that nobody saw.
pub const UNKNOWN_REASON: &str = "ContainerStatusUnknown";
/// Exit code of an end that nobody saw, as the kubelet reports it.
pub const UNKNOWN_CODE: i32 = 137;
/// Message of an end that nobody saw, byte for byte the kubelet's (two spaces).
pub const UNKNOWN_MESSAGE: &str =
    "The container could not be located when the pod was deleted.  The container used to be Running";
/// How far back a runtime's stamp may move the moment at which an exit counts as seen.
const AGE_LIMIT: Duration = Duration::from_secs(600);
/// The same while the pod is watched, when an exit is seen within about a second: a stamp that is older was made by a clock
/// that has stepped, and must not make a delay seem over.
const WATCHED_AGE_LIMIT: Duration = Duration::from_secs(1);

/// What is new, oldest first.
#[must_use]
pub fn notice(input: &Input<'_>) -> Vec<What> {
    let mut notes = Vec::new();
    if let Some(seen) = input.seen {
        sandbox(input, seen, &mut notes);
        for container in instances(seen) {
            let history = input.history.containers.get(&container.record.name);
            running(container, history, &mut notes);
            exited(input, container, history, &mut notes);
        }
    }
    if input.fresh {
        vanished(input, &mut notes);
    }
    notes
}

/// Instances of the pod, lowest attempt first, so that the newest word is the last.
fn instances(seen: &PodObserved) -> impl Iterator<Item = &ContainerSeen> {
    let mut all: Vec<_> = seen.containers.iter().collect();
    all.sort_by_key(|container| container.record.attempt);
    all.into_iter()
}

fn sandbox(input: &Input<'_>, seen: &PodObserved, notes: &mut Vec<What>) {
    let highest = seen.sandboxes.iter().map(|sandbox| sandbox.record.attempt).max();
    if let Some(attempt) = highest.filter(|_| highest > input.history.sandbox_seen) {
        notes.push(What::SandboxSeen(attempt));
    }
}

fn running(container: &ContainerSeen, history: Option<&ContainerHistory>, notes: &mut Vec<What>) {
    let record = &container.record;
    let known = history.and_then(|history| history.running.as_ref()).map(|running| running.attempt);
    if record.state == ContainerState::Running && known < Some(record.attempt) {
        let seen = RunningSeen { container_id: record.id.to_string(), attempt: record.attempt };
        notes.push(What::Running { name: record.name.clone(), seen });
    }
}

fn exited(
    input: &Input<'_>,
    container: &ContainerSeen,
    history: Option<&ContainerHistory>,
    notes: &mut Vec<What>,
) {
    let record = &container.record;
    let known = history.and_then(|history| history.last_exit.as_ref()).map(|exit| exit.attempt);
    let Some(status) = container.status.as_ref().filter(|status| status.state == ContainerState::Exited)
    else {
        return;
    };
    if known < Some(record.attempt) {
        let exit = exit_of(status, record.attempt);
        let limit = if input.watching { WATCHED_AGE_LIMIT } else { AGE_LIMIT };
        let seen = seen_at(input.now, exit.finished_at, limit);
        notes.push(What::Exited { name: record.name.clone(), exit, seen });
    }
}

/// The end of an instance as the runtime tells it.
#[must_use]
pub fn exit_of(status: &ContainerStatus, attempt: u32) -> Exit {
    Exit {
        container_id: status.id.to_string(),
        attempt,
        code: status.exit_code,
        reason: reason_of(status),
        message: status.message.clone(),
        started_at: status.started_at.unwrap_or(0),
        finished_at: status.finished_at.unwrap_or(0),
    }
}

/// The runtime's reason; where it has none, what the kubelet's users know from the code.
fn reason_of(status: &ContainerStatus) -> String {
    match (status.reason.as_str(), status.exit_code) {
        ("", 0) => "Completed".to_owned(),
        ("", _) => "Error".to_owned(),
        (reason, _) => reason.to_owned(),
    }
}

/// The moment that backoff counts from: now, less the age that the runtime's stamp gives an exit that
/// was found late. A stamp from the future, or from a clock that has stepped, gives an age within limits.
fn seen_at(now: &Now, finished_at: i64, limit: Duration) -> Stamp {
    let finished = Timestamp::from_nanosecond(i128::from(finished_at)).unwrap_or(now.wall);
    let age = if finished_at <= 0 { Duration::ZERO } else { now.since_wall(finished, limit) };
    let mut stamp = now.stamp();
    let millis = u64::try_from(age.as_millis()).unwrap_or(0);
    stamp.boot.millis = stamp.boot.millis.saturating_sub(millis);
    stamp.wall = stamp.wall.checked_sub(age).unwrap_or(stamp.wall);
    stamp
}

fn vanished(input: &Input<'_>, notes: &mut Vec<What>) {
    let seen = input.seen.map(|seen| seen.containers.as_slice()).unwrap_or_default();
    for (name, history) in &input.history.containers {
        let Some(running) = &history.running else { continue };
        let ended = history.last_exit.as_ref().is_some_and(|exit| exit.attempt >= running.attempt);
        let listed = seen
            .iter()
            .any(|container| container.record.name == *name && container.record.attempt >= running.attempt);
        if !ended && !listed {
            let exit = unseen_end(running, input.now);
            notes.push(What::Exited { name: name.clone(), exit, seen: input.now.stamp() });
        }
    }
}

fn unseen_end(running: &RunningSeen, now: &Now) -> Exit {
    Exit {
        container_id: running.container_id.clone(),
        attempt: running.attempt,
        code: UNKNOWN_CODE,
        reason: UNKNOWN_REASON.to_owned(),
        message: UNKNOWN_MESSAGE.to_owned(),
        started_at: 0,
        finished_at: i64::try_from(now.wall.as_nanosecond()).unwrap_or(0),
    }
}
