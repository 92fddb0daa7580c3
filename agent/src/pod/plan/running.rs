//! What to do for a pod that is meant to run. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::container::ContainerState;
use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_cri::sandbox::{NetworkMode, SandboxState};
use pinnace_pleg::snapshot::{ContainerSeen, SandboxSeen};

use crate::journal::history::{Terminal, What};
use crate::pod::go_duration::go_duration;
use crate::pod::plan::containers::{Policy, Verdict, verdicts};
use crate::pod::plan::surplus::give_back;
use crate::pod::plan::terminating::{MIN_GRACE, normal_grace};
use crate::pod::plan::{Image, Input, Plan, Rest, VolumesState, Wait, held_up, offer};
use crate::pod::step::{Key, Step};
use crate::source::desired::DesiredPod;
use crate::volume::plan::has_volumes;

/// What a pod waits for that cannot have a sandbox yet.
pub const FOR_NETWORK: &str = "the runtime's network to be ready";

/// What shall become of the pod's sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sandbox<'a> {
    /// It is up and has what its pod needs.
    Use(&'a SandboxSeen),
    /// A new one is needed, for this reason.
    Renew(&'static str),
    /// Its addresses are not known yet.
    Unclear,
}

/// Decides for a pod whose spec is known and which nobody wants gone.
#[must_use]
pub fn plan(input: &Input<'_>, pod: &DesiredPod) -> Plan {
    let newest = input.seen.and_then(|seen| seen.newest_sandbox());
    let runs = newest.is_some_and(|sandbox| sandbox.record.state == SandboxState::Ready);
    if let Some(held) = pod.hold(runs) {
        return Plan::waiting(Wait::on(format!("start, held by {}", held.field), held.reason.clone()));
    }
    if !input.alone {
        return Plan::waiting(Wait::on("start", "the older pod of the same name to be gone"));
    }
    if !input.fresh {
        return Plan::waiting(Wait::on("observe", "a look at the runtime begun after the last action"));
    }
    let verdicts = verdicts(input, pod);
    if let Some(terminal) = terminal(&verdicts) {
        return Plan::noting(vec![What::Terminal(terminal)]);
    }
    match sandbox(input, pod) {
        Sandbox::Use(sandbox) => in_sandbox(input, pod, sandbox, &verdicts),
        Sandbox::Unclear => Plan::waiting(Wait::on("observe", "the runtime to tell the sandbox's addresses")),
        Sandbox::Renew(why) => renew(input, pod, why, &verdicts),
    }
}

/// All work is done: every container ended and none of them restarts.
fn terminal(verdicts: &[(&Spec, Verdict)]) -> Option<Terminal> {
    let codes: Option<Vec<i32>> = verdicts
        .iter()
        .map(|(_, verdict)| match verdict {
            Verdict::Done { code } => Some(*code),
            _ => None,
        })
        .collect();
    codes.map(|codes| Terminal {
        succeeded: codes.iter().all(|code| *code == 0),
        reason: String::new(),
        message: String::new(),
    })
}

fn wants_host_network(pod: &DesiredPod) -> bool {
    pod.pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

fn sandbox<'a>(input: &Input<'a>, pod: &DesiredPod) -> Sandbox<'a> {
    let Some(newest) = input.seen.and_then(|seen| seen.newest_sandbox()) else {
        return Sandbox::Renew("none is there");
    };
    if newest.record.state != SandboxState::Ready {
        return Sandbox::Renew("the last one is not ready");
    }
    let Some(status) = &newest.status else { return Sandbox::Unclear };
    let host = wants_host_network(pod);
    if (status.network == NetworkMode::Node) != host {
        return Sandbox::Renew("its network mode differs");
    }
    if !host && status.ips.is_empty() {
        return Sandbox::Renew("it has no address");
    }
    Sandbox::Use(newest)
}

/// The attempt for the next sandbox: the number asked for last, unless the runtime has shown it.
fn next_attempt(input: &Input<'_>) -> u32 {
    let asked = input.history.sandbox_attempt;
    let used = input.history.sandbox_seen;
    match (asked, used) {
        (None, None) => 0,
        (Some(asked), None) => asked,
        (None, Some(used)) => used.saturating_add(1),
        (Some(asked), Some(used)) => asked.max(used.saturating_add(1)),
    }
}

fn renew(input: &Input<'_>, pod: &DesiredPod, why: &'static str, verdicts: &[(&Spec, Verdict)]) -> Plan {
    if lost_for_good(input, pod, verdicts) {
        return Plan::noting(vec![What::Terminal(lost(verdicts))]);
    }
    let mut plan = clear_old(input, pod);
    if !plan.steps.is_empty() || !plan.waits.is_empty() {
        return plan;
    }
    if !input.network_ready && !wants_host_network(pod) {
        return Plan::waiting(Wait::on("run sandbox", FOR_NETWORK));
    }
    offer(input, &mut plan, Step::RunSandbox { attempt: next_attempt(input) });
    fetch_images(input, verdicts, &mut plan);
    set_up_volumes(input, pod, &mut plan);
    if plan.steps.is_empty() && plan.waits.is_empty() {
        plan.waits.push(Wait::on("run sandbox", why));
    }
    plan
}

/// Under `Never`, a pod that had a container gets no second sandbox.
fn lost_for_good(input: &Input<'_>, pod: &DesiredPod, verdicts: &[(&Spec, Verdict)]) -> bool {
    let ran = input.history.containers.values().any(|container| container.running.is_some())
        || input.history.containers.values().any(|container| container.last_exit.is_some());
    let still = verdicts
        .iter()
        .any(|(_, verdict)| matches!(verdict, Verdict::Keep | Verdict::Stop { .. } | Verdict::Unclear));
    Policy::of(pod) == Policy::Never && ran && !still
}

fn lost(verdicts: &[(&Spec, Verdict)]) -> Terminal {
    let all_done = verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Done { code: 0 }));
    Terminal { succeeded: all_done, reason: String::new(), message: String::new() }
}

/// Ends what is left in older sandboxes before a new one is made: containers first, then the sandboxes, then what was
/// never started in them.
fn clear_old(input: &Input<'_>, pod: &DesiredPod) -> Plan {
    let mut plan = Plan::default();
    let Some(seen) = input.seen else { return plan };
    let grace = normal_grace(Some(pod)).max(MIN_GRACE);
    for container in &seen.containers {
        if matches!(container.record.state, ContainerState::Running | ContainerState::Unknown) {
            let (name, id) = (container.record.name.clone(), container.record.id.clone());
            offer(input, &mut plan, Step::StopContainer { name, id, grace, why: "" });
        }
    }
    if plan.steps.is_empty() && plan.waits.is_empty() {
        for sandbox in seen.sandboxes.iter().filter(|sandbox| !input.stopped.contains(&sandbox.record.id)) {
            offer(input, &mut plan, Step::StopSandbox { id: sandbox.record.id.clone() });
        }
    }
    if plan.steps.is_empty() && plan.waits.is_empty() {
        remove_stillborn(input, None, &mut plan);
    }
    plan
}

/// An instance that was created and not started goes with its sandbox: it can never be started, and while it is there
/// its attempt, which was not used, cannot be made again.
fn remove_stillborn(input: &Input<'_>, sandbox: Option<&SandboxId>, plan: &mut Plan) {
    for container in input.containers() {
        let record = &container.record;
        if record.state == ContainerState::Created && Some(&record.sandbox_id) != sandbox {
            let (name, id, attempt) = (record.name.clone(), record.id.clone(), record.attempt);
            offer(input, plan, Step::RemoveContainer { name, id, attempt });
        }
    }
}

fn is_in(input: &Input<'_>, id: &ContainerId, sandbox: &SandboxSeen) -> bool {
    let in_it = |seen: &ContainerSeen| seen.record.id == *id && seen.record.sandbox_id == sandbox.record.id;
    input.containers().iter().any(in_it)
}

fn in_sandbox(
    input: &Input<'_>,
    pod: &DesiredPod,
    sandbox: &SandboxSeen,
    verdicts: &[(&Spec, Verdict)],
) -> Plan {
    let mut plan = Plan::default();
    stop_unwanted(input, pod, sandbox, verdicts, &mut plan);
    remove_stillborn(input, Some(&sandbox.record.id), &mut plan);
    fetch_images(input, verdicts, &mut plan);
    set_up_volumes(input, pod, &mut plan);
    if !lacks_volumes(input, pod) {
        start_next(input, sandbox, verdicts, &mut plan);
    }
    for (spec, verdict) in verdicts {
        describe(spec, verdict, &mut plan);
    }
    give_back(input, &mut plan);
    if plan.steps.is_empty() && plan.waits.is_empty() {
        plan.rest = Rest::Settled;
    }
    plan
}

/// Instances that must end, and sandboxes besides the newest that are still up.
fn stop_unwanted(
    input: &Input<'_>,
    pod: &DesiredPod,
    sandbox: &SandboxSeen,
    verdicts: &[(&Spec, Verdict)],
    plan: &mut Plan,
) {
    let grace = normal_grace(Some(pod)).max(MIN_GRACE);
    for (spec, verdict) in verdicts {
        if let Verdict::Stop { id, why } = verdict {
            let (name, id) = (spec.name.clone(), id.clone());
            offer(input, plan, Step::StopContainer { name, id, grace, why });
        }
    }
    for container in strangers(input, sandbox, verdicts) {
        let (name, id) = (container.record.name.clone(), container.record.id.clone());
        offer(input, plan, Step::StopContainer { name, id, grace, why: "is not the newest instance" });
    }
    for other in input.sandboxes().iter().filter(|other| other.record.id != sandbox.record.id) {
        if other.record.state == SandboxState::Ready && !input.stopped.contains(&other.record.id) {
            offer(input, plan, Step::StopSandbox { id: other.record.id.clone() });
        }
    }
}

/// Running instances that are not the newest of their name, or of a name that the spec does not have.
fn strangers<'a>(
    input: &Input<'a>,
    sandbox: &SandboxSeen,
    verdicts: &[(&Spec, Verdict)],
) -> Vec<&'a ContainerSeen> {
    let Some(seen) = input.seen else { return Vec::new() };
    let belongs = |container: &ContainerSeen| {
        let named = verdicts.iter().any(|(spec, _)| spec.name == container.record.name);
        let newest = seen.newest_container(&container.record.name).map(|newest| &newest.record.id);
        named && newest == Some(&container.record.id) && container.record.sandbox_id == sandbox.record.id
    };
    let runs = |container: &&ContainerSeen| container.record.state == ContainerState::Running;
    seen.containers.iter().filter(runs).filter(|container| !belongs(container)).collect()
}

fn wanted_attempt(verdict: &Verdict) -> Option<u32> {
    match verdict {
        Verdict::Start { attempt } => Some(*attempt),
        _ => None,
    }
}

fn image_for<'a>(input: &Input<'a>, name: &str, attempt: u32) -> Option<&'a str> {
    match input.images.get(name) {
        Some(Image::Ready { attempt: ready, image_ref }) if *ready == attempt => Some(image_ref),
        _ => None,
    }
}

/// Images are fetched for all containers at once, and beside the making of the sandbox. A start that failed has its
/// image looked for anew, since it may be gone: as part of its next try, and so not before its time.
fn fetch_images(input: &Input<'_>, verdicts: &[(&Spec, Verdict)], plan: &mut Plan) {
    for (spec, verdict) in verdicts {
        let Some(attempt) = wanted_attempt(verdict) else { continue };
        if image_for(input, &spec.name, attempt).is_some() {
            continue;
        }
        let (start, name) = (Key::Start(spec.name.clone()), spec.name.clone());
        match held_up(input, &start, &format_args!("start container {name} (attempt {attempt})")) {
            Some(wait) => plan.add(wait),
            None => offer(input, plan, Step::EnsureImage { name, attempt }),
        }
    }
}

/// No container starts before all volumes are there. One that runs is left alone: after a restart of the agent its
/// volumes are found as they were.
fn lacks_volumes(input: &Input<'_>, pod: &DesiredPod) -> bool {
    has_volumes(pod) && input.volumes != VolumesState::Ready
}

/// Volumes are set up beside the making of the sandbox and the fetching of images.
fn set_up_volumes(input: &Input<'_>, pod: &DesiredPod, plan: &mut Plan) {
    if lacks_volumes(input, pod) {
        offer(input, plan, Step::SetUpVolumes);
    }
}

fn has_failed(input: &Input<'_>, name: &str) -> bool {
    [Key::Image(name.to_owned()), Key::Start(name.to_owned())].iter().any(|key| input.retry.contains_key(key))
}

/// Containers start one after the other in the order of the spec; one whose image or creation failed
/// does not hold up those behind it, one whose image is on its way does.
fn start_next(input: &Input<'_>, sandbox: &SandboxSeen, verdicts: &[(&Spec, Verdict)], plan: &mut Plan) {
    if input.busy.iter().any(|key| matches!(key, Key::Start(_))) {
        return;
    }
    for (spec, verdict) in verdicts {
        let step = match verdict {
            Verdict::StartCreated { id, .. } if !is_in(input, id, sandbox) => continue,
            Verdict::StartCreated { id, attempt } => {
                Step::StartCreated { name: spec.name.clone(), attempt: *attempt, id: id.clone() }
            }
            Verdict::Start { attempt } => match image_for(input, &spec.name, *attempt) {
                Some(image_ref) => Step::StartContainer {
                    name: spec.name.clone(),
                    attempt: *attempt,
                    sandbox: sandbox.record.id.clone(),
                    sandbox_attempt: sandbox.record.attempt,
                    image_ref: image_ref.to_owned(),
                },
                None if has_failed(input, &spec.name) => continue,
                None => return,
            },
            _ => continue,
        };
        let before = plan.steps.len();
        offer(input, plan, step);
        if plan.steps.len() > before {
            return;
        }
    }
}

fn describe(spec: &Spec, verdict: &Verdict, plan: &mut Plan) {
    match verdict {
        Verdict::BackOff { left, delay } => plan.waits.push(Wait::until(
            format!("restart container {}", spec.name),
            format!("the back-off of {} after its last end", go_duration(*delay)),
            *left,
        )),
        Verdict::Unclear => plan.waits.push(Wait::on(
            format!("restart container {}", spec.name),
            "the runtime to tell how the last instance ended",
        )),
        _ => {}
    }
}

/// Whether the history knows how this instance, or a later one, ended.
#[must_use]
pub fn recorded(input: &Input<'_>, container: &ContainerSeen) -> bool {
    let history = input.history.containers.get(&container.record.name);
    let exit = history.and_then(|history| history.last_exit.as_ref());
    exit.is_some_and(|exit| exit.attempt >= container.record.attempt)
}

/// Time left until `activeDeadlineSeconds` has passed, if the pod has one.
#[must_use]
pub fn deadline_left(input: &Input<'_>, pod: &DesiredPod) -> Option<Duration> {
    let seconds = pod.pod.spec.as_ref()?.active_deadline_seconds?;
    let deadline = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let started = input.history.started.as_ref()?;
    Some(deadline.saturating_sub(input.now.since(started, deadline)))
}
