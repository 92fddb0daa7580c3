//! What to do for a pod that is being taken down. Pure.
//!
//! The steps are explicit: stop every container, then every sandbox, then take down volumes; and where nobody wants the
//! pod any more, remove containers, sandboxes and files, and forget it. Each is planned from what is seen, so a teardown
//! that failed half-way, or whose process died, goes on where it was.

use std::time::Duration;

use pinnace_cri::container::ContainerState;
use pinnace_pleg::snapshot::ContainerSeen;

use crate::journal::history::{Terminal, Termination, TerminationCause, What};
use crate::pod::plan::running::{deadline_left, recorded};
use crate::pod::plan::{Input, Plan, Rest, VolumesState, Wait, Wish, offer};
use crate::pod::step::{Key, Step};
use crate::source::desired::{DesiredPod, Origin};
use crate::volume::plan::has_volumes;

/// Least time between TERM and KILL that a container gets (`minimumGracePeriodInSeconds` of
/// `pkg/kubelet/kuberuntime/kuberuntime_container.go`).
pub const MIN_GRACE: Duration = Duration::from_secs(2);
/// Grace of a pod that no source ever named (`pkg/kubelet/pod_workers.go`).
const ORPHAN_GRACE: Duration = Duration::from_secs(1);
/// How the message of a pod begins that was not admitted (`pkg/kubelet/kubelet.go`).
pub const REFUSED: &str = "Pod was rejected: ";
/// Grace of the API where a spec has none.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// The grace that the pod's deletion or else its spec asks for, at least 1 s; 1 s for a pod without a spec.
#[must_use]
pub fn normal_grace(pod: Option<&DesiredPod>) -> Duration {
    let Some(pod) = pod else { return ORPHAN_GRACE };
    let asked = pod.pod.metadata.deletion_grace_period_seconds;
    let seconds = asked.or(pod.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds));
    let grace =
        seconds.map_or(DEFAULT_GRACE, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    grace.max(Duration::from_secs(1))
}

/// Whether termination begins now, and how; empty if it does not. Never taken back once it has.
#[must_use]
pub fn begin(input: &Input<'_>) -> Vec<What> {
    let begun = |cause| {
        let grace = normal_grace(input.pod);
        What::Terminating(Termination { cause, since: input.now.stamp(), grace, shortened: false })
    };
    if let Wish::Gone(cause) = input.wish {
        return vec![begun(cause.clone())];
    }
    if input.history.terminal.is_some() {
        return vec![begun(TerminationCause::Completed)];
    }
    if let Wish::Refused { reason, message } = input.wish {
        return vec![What::Terminal(refused(reason, message)), begun(TerminationCause::Completed)];
    }
    if let Wish::Evicted { reason, message } = input.wish {
        let terminal = Terminal { succeeded: false, reason: reason.clone(), message: message.clone() };
        return vec![What::Terminal(terminal), begun(TerminationCause::Completed)];
    }
    if let Some(terminal) = input.pod.and_then(finished) {
        return vec![What::Terminal(terminal), begun(TerminationCause::Completed)];
    }
    let over = input.pod.and_then(|pod| deadline_left(input, pod)).is_some_and(|left| left.is_zero());
    if over {
        return vec![What::Terminal(deadline_exceeded()), begun(TerminationCause::DeadlineExceeded)];
    }
    Vec::new()
}

/// The prefix is the kubelet's, and is not in the event.
fn refused(reason: &str, message: &str) -> Terminal {
    Terminal { succeeded: false, reason: reason.to_owned(), message: format!("{REFUSED}{message}") }
}

/// What the API says of a pod whose phase is terminal there: it is never started again.
fn finished(pod: &DesiredPod) -> Option<Terminal> {
    let status = pod.pod.status.as_ref()?;
    let succeeded = match status.phase.as_deref() {
        Some("Succeeded") => true,
        Some("Failed") => false,
        _ => return None,
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Some(Terminal { succeeded, reason: text(&status.reason), message: text(&status.message) })
}

/// A shorter grace than the one in force, if the deletion was asked for again with one.
fn shorter(input: &Input<'_>, termination: &Termination) -> Option<What> {
    let asked = input.pod?.pod.metadata.deletion_grace_period_seconds?;
    let asked = Duration::from_secs(u64::try_from(asked).unwrap_or(0)).max(Duration::from_secs(1));
    let left = termination.grace.saturating_sub(input.now.since(&termination.since, termination.grace));
    (asked < termination.grace && asked < left).then(|| {
        What::Terminating(Termination { since: input.now.stamp(), grace: asked, ..termination.clone() })
    })
}

/// Reason and message are the kubelet's, byte for byte.
fn deadline_exceeded() -> Terminal {
    Terminal {
        succeeded: false,
        reason: "DeadlineExceeded".to_owned(),
        message: "Pod was active on the node longer than the specified deadline".to_owned(),
    }
}

/// Decides for a pod whose termination has begun.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let Some(termination) = &input.history.termination else { return Plan::default() };
    if let Some(shorter) = shorter(input, termination) {
        return Plan::noting(vec![shorter]);
    }
    let mut plan = Plan::default();
    stop_containers(input, termination, &mut plan);
    if unsettled(&plan) {
        return plan;
    }
    if let Some(wait) = in_the_making(input) {
        return Plan::waiting(wait);
    }
    if !input.fresh {
        return Plan::waiting(Wait::on("observe", "a look at the runtime begun after the last action"));
    }
    stop_sandboxes(input, &mut plan);
    if unsettled(&plan) {
        return plan;
    }
    if let Some(last) = last_word(input) {
        return Plan::noting(vec![last]);
    }
    tear_down_volumes(input, &mut plan);
    if unsettled(&plan) {
        return plan;
    }
    if !is_unwanted(input, termination) {
        plan.rest = Rest::Settled;
        return plan;
    }
    remove(input, plan)
}

fn unsettled(plan: &Plan) -> bool {
    !plan.steps.is_empty() || !plan.waits.is_empty()
}

fn is_unwanted(input: &Input<'_>, termination: &Termination) -> bool {
    match termination.cause {
        TerminationCause::Removed
        | TerminationCause::Deleted
        | TerminationCause::Replaced
        | TerminationCause::Orphaned => true,
        TerminationCause::Completed | TerminationCause::DeadlineExceeded => input.wish.is_gone(),
    }
}

fn stop_containers(input: &Input<'_>, termination: &Termination, plan: &mut Plan) {
    let left = termination.grace.saturating_sub(input.now.since(&termination.since, termination.grace));
    for container in input.containers() {
        let record = &container.record;
        if matches!(record.state, ContainerState::Running | ContainerState::Unknown) {
            let (name, id) = (record.name.clone(), record.id.clone());
            let grace = left.max(MIN_GRACE);
            if termination.shortened && input.busy.contains(&Key::Stop(id.clone())) {
                let within = termination.grace;
                offer(
                    input,
                    plan,
                    Step::HurryContainer { name: name.clone(), id: id.clone(), grace, within },
                );
            }
            offer(input, plan, Step::StopContainer { name, id, grace, why: "" });
        }
    }
}

/// A create in flight, or one whose end is in doubt, may still bring something to stop. While the runtime calls its
/// name reserved it is under way for certain, and the pod is not gone as long as a next try would wait.
fn in_the_making(input: &Input<'_>) -> Option<Wait> {
    let creating = input.busy.iter().any(|key| matches!(key, Key::Sandbox | Key::Start(_)));
    if creating {
        return Some(Wait::on("stop the pod", "a create in flight to be answered"));
    }
    if input.busy.contains(&Key::Volumes) {
        return Some(Wait::on("stop the pod", "the set-up of its volumes to end"));
    }
    let doubtful = input
        .retry
        .iter()
        .find(|(key, retry)| matches!(key, Key::Sandbox | Key::Start(_)) && retry.in_doubt)
        .map(|(_, retry)| retry);
    let retry = doubtful?;
    if !retry.left.is_zero() {
        let why = "a create whose answer was lost to show in the runtime or not";
        return Some(Wait::until("stop the pod", why, retry.left));
    }
    (input.looks < 2).then(|| Wait::on("stop the pod", "two looks at the runtime: a create may have worked"))
}

fn stop_sandboxes(input: &Input<'_>, plan: &mut Plan) {
    for sandbox in input.sandboxes().iter().filter(|sandbox| !input.stopped.contains(&sandbox.record.id)) {
        offer(input, plan, Step::StopSandbox { id: sandbox.record.id.clone() });
    }
}

/// Once nothing uses them. What a pod without a known spec has is found on disk.
fn tear_down_volumes(input: &Input<'_>, plan: &mut Plan) {
    if input.pod.is_none_or(has_volumes) && input.volumes != VolumesState::Gone {
        offer(input, plan, Step::TearDownVolumes);
    }
}

/// Containers, then sandboxes, then files, then the memory of it.
fn remove(input: &Input<'_>, mut plan: Plan) -> Plan {
    for container in input.containers() {
        let record = &container.record;
        if record.state == ContainerState::Exited && !recorded(input, container) {
            let step = format!("remove container {}", record.name);
            plan.waits.push(Wait::on(step, "the runtime to tell how it ended"));
            continue;
        }
        let (name, id, attempt) = (record.name.clone(), record.id.clone(), record.attempt);
        offer(input, &mut plan, Step::RemoveContainer { name, id, attempt });
    }
    if unsettled(&plan) {
        return plan;
    }
    for sandbox in input.sandboxes() {
        offer(input, &mut plan, Step::RemoveSandbox { id: sandbox.record.id.clone() });
    }
    if unsettled(&plan) {
        return plan;
    }
    if input.traces_gone {
        // While its object is there, the status in it may still have to be mended.
        let listed = *input.wish == Wish::Gone(TerminationCause::Deleted);
        let rest = if listed { Rest::Emptied } else { Rest::Vanished };
        return Plan { rest, ..Plan::default() };
    }
    offer(input, &mut plan, Step::RemoveTraces);
    plan
}

/// The final phase of a pod of the API that was deleted before its work was done. What never ran has not succeeded.
fn last_word(input: &Input<'_>) -> Option<What> {
    let pod = input.pod.filter(|pod| pod.origin == Origin::Api)?;
    if input.history.terminal.is_some() || *input.wish != Wish::Gone(TerminationCause::Deleted) {
        return None;
    }
    let exited = |container: &ContainerSeen| container.record.state == ContainerState::Exited;
    if input.containers().iter().any(|container| exited(container) && !recorded(input, container)) {
        return None;
    }
    let spec = pod.pod.spec.as_ref()?;
    let succeeded = |name: &str| {
        let history = input.history.containers.get(name);
        let exit = history.and_then(|history| history.last_exit.as_ref());
        exit.is_some_and(|exit| {
            exit.code == 0 && history.and_then(|history| history.attempt) <= Some(exit.attempt)
        })
    };
    let succeeded = spec.containers.iter().all(|container| succeeded(&container.name));
    Some(What::Terminal(Terminal { succeeded, reason: String::new(), message: String::new() }))
}
