//! Many pods change at once.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::fake_api::{Fault, On, test_side};
use crate::harness::{pod, sleeper};
use crate::rig::{Rig, all_of, exit_of, scaled};

const PODS: usize = 200;

#[tokio::test(start_paused = true)]
async fn p2_two_hundred_flips_are_seen_within_a_second_of_slow_writes() {
    let rig = Rig::new();
    let agent = rig.start();
    let uids: Vec<_> =
        (0..PODS).map(|n| rig.create(&pod(&format!("p{n}"), "Never", &["sleep", "infinity"]))).collect();
    let all = all_of(PODS, |n| rig.is_ready(&format!("p{n}")));
    rig.until("all are ready", Duration::from_secs(120), all).await;
    sleep(Duration::from_secs(30)).await;
    rig.api.fault(On::any(), Fault::Latency(Duration::from_millis(20)));
    let from = rig.api.requests_so_far();
    let began = Instant::now();
    for uid in &uids {
        rig.make.fake.exit_now(&rig.container_id(uid), 5);
    }
    let told = |n: usize| {
        let pod = rig.pod(&format!("p{n}")).unwrap();
        exit_of(&pod) == Some(5) && test_side::condition(&pod, "Ready") == "False"
    };
    let all_told = all_of(PODS, told);
    rig.api.watch_until("all are told", Duration::from_secs(1), |_| all_told()).await;
    eprintln!("all told after {:?}", began.elapsed());
    sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.pod_reads(), 0);
    let writes = rig.pod_writes(from).len();
    assert!(writes <= 2 * PODS, "{writes} writes");
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn p2_a_ready_flip_overtakes_the_queue_of_a_whole_agent() {
    const LATENCY: Duration = Duration::from_millis(200);
    let pods = scaled("p2", "queued writes", 200, 1_000);
    let rig = Rig { max_pods: 1_100, ..Rig::new() };
    let agent = rig.start();
    for n in 0..pods {
        rig.create(&sleeper(&format!("p{n}")));
    }
    let web = rig.create(&pod("web", "Never", &["sleep", "infinity"]));
    rig.until_ready_within("web", Duration::from_secs(300)).await;
    let all = all_of(pods, |n| rig.is_ready(&format!("p{n}")));
    rig.until("all are ready", Duration::from_secs(300), all).await;
    sleep(Duration::from_secs(30)).await;
    rig.api.fault(On::any(), Fault::Latency(LATENCY));
    // Of each another generation is to be told, which nobody waits for.
    for n in 0..pods {
        rig.api.update("pods", "default", &format!("p{n}"), |pod| {
            pod["spec"]["activeDeadlineSeconds"] = serde_json::json!(1_000_000);
        });
    }
    sleep(LATENCY * 2).await;
    let began = Instant::now();
    rig.make.fake.exit_now(&rig.container_id(&web), 5);
    let flipped = |_: &_| rig.pod("web").is_some_and(|web| exit_of(&web) == Some(5));
    rig.api.watch_until("the end is told", LATENCY * 2, flipped).await;
    let told = |n: usize| {
        let pod = rig.pod(&format!("p{n}")).unwrap();
        pod["status"]["observedGeneration"] == pod["metadata"]["generation"]
    };
    assert!(!told(pods - 1) || !(0..pods).all(told), "the queue is gone already, this shows nothing");
    eprintln!("told after {:?}", began.elapsed());
    let all_told = all_of(pods, told);
    rig.until("the queue is worked off", Duration::from_secs(120), all_told).await;
    agent.stop().await;
    rig.check_manners();
}
