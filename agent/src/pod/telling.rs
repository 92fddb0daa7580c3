//! What people are told of a pod's life: its timeline, which `pinnace explain` shows, and events in the kubelet's
//! words. Decides nothing.

use std::time::Duration;

use crate::clock::Now;
use crate::events::EventLog;
use crate::journal::history::What;
use crate::pod::act::{Done, Failure};
use crate::pod::card::Card;
use crate::pod::plan::{Plan, Wait};
use crate::pod::step::Step;

/// Something was remembered.
pub fn of_note(what: &What, card: &Card, events: &EventLog, now: &Now) {
    let text = match what {
        What::Running { name, seen } => format!("container {name} runs (attempt {})", seen.attempt),
        What::Exited { name, exit, .. } => {
            format!("container {name} ended with code {} ({}, attempt {})", exit.code, exit.reason, exit.attempt)
        }
        What::Terminating(termination) => {
            format!("termination begins: {:?}, grace {} s", termination.cause, termination.grace.as_secs())
        }
        What::Terminal(terminal) => {
            if terminal.reason == "DeadlineExceeded" {
                events.normal(&card.full_name(), "DeadlineExceeded", &terminal.message, now.wall);
            }
            format!("phase is {} for good", if terminal.succeeded { "Succeeded" } else { "Failed" })
        }
        _ => return,
    };
    card.timeline().push(now.wall, &text, None, None);
}

/// A step was answered.
pub fn of_answer(card: &Card, step: &Step, took: Duration, result: &Result<Done, Failure>, now: &Now) {
    let error = result.as_ref().err().map(|failure| failure.message.as_str());
    card.timeline().push(now.wall, &step.to_string(), Some(took), error);
    if let Some(message) = error {
        tracing::warn!(pod = card.full_name(), step = %step, error = message, "step failed");
    }
}

/// The pod waits, or no longer does.
pub fn of_waits(card: &Card, plan: &Plan, events: &EventLog, now: &Now) {
    let first = plan.waits.first();
    card.timeline().waiting(first.map(|wait| wait.step.as_str()), first.map(|wait| wait.waiting_for.as_str()), now.wall, next_try(first, now));
    for wait in &plan.waits {
        if let Some((name, left)) = wait.step.strip_prefix("restart container ").zip(wait.left) {
            let _ = left;
            let pod = card.full_name();
            let message = format!("Back-off restarting failed container {name} in pod {}", with_uid(card));
            events.warning(&pod, "BackOff", &message, now.wall);
        }
    }
}

fn next_try(wait: Option<&Wait>, now: &Now) -> Option<jiff::Timestamp> {
    now.wall.checked_add(wait?.left?).ok()
}

/// `name_namespace(uid)`, as the kubelet writes a pod in messages.
#[must_use]
pub fn with_uid(card: &Card) -> String {
    let face = card.face();
    format!("{}_{}({})", face.name, face.namespace, card.uid)
}
