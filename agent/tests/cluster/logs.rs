//! `kubectl logs` and `kubectl describe`: what people look at first.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admin::restarts;
use crate::case::{Case, WAIT, pod};
use crate::control_plane::{ControlPlane, until};

pub(crate) fn kubectl_logs_with_its_options(cluster: &ControlPlane) {
    let case = Case::start(cluster, "logs");
    case.namespace.create(&pod(
        "teller",
        "Always",
        &format!("echo early; echo second; sleep 8; echo late; {WAIT}"),
    ));
    case.namespace.create(&pod("ticker", "Never", "for i in 1 2 3 4 5; do echo tick $i; sleep 0.4; done"));
    case.namespace.create(&pod("mortal", "Always", "cat /proc/sys/kernel/random/uuid; sleep 4; exit 3"));

    // Follows to the end of the container, and ends with it.
    until_running(&case, "ticker");
    let ticks = case.namespace.kubectl(&["logs", "-f", "ticker"]);
    assert_eq!(ticks, "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\n");

    previous(&case);

    let whole = until("the late line", || {
        let whole = case.namespace.kubectl(&["logs", "teller"]);
        if whole.ends_with("late\n") { Ok(whole) } else { Err(whole) }
    });
    assert_eq!(whole, "early\nsecond\nlate\n");
    assert_eq!(case.namespace.kubectl(&["logs", "teller", "--since=6s"]), "late\n");
    assert_eq!(case.namespace.kubectl(&["logs", "teller", "--since=1h"]), whole);
    assert_eq!(case.namespace.kubectl(&["logs", "teller", "--tail=1"]), "late\n");
    assert_eq!(case.namespace.kubectl(&["logs", "teller", "--tail=2"]), "second\nlate\n");
    assert_eq!(case.namespace.kubectl(&["logs", "teller", "--tail=0"]), "");
    assert_eq!(case.namespace.kubectl(&["logs", "teller", "--limit-bytes=7"]), "early\ns");
    let stamped = case.namespace.kubectl(&["logs", "teller", "--timestamps"]);
    for (line, text) in stamped.lines().zip(whole.lines()) {
        let (stamp, rest) = line.split_once(' ').unwrap();
        stamp.parse::<jiff::Timestamp>().unwrap();
        assert_eq!(rest, text);
    }
    let error = case.namespace.try_kubectl(&["logs", "teller", "--previous"]).unwrap_err();
    assert!(error.contains("previous terminated container \"main\" in pod \"teller\" not found"), "{error}");
    case.agent.a80_was_never_refused();
}

fn until_running(case: &Case<'_>, name: &str) {
    let started = |pods: &[Value]| {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name)?;
        let phase = &pod["status"]["phase"];
        (phase == "Running" || phase == "Succeeded").then_some(())
    };
    case.until_pods(&format!("{name} running"), Instant::now(), started);
}

/// The log of the life before is the one that was the current one.
fn previous(case: &Case<'_>) {
    let life = |pods: &[Value]| {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == "mortal")?;
        let running = pod["status"]["containerStatuses"][0]["state"]["running"].is_object();
        running.then(|| restarts(pod))
    };
    let (before, _) = case.until_pods("a life of the mortal", Instant::now(), life);
    let first = case.namespace.kubectl(&["logs", "mortal"]);
    let next = |pods: &[Value]| life(pods).filter(|now| *now > before);
    let (after, _) = case.until_pods("its next life", Instant::now(), next);
    assert_eq!(after, before + 1);
    assert_eq!(case.namespace.kubectl(&["logs", "mortal", "--previous"]), first);
    assert_ne!(case.namespace.kubectl(&["logs", "mortal"]), first);
}

pub(crate) fn describe_shows_events_in_the_order_users_expect(cluster: &ControlPlane) {
    let case = Case::start(cluster, "events");
    case.namespace.create(&pod("plain", "Always", WAIT));
    case.until_phase("plain", "Running");
    let wanted = ["Scheduled", "Pulled", "Created", "Started"];
    let reasons = || -> Vec<String> {
        let text = case.namespace.kubectl(&["describe", "pod", "plain"]);
        let events = text.split_once("\nEvents:").map(|(_, events)| events.to_owned()).unwrap_or_default();
        let lines =
            events.lines().filter(|line| line.starts_with("  Normal") || line.starts_with("  Warning"));
        let reasons = lines.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned));
        // What the scheduler says while it has not seen the node yet is not the node's.
        reasons.filter(|reason| reason != "FailedScheduling").collect()
    };
    // Events are told with a delay, by different writers.
    case.agent.until("events", Instant::now(), Duration::from_secs(20), || {
        let found = reasons();
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
    case.agent.a80_was_never_refused();
}
