//! What shall become of each container of a pod that is meant to run. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::container::ContainerState;
use pinnace_cri::id::ContainerId;
use pinnace_pleg::snapshot::ContainerSeen;

use crate::clock::Stamp;
use crate::journal::history::ContainerHistory;
use crate::pod::backoff::{self, Restart};
use crate::pod::plan::Input;
use crate::source::desired::DesiredPod;

/// What shall become of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs as it should.
    Keep,
    /// Make this instance.
    Start {
        /// Its attempt.
        attempt: u32,
    },
    /// An instance was created and not started.
    StartCreated {
        /// Which.
        id: ContainerId,
        /// Its attempt.
        attempt: u32,
    },
    /// It ended and may start again later.
    BackOff {
        /// What is left of the delay.
        left: Duration,
        /// The whole delay.
        delay: Duration,
    },
    /// It ended and stays so.
    Done {
        /// Exit code.
        code: i32,
    },
    /// It must end first.
    Stop {
        /// Which.
        id: ContainerId,
        /// Why, as the event tells it.
        why: &'static str,
    },
    /// It ended; how is not known yet.
    Unclear,
}

/// Restart policy of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Restart after every end.
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Never restart.
    Never,
}

impl Policy {
    /// Of a pod that was validated; an absent or foreign value is the API's default.
    #[must_use]
    pub fn of(pod: &DesiredPod) -> Self {
        let policy = pod.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        match policy {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// Whether an end with this code is followed by a restart.
    #[must_use]
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// The containers of a pod's spec.
#[must_use]
pub fn specs(pod: &DesiredPod) -> &[Spec] {
    pod.pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
}

/// The newest instance of a container: the one with the highest attempt.
#[must_use]
pub fn newest<'a>(input: &Input<'a>, name: &str) -> Option<&'a ContainerSeen> {
    input.containers().iter().filter(|seen| seen.record.name == name).max_by_key(|seen| seen.record.attempt)
}

/// Decides on every container, in the order of the spec.
#[must_use]
pub fn verdicts<'a>(input: &Input<'_>, pod: &'a DesiredPod) -> Vec<(&'a Spec, Verdict)> {
    let policy = Policy::of(pod);
    specs(pod).iter().map(|spec| (spec, verdict(input, spec, policy))).collect()
}

fn verdict(input: &Input<'_>, spec: &Spec, policy: Policy) -> Verdict {
    let history = input.history.containers.get(&spec.name);
    match newest(input, &spec.name) {
        Some(seen) => of_instance(input, spec, seen, history, policy),
        None => of_memory(input, history, policy),
    }
}

fn of_instance(
    input: &Input<'_>,
    spec: &Spec,
    seen: &ContainerSeen,
    history: Option<&ContainerHistory>,
    policy: Policy,
) -> Verdict {
    let record = &seen.record;
    match record.state {
        ContainerState::Running if image_changed(spec, seen) => {
            Verdict::Stop { id: record.id.clone(), why: "definition changed, will be restarted" }
        }
        ContainerState::Running => Verdict::Keep,
        ContainerState::Created => Verdict::StartCreated { id: record.id.clone(), attempt: record.attempt },
        ContainerState::Unknown => Verdict::Stop {
            id: record.id.clone(),
            why: "is in \"unknown\" state, try killing it before restart",
        },
        // The history has it by now unless the runtime has not said how it ended.
        ContainerState::Exited => match known_end(history, record.attempt) {
            Some((code, ended)) => after_end(input, history, policy, record.attempt, code, &ended),
            None => Verdict::Unclear,
        },
    }
}

/// The exit of this instance or of a later one that the runtime no longer has.
fn known_end(history: Option<&ContainerHistory>, attempt: u32) -> Option<(i32, Stamp)> {
    let history = history?;
    let exit = history.last_exit.as_ref().filter(|exit| exit.attempt >= attempt)?;
    Some((exit.code, history.exit_seen.clone()?))
}

/// No instance is listed: it was never made, or is in doubt, or was removed after its end.
fn of_memory(input: &Input<'_>, history: Option<&ContainerHistory>, policy: Policy) -> Verdict {
    let Some(history) = history else { return Verdict::Start { attempt: 0 } };
    let asked = history.attempt.unwrap_or(0);
    match known_end(Some(history), 0) {
        Some((code, ended)) => {
            let used = history.last_exit.as_ref().map_or(0, |exit| exit.attempt);
            if asked > used {
                return Verdict::Start { attempt: asked };
            }
            after_end(input, Some(history), policy, used, code, &ended)
        }
        // Asked for and never seen: the same attempt again, since it was not used up.
        None => Verdict::Start { attempt: asked },
    }
}

fn after_end(
    input: &Input<'_>,
    history: Option<&ContainerHistory>,
    policy: Policy,
    attempt: u32,
    code: i32,
    ended: &Stamp,
) -> Verdict {
    if !policy.restarts(code) {
        return Verdict::Done { code };
    }
    let asked = history.and_then(|history| history.attempt).unwrap_or(0);
    let next = asked.max(attempt.saturating_add(1));
    // The restart was decided and asked for already; its delay is behind it.
    if asked > attempt {
        return Verdict::Start { attempt: next };
    }
    let known = history.and_then(|history| history.backoff.as_ref());
    match backoff::decide(known, ended, input.backoff_cap, input.now) {
        Restart::Now(_) => Verdict::Start { attempt: next },
        Restart::After { left, delay } => Verdict::BackOff { left, delay },
    }
}

/// Whether a running instance was made from another image than the spec names. An instance without our
/// annotation, made by a kubelet, counts as unchanged unless the runtime says what it was asked for.
fn image_changed(spec: &Spec, seen: &ContainerSeen) -> bool {
    let wanted = spec.image.as_deref().unwrap_or_default();
    match crate::pod::marks::image_asked_for(&seen.record) {
        Some(made_from) => made_from != wanted,
        None => false,
    }
}
