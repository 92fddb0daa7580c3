//! The reporter against an API server of a few lines, in virtual time.

mod fake;
mod rig;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use fake::{Fault, LATENCY};
use rig::{Local, Rig};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn beyond2_200_pods_that_flip_at_once_are_all_visible_within_a_second() {
    let mut rig = Rig::new(200, Local::Creating);
    rig.settled(30 * SECOND).await;
    rig.api.forget_calls();
    let began = rig.api.now();
    rig.set_all(Local::Running);
    let took = rig.until(5 * SECOND, |rig| rig.all_told()).await.duration_since(began);
    assert!(took <= SECOND, "it took {took:?}");
    let calls = rig.api.calls();
    assert_eq!(calls.iter().filter(|call| call.method == "GET").count(), 0);
    assert_eq!((calls.len(), rig.api.most_at_once_of_a_pod()), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn beyond2_a_ready_flip_overtakes_1000_queued_writes() {
    let mut rig = Rig::new(1_001, Local::Creating);
    rig.settled(30 * SECOND).await;
    for pod in 0..1_000 {
        rig.set(pod, Local::Failing("no such image".into()));
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    let began = rig.api.now();
    rig.set(1_000, Local::Running);
    let seen = rig.until(SECOND, |rig| rig.is_told(1_000)).await;
    assert!(!rig.all_told(), "the queue is gone already, this shows nothing");
    let took = seen.duration_since(began);
    assert!(took <= Duration::from_millis(50) + LATENCY, "it took {took:?}");
    assert_eq!(rig.api.most_at_once_of_a_pod(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quick_start_is_one_write_and_a_slow_one_is_seen_within_a_second() {
    let mut rig = Rig::new(30, Local::Creating);
    tokio::time::sleep(Duration::from_millis(700)).await;
    for pod in 0..20 {
        rig.set(pod, Local::Running);
    }
    rig.set(20, Local::Failing("no such image".into()));
    rig.until(SECOND, |rig| rig.all_told()).await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(rig.api.calls().len(), 30, "one write of each");
    for pod in 20..30 {
        rig.set(pod, Local::Running);
    }
    rig.settled(5 * SECOND).await;
    assert_eq!(rig.api.calls().len(), 40, "a second one of those that were slow");
}

#[tokio::test(start_paused = true)]
async fn b60_after_an_outage_every_pod_is_right_with_one_write() {
    let mut rig = Rig::new(30, Local::Creating);
    rig.settled(30 * SECOND).await;
    rig.api.break_down(|_| Some(Fault::Unreachable));
    for round in 0..10 {
        for pod in 0..30 {
            let running = (pod + round) % 3 == 0;
            rig.set(pod, if running { Local::Running } else { Local::Failing(format!("try {round}")) });
        }
        tokio::time::sleep(60 * SECOND).await;
    }
    rig.api.forget_calls();
    rig.api.recover();
    rig.until(30 * SECOND, |rig| rig.all_told()).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(rig.api.calls().len(), 30, "one write per pod");
}

#[tokio::test(start_paused = true)]
async fn b60_requests_that_are_never_answered_do_not_delay_the_rest_for_more_than_30_s() {
    let mut rig = Rig::new(110, Local::Creating);
    rig.settled(30 * SECOND).await;
    rig.api.break_down(|_| Some(Fault::BlackHole));
    rig.set_all(Local::Running);
    tokio::time::sleep(300 * SECOND).await;
    rig.api.recover();
    rig.until(30 * SECOND, |rig| rig.all_told()).await;
}

#[tokio::test(start_paused = true)]
async fn b65_random_refusals_for_ten_minutes_leave_every_status_right() {
    let mut rig = Rig::new(30, Local::Creating);
    let mut random = fake::Random::new(7);
    let mut faults = fake::Random::new(11);
    rig.api.break_down(move |_| (faults.below(10) < 3).then(|| faults.pick(&fake::REFUSALS)));
    for round in 0..600 {
        let pod = random.below(30);
        let next = [Local::Running, Local::Failing(format!("try {round}")), Local::Ended(1)];
        rig.set(pod, next[random.below(3)].clone());
        tokio::time::sleep(SECOND).await;
    }
    rig.api.recover();
    rig.until(30 * SECOND, |rig| rig.all_told()).await;
    let calls = rig.api.calls();
    assert!(calls.iter().filter(|call| call.status != 200).count() > 100, "hardly any fault");
    let writes: Vec<_> = calls.iter().filter(|call| call.method != "GET").collect();
    assert!(writes.iter().all(|call| call.uid.as_ref() == Some(&call.of)), "a write without its UID");
    for (n, call) in calls.iter().enumerate() {
        if let Some(patience) = call.retry_after {
            let next = calls.iter().skip(n + 1).find(|next| next.of == call.of);
            assert!(next.is_none_or(|next| next.at >= call.at + patience), "Retry-After was not obeyed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b34_a_restart_of_the_agent_writes_nothing() {
    let mut rig = Rig::new(50, Local::Running);
    rig.set(7, Local::Failing("no such image".into()));
    rig.settled(30 * SECOND).await;
    rig.api.forget_calls();
    rig.restart();
    tokio::time::sleep(15 * SECOND).await;
    rig.runtime_tells();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(rig.api.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn i8_a_status_that_others_change_is_corrected_and_what_is_theirs_is_kept() {
    let rig = Rig::new(1, Local::Running);
    rig.settled(30 * SECOND).await;
    rig.api.edit(0, |pod| {
        pod["status"]["containerStatuses"] = json!([]);
        pod["status"]["podIPs"] = json!([{ "ip": "192.0.2.66" }]);
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({ "type": "example.com/theirs", "status": "True", "reason": "Because" }));
    });
    rig.until(SECOND, |rig| rig.all_told()).await;
    let pod = rig.api.object(0);
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let theirs = conditions.iter().find(|condition| condition["type"] == "example.com/theirs").unwrap();
    assert_eq!(theirs["reason"], "Because");
    assert_eq!(pod["status"]["podIPs"], json!([{ "ip": "10.0.0.9" }]));
}

#[tokio::test(start_paused = true)]
async fn i5_a_deleted_pod_goes_once_its_last_status_is_in_and_is_ordered_to_once() {
    let mut rig = Rig::new(1, Local::Running);
    rig.settled(30 * SECOND).await;
    rig.api.edit(0, |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["finalizers"] = json!(["example.com/mine"]);
    });
    tokio::time::sleep(15 * SECOND).await;
    assert!(rig.api.calls().iter().all(|call| call.method != "DELETE"), "it still runs");
    rig.api.forget_calls();
    rig.set(0, Local::Gone(3));
    tokio::time::sleep(120 * SECOND).await;
    let methods: Vec<_> = rig.api.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(methods, ["PATCH", "DELETE"], "the status first, and one order though a finalizer holds it");
    let pod = rig.api.object(0);
    assert_eq!(pod["status"]["phase"], "Failed");
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
}

#[tokio::test(start_paused = true)]
async fn b66_nothing_is_written_to_another_pod_of_the_same_name() {
    let mut rig = Rig::new(1, Local::Creating);
    rig.settled(30 * SECOND).await;
    rig.api.forget_calls();
    rig.api.replace_unseen(0, "another");
    rig.set(0, Local::Running);
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(rig.api.object(0)["status"]["phase"], serde_json::Value::Null);
    let methods: Vec<_> = rig.api.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(methods, ["PATCH", "GET"], "it looked once, and gave up");
}

#[tokio::test(start_paused = true)]
async fn a_static_pods_status_goes_to_its_mirror_and_to_the_next_one() {
    let mut rig = Rig::new(1, Local::Running);
    rig.settled(30 * SECOND).await;
    rig.mirror(0, "mirror-1");
    rig.settled(SECOND).await;
    let first = rig.api.object(0);
    assert_eq!(
        (&first["metadata"]["uid"], &first["status"]["phase"]),
        (&json!("mirror-1"), &json!("Running"))
    );
    assert_eq!(first["status"]["observedGeneration"], serde_json::Value::Null);
    rig.mirror(0, "mirror-2");
    rig.settled(SECOND).await;
    assert_eq!(rig.api.object(0)["status"], first["status"], "another copy of the same, times included");
}

#[derive(Debug, Clone)]
enum Op {
    Set(usize, Local),
    Foreign(usize, u8),
    Fault(u8),
    Recover,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let local = prop_oneof![
        Just(Local::Creating),
        Just(Local::Running),
        (0..3_i32).prop_map(Local::Ended),
        "[a-c]".prop_map(Local::Failing),
    ];
    prop_oneof![
        5 => (0..3_usize, local).prop_map(|(pod, local)| Op::Set(pod, local)),
        2 => (0..3_usize, 0..4_u8).prop_map(|(pod, what)| Op::Foreign(pod, what)),
        1 => (0..8_u8).prop_map(Op::Fault),
        1 => Just(Op::Recover),
        4 => (1..400_u64).prop_map(Op::Wait),
    ]
}

fn meddle(pod: &mut serde_json::Value, what: u8) {
    let status = &mut pod["status"];
    match what {
        0 => status["phase"] = json!("Pending"),
        1 => status["containerStatuses"] = json!([]),
        2 => status["conditions"] = json!([{ "type": "Ready", "status": "False" }]),
        _ => status["podIP"] = json!("192.0.2.66"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn i8_the_final_status_is_the_local_one_after_any_interleaving(ops in prop::collection::vec(op(), 1..40)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new(3, Local::Creating);
            for op in ops {
                match op {
                    Op::Set(pod, local) => rig.set(pod, local),
                    Op::Foreign(pod, what) => rig.api.edit(pod, |object| meddle(object, what)),
                    Op::Fault(which) => rig.api.break_down(move |_| Some(fake::ALL[usize::from(which)])),
                    Op::Recover => rig.api.recover(),
                    Op::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                }
            }
            rig.api.recover();
            rig.settled(30 * SECOND).await;
            tokio::time::sleep(30 * SECOND).await;
            assert!(rig.all_told(), "it did not stay right");
            assert_eq!(rig.api.most_at_once_of_a_pod(), 1);
            rig.api.forget_calls();
            tokio::time::sleep(60 * SECOND).await;
            assert_eq!(rig.api.calls().len(), 0, "it is right and goes on writing");
        });
    }
}
