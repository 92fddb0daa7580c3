//! Golden tests of the tables.

use proptest::prelude::*;

use super::*;

/// The reader's clock in all of them.
fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() - seconds).unwrap()
}

fn pod(name: &str) -> PodView {
    PodView {
        namespace: "default".to_owned(),
        name: format!("{name}-node1"),
        uid: "u1".to_owned(),
        ready: 1,
        containers: 2,
        status: "Running".to_owned(),
        phase: "Running".to_owned(),
        restarts: 0,
        started: Some(ago(90)),
        ip: Some("10.0.0.7".to_owned()),
        reason: String::new(),
        source: Some("/etc/manifests/web.yaml".to_owned()),
    }
}

fn container(name: &str, state: &str, reason: &str, exit_code: Option<i32>) -> ContainerView {
    ContainerView {
        namespace: "default".to_owned(),
        pod: "web-node1".to_owned(),
        name: name.to_owned(),
        id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        state: state.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        exit_code,
        last_exit_code: None,
        restarts: 3,
        image: "busybox:1".to_owned(),
        started: Some(ago(7_200)),
        finished: None,
        log_path: None,
        previous_log_path: None,
    }
}

#[test]
fn pods_as_kubectl_shows_them() {
    let held = PodView {
        ready: 0,
        status: "Pending".to_owned(),
        restarts: 12,
        started: None,
        ip: None,
        reason: "held: spec.volumes[0].configMap".to_owned(),
        source: None,
        ..pod("a-pod-with-a-long-name")
    };
    insta::assert_snapshot!(pods(&[pod("web"), held.clone()], false, now()));
    insta::assert_snapshot!(pods(&[pod("web"), held], true, now()));
    insta::assert_snapshot!(pods(&[], false, now()));
}

#[test]
fn containers_say_their_state_in_a_word() {
    let waiting = ContainerView {
        id: None,
        message: "back-off 40s restarting failed container=b".to_owned(),
        ..container("b", "Waiting", "CrashLoopBackOff", None)
    };
    let all = [
        container("a", "Running", "", None),
        waiting,
        container("c", "Terminated", "Completed", Some(0)),
        container("d", "Terminated", "", Some(137)),
    ];
    insta::assert_snapshot!(containers(&all, false, now()));
    insta::assert_snapshot!(containers(&all, true, now()));
}

#[test]
fn events_say_how_often() {
    let event = EventView {
        first: ago(600),
        last: ago(5),
        count: 4,
        kind: "Warning".to_owned(),
        reason: "BackOff".to_owned(),
        object: "default/web-node1".to_owned(),
        message: "Back-off restarting failed container\nweb in pod web".to_owned(),
    };
    let once = EventView { count: 1, last: ago(600), kind: "Normal".to_owned(), ..event.clone() };
    insta::assert_snapshot!(events(&[once, event], now()));
}

#[test]
fn findings_come_with_their_fix() {
    let finding = |what: &str, level, fix: &str| CheckView {
        what: what.to_owned(),
        level,
        found: "something".to_owned(),
        fix: fix.to_owned(),
    };
    let all = [
        finding("root", CheckLevel::Ok, ""),
        finding("cgroup", CheckLevel::Warning, "boot with systemd.unified_cgroup_hierarchy=1"),
        finding("runtime", CheckLevel::Error, "start containerd"),
    ];
    insta::assert_snapshot!(checks(&all));
    assert!(checks(&all[..2]).ends_with("\npods can run here, with less than full function\n"));
    assert!(checks(&all[..1]).ends_with("\neverything that pods need is here\n"));
}

proptest! {
    #[test]
    fn every_entry_is_one_line_that_a_terminal_does_not_obey(
        texts in prop::collection::vec(any::<String>(), 1..5), wide: bool, at in -9_999_999_i64..9_999_999
    ) {
        let started = Timestamp::from_second(now().as_second() + at).ok();
        let all: Vec<PodView> = texts
            .iter()
            .map(|text| PodView { status: text.clone(), reason: text.clone(), started, ..pod("web") })
            .collect();
        let table = pods(&all, wide, now());
        prop_assert_eq!(table.lines().count(), all.len() + 1);
        prop_assert!(!table.chars().any(|c| c.is_control() && c != '\n'));
    }
}
