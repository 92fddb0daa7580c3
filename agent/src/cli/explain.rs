//! The text of `pinnace explain`: what a pod is doing, what it waits for, and how it came to that. Pure.

use std::fmt::Write;

use jiff::Timestamp;

use super::age::age;
use super::list::state;
use super::table::{clean, render};
use crate::view::{ContainerView, ExplainView, StepView, TimelineView};

/// The whole page. `now` is the reader's clock.
#[must_use]
pub fn page(view: &ExplainView, now: Timestamp) -> String {
    let mut out = String::new();
    head(view, now, &mut out);
    doing(view, now, &mut out);
    if !view.held.is_empty() {
        section("Held back by", &mut out);
        for field in &view.held {
            field_line(field, &mut out);
        }
    }
    section("Containers", &mut out);
    containers(&view.containers, now, &mut out);
    section("Timeline (oldest first)", &mut out);
    timeline(&view.timeline, &mut out);
    out
}

fn head(view: &ExplainView, now: Timestamp, out: &mut String) {
    let pod = &view.pod;
    pair("Pod", &format!("{}/{}", pod.namespace, pod.name), out);
    pair("UID", &pod.uid, out);
    let ready = format!("{} ({} of {} ready, phase {})", pod.status, pod.ready, pod.containers, pod.phase);
    pair("Status", &ready, out);
    if !pod.reason.is_empty() {
        pair("Reason", &pod.reason, out);
    }
    pair("Restarts", &pod.restarts.to_string(), out);
    pair("Age", &age(pod.started, now), out);
    if let Some(ip) = &pod.ip {
        pair("IP", ip, out);
    }
    if let Some(source) = &pod.source {
        pair("Source", source, out);
    }
}

fn doing(view: &ExplainView, now: Timestamp, out: &mut String) {
    out.push('\n');
    match &view.step {
        None if view.held.is_empty() => pair("Now", "nothing to do", out),
        None => pair("Now", "held back, see below; nothing of this pod is started", out),
        Some(StepView { step, waiting_for, since, next_try }) => {
            pair("Now", step, out);
            pair("Waits for", waiting_for, out);
            pair("Since", &format!("{} ({} ago)", clock(*since), age(Some(*since), now)), out);
            if let Some(next) = next_try {
                pair("Next try", &format!("{} ({})", clock(*next), ahead(*next, now)), out);
            }
        }
    }
    if let Some(TimelineView { at, what, error, .. }) = &view.last_error {
        let error = error.as_deref().unwrap_or("failed");
        pair("Last error", &format!("{what}: {error} ({} ago)", age(Some(*at), now)), out);
    }
}

fn containers(containers: &[ContainerView], now: Timestamp, out: &mut String) {
    let row = |container: &ContainerView| {
        let last = container.last_exit_code.map_or("-".to_owned(), |code| code.to_string());
        [
            format!("  {}", container.name),
            state(container),
            container.restarts.to_string(),
            last,
            age(container.started, now),
            container.image.clone(),
        ]
    };
    let rows: Vec<_> = containers.iter().map(row).collect();
    out.push_str(&render(["  NAME", "STATE", "RESTARTS", "LAST EXIT", "STARTED", "IMAGE"], &rows));
    for container in containers.iter().filter(|container| !container.message.is_empty()) {
        field_line(&format!("{}: {}", container.name, container.message), out);
    }
}

fn timeline(entries: &[TimelineView], out: &mut String) {
    if entries.is_empty() {
        out.push_str("  nothing yet\n");
        return;
    }
    for TimelineView { at, what, took_ms, error } in entries {
        let took = took_ms.map(took).unwrap_or_default();
        let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let text = clean(&format!("{what}{error}"));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {}  {took:>8}  {text}", clock(*at));
    }
}

fn pair(name: &str, value: &str, out: &mut String) {
    let _ = writeln!(out, "{:<12}{}", format!("{name}:"), clean(value));
}

fn section(title: &str, out: &mut String) {
    let _ = write!(out, "\n{title}:\n");
}

fn field_line(text: &str, out: &mut String) {
    let _ = writeln!(out, "  {}", clean(text));
}

/// Date and time in UTC to the millisecond, which is what tells two steps apart.
fn clock(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn ahead(next: Timestamp, now: Timestamp) -> String {
    let seconds = next.duration_since(now).as_secs();
    if seconds <= 0 { "due".to_owned() } else { format!("in {}", super::age::human(seconds)) }
}

fn took(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..60_000 => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
        _ => super::age::human(i64::try_from(millis / 1_000).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
