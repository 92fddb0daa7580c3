//! Golden tests of the page.

use proptest::prelude::*;

use super::*;
use crate::view::PodView;

fn at(text: &str) -> Timestamp {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

fn view() -> ExplainView {
    let failed = TimelineView {
        at: at("09:59:20"),
        what: "container web exited".to_owned(),
        took_ms: None,
        error: Some("exit code 1".to_owned()),
    };
    let step = |time: &str, what: &str, took_ms| TimelineView {
        at: at(time),
        what: what.to_owned(),
        took_ms,
        error: None,
    };
    ExplainView {
        pod: PodView {
            namespace: "default".to_owned(),
            name: "web-node1".to_owned(),
            uid: "0123456789abcdef".to_owned(),
            ready: 0,
            containers: 1,
            status: "CrashLoopBackOff".to_owned(),
            phase: "Running".to_owned(),
            restarts: 3,
            started: Some(at("09:50:00")),
            ip: Some("10.0.0.7".to_owned()),
            reason: "container web exited with code 1".to_owned(),
            source: Some("/etc/manifests/web.yaml".to_owned()),
        },
        containers: vec![ContainerView {
            namespace: "default".to_owned(),
            pod: "web-node1".to_owned(),
            name: "web".to_owned(),
            id: Some("abc".to_owned()),
            state: "Waiting".to_owned(),
            reason: "CrashLoopBackOff".to_owned(),
            message: "back-off 40s restarting failed container=web".to_owned(),
            exit_code: None,
            last_exit_code: Some(1),
            restarts: 3,
            image: "busybox:1".to_owned(),
            started: Some(at("09:59:10")),
            finished: Some(at("09:59:20")),
            log_path: None,
            previous_log_path: None,
        }],
        step: Some(StepView {
            step: "restart backoff of container web".to_owned(),
            waiting_for: "40s to pass since its exit".to_owned(),
            since: at("09:59:20.5"),
            next_try: Some(at("10:00:20")),
        }),
        last_error: Some(failed.clone()),
        held: Vec::new(),
        timeline: vec![
            step("09:50:00.100", "RunPodSandbox", Some(412)),
            step("09:50:01", "pull busybox:1", Some(61_500)),
            step("09:51:02.5", "StartContainer web", Some(1_234)),
            failed,
        ],
    }
}

#[test]
fn a_pod_in_backoff_says_what_it_waits_for() {
    insta::assert_snapshot!(page(&view(), at("10:00:00")));
}

#[test]
fn a_held_pod_names_its_fields() {
    let held = ExplainView {
        held: vec!["spec.containers[0].livenessProbe: probes come in a later version".to_owned()],
        step: None,
        last_error: None,
        timeline: Vec::new(),
        ..view()
    };
    insta::assert_snapshot!(page(&held, at("10:00:00")));
}

#[test]
fn what_is_overdue_is_due() {
    assert!(page(&view(), at("11:00:00")).contains("(due)"));
}

proptest! {
    #[test]
    fn a_terminal_obeys_nothing_on_the_page(text in any::<String>(), took_ms in any::<Option<u64>>()) {
        let mut view = view();
        view.pod.reason = text.clone();
        view.held = vec![text.clone()];
        view.containers[0].message = text.clone();
        view.timeline[0].what = text.clone();
        view.timeline[0].took_ms = took_ms;
        view.step.as_mut().unwrap().waiting_for = text.clone();
        view.last_error.as_mut().unwrap().error = Some(text);
        let page = page(&view, at("10:00:00"));
        prop_assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{:?}", page);
    }
}
