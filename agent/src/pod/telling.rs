//! What people are told of a pod's life: its timeline, which `pinnace explain` shows, and events in the kubelet's
//! words. Decides nothing.

use std::time::Duration;

use crate::clock::Now;
use crate::events::EventLog;
use crate::image::words;
use crate::journal::history::What;
use crate::pod::card::Card;
use crate::pod::job::{Done, Failure};
use crate::pod::plan::running::FOR_NETWORK;
use crate::pod::plan::{Plan, Rest, Wait};
use crate::pod::step::{Key, Step};
use crate::view::StepView;

/// Something was remembered.
pub fn of_note(what: &What, card: &Card, events: &EventLog, now: &Now) {
    let text = match what {
        What::Running { name, seen } => format!("container {name} runs (attempt {})", seen.attempt),
        What::Exited { name, exit, .. } => {
            format!(
                "container {name} ended with code {} ({}, attempt {})",
                exit.code, exit.reason, exit.attempt
            )
        }
        What::Terminating(termination) => {
            format!("termination begins: {:?}, grace {} s", termination.cause, termination.grace.as_secs())
        }
        What::Terminal(terminal) => {
            if terminal.reason == "DeadlineExceeded" {
                events.normal(card.object(), "DeadlineExceeded", &terminal.message, now.wall);
            }
            format!("phase is {} for good", if terminal.succeeded { "Succeeded" } else { "Failed" })
        }
        _ => return,
    };
    card.timeline().push(now.wall, &text, None, None);
}

/// A step was answered. The log has an error once, until it is overcome or another takes its place.
pub fn of_answer(card: &Card, step: &Step, took: Duration, result: &Result<Done, Failure>, now: &Now) {
    let error = result.as_ref().err().map(|failure| failure.message.as_str());
    let what = step.to_string();
    let mut timeline = card.timeline();
    let known = timeline.last_error().is_some_and(|last| last.what == what && last.error.as_deref() == error);
    timeline.push(now.wall, &what, Some(took), error);
    drop(timeline);
    match error {
        Some(message) if known => {
            tracing::debug!(pod = card.full_name(), step = what, error = message, "step failed again")
        }
        Some(message) => tracing::warn!(pod = card.full_name(), step = what, error = message, "step failed"),
        None => {}
    }
}

/// The pod waits, or no longer does. A back-off is told when it begins.
pub fn of_waits(card: &Card, plan: &Plan, events: &EventLog, now: &Now) {
    let mut timeline = card.timeline();
    timeline.set_step(plan.waits.first().map(|wait| step(wait, now)));
    if plan.rest == Rest::Settled {
        timeline.overcome();
    }
    drop(timeline);
    for wait in plan.waits.iter().filter(|wait| wait.left.is_some()) {
        if let Some(name) = wait.step.strip_prefix("restart container ") {
            of_restart_backoff(card, name, &wait.step, events, now);
        } else if let Some(name) = wait.step.strip_prefix("get the image of container ") {
            of_pull_backoff(card, name, &wait.step, events, now);
        }
    }
}

/// The pod waits for the runtime's network, whose `problem` is known: told once for each sandbox.
pub fn of_network(card: &Card, plan: &Plan, problem: &str, events: &EventLog, now: &Now) {
    if plan.waits.iter().all(|wait| wait.waiting_for != FOR_NETWORK) {
        return;
    }
    let attempt = card.face().history.sandbox_attempt;
    if card.announces(FOR_NETWORK, attempt.map_or(0, |attempt| attempt.saturating_add(1))) {
        let message = format!("network is not ready: container runtime network not ready: {problem}");
        events.warning(card.object(), "NetworkNotReady", &message, now.wall);
    }
}

/// Told once for each end of the container.
fn of_restart_backoff(card: &Card, name: &str, step: &str, events: &EventLog, now: &Now) {
    let face = card.face();
    let ended = face.history.containers.get(name).and_then(|container| container.last_exit.as_ref());
    if card.announces(step, ended.map_or(0, |exit| exit.attempt)) {
        let message = format!("Back-off restarting failed container {name} in pod {}", with_uid(card));
        events.warning(card.container(name), "BackOff", &message, now.wall);
    }
}

/// Told once for each pull that failed. An image that may not be pulled has no back-off in the kubelet's words.
fn of_pull_backoff(card: &Card, name: &str, step: &str, events: &EventLog, now: &Now) {
    let face = card.face();
    let failed = face.retries.get(&Key::Image(name.to_owned()));
    let Some(failed) = failed.filter(|retry| words::BACKING_OFF.contains(&retry.reason.as_str())) else {
        return;
    };
    if !card.announces(step, failed.failures) {
        return;
    }
    let spec = face.pod.as_ref().and_then(|pod| pod.pod.spec.as_ref());
    let container = spec.and_then(|spec| spec.containers.iter().find(|container| container.name == name));
    let image = container.and_then(|container| container.image.as_deref()).unwrap_or_default();
    let object = card.container(name);
    events.normal(&object, "BackOff", &format!("Back-off pulling image {image:?}"), now.wall);
    events.warning(&object, "Failed", "Error: ImagePullBackOff", now.wall);
}

fn step(wait: &Wait, now: &Now) -> StepView {
    StepView {
        step: wait.step.clone(),
        waiting_for: wait.waiting_for.clone(),
        since: now.wall,
        next_try: wait.left.and_then(|left| now.wall.checked_add(left).ok()),
    }
}

/// `name_namespace(uid)`, as the kubelet writes a pod in messages.
#[must_use]
pub fn with_uid(card: &Card) -> String {
    let face = card.face();
    format!("{}_{}({})", face.name, face.namespace, card.uid)
}
