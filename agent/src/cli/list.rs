//! The tables of `pinnace pods`, `containers`, `events` and `check`. Pure.

use jiff::Timestamp;

use super::age::age;
use super::table::render;
use crate::view::{CheckLevel, CheckView, ContainerView, EventView, PodView};

/// Characters of a runtime id that tell it apart, as crictl shows it.
const SHORT_ID: usize = 13;

/// `pinnace pods`; `wide` adds address, source and the full reason.
#[must_use]
pub fn pods(pods: &[PodView], wide: bool, now: Timestamp) -> String {
    let short = |pod: &PodView| {
        [
            pod.namespace.clone(),
            pod.name.clone(),
            format!("{}/{}", pod.ready, pod.containers),
            pod.status.clone(),
            pod.restarts.to_string(),
            age(pod.started, now),
        ]
    };
    let headings = ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"];
    if !wide {
        return render(headings, &pods.iter().map(short).collect::<Vec<_>>());
    }
    let rows: Vec<[String; 9]> = pods
        .iter()
        .map(|pod| {
            let [namespace, name, ready, status, restarts, age] = short(pod);
            let (ip, source) = (or_none(pod.ip.as_deref()), or_none(pod.source.as_deref()));
            [namespace, name, ready, status, restarts, age, ip, source, pod.reason.clone()]
        })
        .collect();
    let [a, b, c, d, e, f] = headings;
    render([a, b, c, d, e, f, "IP", "SOURCE", "REASON"], &rows)
}

/// `pinnace containers`; `wide` adds the whole id and the message.
#[must_use]
pub fn containers(containers: &[ContainerView], wide: bool, now: Timestamp) -> String {
    let rows: Vec<[String; 9]> = containers
        .iter()
        .map(|container| {
            let id = or_none(container.id.as_deref());
            [
                container.namespace.clone(),
                container.pod.clone(),
                container.name.clone(),
                state(container),
                container.restarts.to_string(),
                age(container.started, now),
                container.image.clone(),
                if wide { id } else { id.chars().take(SHORT_ID).collect() },
                if wide { container.message.clone() } else { String::new() },
            ]
        })
        .collect();
    let message = if wide { "MESSAGE" } else { "" };
    render(["NAMESPACE", "POD", "NAME", "STATE", "RESTARTS", "STARTED", "IMAGE", "ID", message], &rows)
}

/// One word for the state, with what matters about it: the exit code, or why it waits.
#[must_use]
pub fn state(container: &ContainerView) -> String {
    match (container.state.as_str(), container.exit_code, container.reason.as_str()) {
        ("Terminated", Some(code), "") => format!("Terminated ({code})"),
        ("Terminated", Some(code), reason) => format!("{reason} ({code})"),
        (state, _, "") => state.to_owned(),
        (_, _, reason) => reason.to_owned(),
    }
}

/// `pinnace events`, oldest first.
#[must_use]
pub fn events(events: &[EventView], now: Timestamp) -> String {
    let row = |event: &EventView| {
        let last = age(Some(event.last), now);
        let seen = match event.count {
            0 | 1 => last,
            count => format!("{last} (x{count} over {})", age(Some(event.first), now)),
        };
        [seen, event.kind.clone(), event.reason.clone(), event.object.clone(), event.message.clone()]
    };
    render(["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], &events.iter().map(row).collect::<Vec<_>>())
}

/// `pinnace check`: one line per finding, the fix below it, the worst in the last line.
#[must_use]
pub fn checks(checks: &[CheckView]) -> String {
    let row = |check: &CheckView| [level(check.level).to_owned(), check.what.clone(), check.found.clone()];
    let table = render(["", "CHECK", "FOUND"], &checks.iter().map(row).collect::<Vec<_>>());
    let mut lines = table.lines();
    let mut out = lines.next().map(|heading| format!("{heading}\n")).unwrap_or_default();
    for (line, check) in lines.zip(checks) {
        out.push_str(line);
        out.push('\n');
        if !check.fix.is_empty() {
            out.push_str(&format!("{:10}fix: {}\n", "", check.fix));
        }
    }
    let verdict = match checks.iter().map(|check| check.level).max() {
        Some(CheckLevel::Error) => "pods cannot run here until the errors are fixed",
        Some(CheckLevel::Warning) => "pods can run here, with less than full function",
        Some(CheckLevel::Ok) | None => "everything that pods need is here",
    };
    out.push_str(&format!("\n{verdict}\n"));
    out
}

fn level(level: CheckLevel) -> &'static str {
    match level {
        CheckLevel::Ok => "ok",
        CheckLevel::Warning => "warning",
        CheckLevel::Error => "error",
    }
}

fn or_none(text: Option<&str>) -> String {
    text.unwrap_or("<none>").to_owned()
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
