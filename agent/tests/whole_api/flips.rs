//! Many pods change at once.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::fake_api::{Fault, On, test_side};
use crate::harness::pod;
use crate::rig::{Rig, all_of, exit_of};

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
