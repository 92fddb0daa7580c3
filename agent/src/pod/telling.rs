//! What people are told of a pod's life: its timeline, which `pinnace explain` shows, and events in the kubelet's
//! words. Decides nothing.

use std::time::Duration;

use crate::clock::Now;
use crate::events::EventLog;
use crate::journal::history::What;
use crate::pod::card::Card;
use crate::pod::job::{Done, Failure};
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

/// The pod waits, or no longer does. `before` are the waits of the pass before: a back-off is told when it begins.
pub fn of_waits(card: &Card, before: &[Wait], plan: &Plan, events: &EventLog, now: &Now) {
    let mut timeline = card.timeline();
    timeline.set_step(plan.waits.first().map(|wait| step(wait, now)));
    if plan.rest == Rest::Settled {
        timeline.overcome();
    }
    drop(timeline);
    for wait in plan.waits.iter().filter(|wait| wait.left.is_some()) {
        if before.iter().any(|known| known.step == wait.step && known.left.is_some()) {
            continue;
        }
        if let Some(name) = wait.step.strip_prefix("restart container ") {
            let message = format!("Back-off restarting failed container {name} in pod {}", with_uid(card));
            events.warning(card.container(name), "BackOff", &message, now.wall);
        } else if let Some(name) = wait.step.strip_prefix("get the image of container ") {
            of_pull_backoff(card, name, events, now);
        }
    }
}

/// Only a pull backs off in the kubelet's words: an image that may not be pulled is simply asked for again.
fn of_pull_backoff(card: &Card, name: &str, events: &EventLog, now: &Now) {
    let face = card.face();
    let failed = face.retries.get(&Key::Image(name.to_owned()));
    if failed.is_none_or(|retry| retry.reason != "ErrImagePull") {
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
