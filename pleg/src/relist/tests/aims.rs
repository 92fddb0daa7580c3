//! How soon what happens is seen, and at what cost.

use super::*;

#[tokio::test(start_paused = true)]
async fn b53_one_hung_status_of_200_pods_delays_no_other() {
    let (fake, pods) = fleet(200, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 200).await;
    fake.state().hung.insert("p000-c0".to_owned());
    fake.exit("p000", 1, Duration::ZERO);
    fake.hint("p000", true);
    let mut took = Vec::new();
    for (number, pod) in pods.iter().enumerate().skip(1) {
        fake.exit(pod, 3, Duration::ZERO);
        fake.hint(pod, true);
        took.push(rig.until("an exit", |snapshot| exited(snapshot, pod)).await);
        tokio::time::sleep(Duration::from_millis(number as u64 % 300)).await;
    }
    assert!(p99(took.clone()) <= 500 * MS, "p99 {:?}", p99(took));
    assert_eq!(rig.verdict(), Ok(()));
    let snapshot = rig.snapshot();
    let hung = snapshot.pod(&uid("p000")).unwrap();
    let quarantine = hung.quarantine.as_ref().expect("the hung pod is quarantined");
    assert_eq!(quarantine.call, "ContainerStatus p000-c0");
    assert_eq!(state(&snapshot, "p000"), Some(ContainerState::Running), "its last known state is kept");
    assert!(snapshot.freshness(&uid("p000")) < snapshot.freshness(&uid("p001")));
    assert_eq!(rig.handles.health.borrow().quarantined, 1);

    fake.state().hung.clear();
    rig.until("the hung pod", |snapshot| exited(snapshot, "p000")).await;
    rig.until("no quarantine", |snapshot| snapshot.pods[&uid("p000")].quarantine.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn exits_are_detected_within_50_ms_with_the_stream() {
    let (fake, pods) = fleet(200, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 200).await;
    let (mut at_once, mut shown_late) = (Vec::new(), Vec::new());
    for (number, pod) in pods.iter().enumerate() {
        let shown_after = Duration::from_millis(if number % 2 == 0 { 0 } else { number as u64 % 51 });
        fake.exit(pod, 7, shown_after);
        fake.hint(pod, true);
        let took = rig.until("an exit", |snapshot| exited(snapshot, pod)).await;
        if number % 2 == 0 {
            at_once.push(took)
        } else {
            shown_late.push(took.saturating_sub(shown_after))
        }
        tokio::time::sleep(333 * MS).await;
    }
    assert!(p99(at_once.clone()) <= 50 * MS, "{:?}", p99(at_once));
    assert!(p99(shown_late.clone()) <= 50 * MS, "{:?}", p99(shown_late));
    assert_eq!(rig.stream(), Stream::Trusted);
    let died = |change: &Change| matches!(change, Change::ContainerDied { exit_code: Some(7), .. });
    assert_eq!(rig.events().iter().filter(|change| died(change)).count(), 200);
}

/// Exit to detected over 100 exits of which `announced` are announced.
async fn detection(has_events: bool, announced: impl Fn(usize) -> bool) -> Vec<Duration> {
    let (fake, pods) = fleet(100, has_events);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 100).await;
    let mut took = Vec::new();
    for (number, pod) in pods.iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(137 * (number as u64 % 11))).await;
        fake.exit(pod, 1, Duration::ZERO);
        if announced(number) {
            fake.hint(pod, true);
        }
        took.push(rig.until("an exit", |snapshot| exited(snapshot, pod)).await);
    }
    took
}

#[tokio::test(start_paused = true)]
async fn exits_are_detected_within_1_1_s_without_a_stream() {
    let took = detection(false, |_| false).await;
    assert!(p99(took.clone()) <= 1100 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn exits_are_detected_within_1_1_s_with_a_silent_stream() {
    let took = detection(true, |_| false).await;
    assert!(p99(took.clone()) <= 1100 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn exits_are_detected_within_1_1_s_when_half_the_events_are_dropped() {
    let took = detection(true, |number| number % 4 < 2).await;
    let late = took.iter().filter(|took| **took > 1100 * MS).count();
    assert!(late <= 1, "only the first miss of a proven stream may wait for the long period: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn lists_are_rare_while_the_stream_announces_everything_and_frequent_after_a_miss() {
    let (fake, _) = fleet(3, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 3).await;
    fake.exit("p000", 1, Duration::ZERO);
    fake.hint("p000", true);
    rig.until("an exit", |snapshot| exited(snapshot, "p000")).await;
    let lists = async |span: Duration| {
        let before = fake.state().lists;
        tokio::time::sleep(span).await;
        fake.state().lists - before
    };
    assert!((11..=13).contains(&lists(60 * SECOND).await), "5 s apart while trusted");
    fake.exit("p001", 1, Duration::ZERO);
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(rig.stream(), Stream::Untrusted);
    assert!((58..=62).contains(&lists(60 * SECOND).await), "1 s apart after a miss");
    fake.cut_stream();
    tokio::time::sleep(10 * MS).await;
    assert_eq!(rig.stream(), Stream::Absent);
}

#[tokio::test(start_paused = true)]
async fn b52_300_pods_that_change_at_once_are_inspected_within_4_s() {
    let (fake, pods) = fleet(300, false);
    fake.state().status_takes = 50 * MS;
    let mut rig = Rig::start(&fake);
    let took = rig.until("all pods", |snapshot| snapshot.pods.len() == 300).await;
    assert!(took <= 4 * SECOND, "two statuses each at the start: {took:?}");
    pods.iter().for_each(|pod| fake.exit(pod, 1, Duration::ZERO));
    let took = rig.until("all exits", |now| pods.iter().all(|pod| exited(now, pod))).await;
    assert!(took <= 4 * SECOND, "{took:?}");
    assert!(fake.state().most_in_flight <= 8);
}

#[tokio::test(start_paused = true)]
async fn b52_a_runtime_that_takes_2_s_for_each_call_is_observed() {
    let (fake, _) = fleet(30, false);
    fake.state().status_takes = 2 * SECOND;
    let mut rig = Rig::start(&fake);
    let took = rig.until("all pods", |snapshot| snapshot.pods.len() == 30).await;
    assert!(took <= 20 * SECOND, "{took:?}");
    assert!(rig.snapshot().pods.values().all(|pod| pod.quarantine.is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_costs_one_call_a_second() {
    let (fake, _) = fleet(220, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 220).await;
    let calls = || {
        let state = fake.state();
        (state.lists, state.looks + state.statuses)
    };
    let (lists, others) = calls();
    tokio::time::sleep(100 * SECOND).await;
    assert!(calls().0 - lists <= 100 && calls().1 == others);
}
