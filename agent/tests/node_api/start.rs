//! Starts and restarts: the node appears at once, and never flaps.

use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::fake::{FaultKind, FaultRule};
use tokio::time::sleep;

use crate::fake_api::{FakeApi, Fault, On};
use crate::harness::{Make, sleeper};
use crate::rig::Whole;

#[tokio::test(start_paused = true)]
async fn a_node_is_ready_within_a_second_of_its_start() {
    let (make, api) = (Make::new(), FakeApi::new());
    let whole = Whole::start(&make, &api, &[]);
    whole.until_ready(Duration::from_secs(1)).await;
    assert!(whole.began.elapsed() <= Duration::from_secs(1));
    api.watch_until("its lease is there", Duration::from_secs(1), |api| {
        api.get("leases.coordination.k8s.io", "kube-node-lease", "node1").is_some()
    })
    .await;
    whole.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b36_a_restart_with_110_pods_and_a_slow_runtime_never_says_not_ready() {
    let (make, api) = (Make::new(), FakeApi::new());
    let pods: Vec<_> = (0..110).map(|n| sleeper(&format!("p{n}"))).collect();
    let whole = Whole::start(&make, &api, &pods);
    whole.until_ready(Duration::from_secs(1)).await;
    whole.agent.until_running("p109").await;
    let uid = whole.uid();
    whole.stop().await;

    let fault = make.fake.fault(FaultRule::on_any(FaultKind::Delay(Duration::from_secs(5))));
    let whole = Whole::start(&make, &api, &pods);
    sleep(Duration::from_secs(90)).await;
    make.fake.remove_fault(fault);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(api.transitions(&uid, "Ready"), ["True"]);
    assert!(whole.status_writes() > 0, "the new agent must have reported");
    assert_eq!(*whole.handle.problem.borrow(), None);
    let reasons: Vec<_> = whole.events.list().into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["Starting"], "a restart is no change of the node");
    whole.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b36_a_runtime_that_hangs_is_not_ready_after_thirty_seconds_while_the_lease_goes_on() {
    let (make, api) = (Make::new(), FakeApi::new());
    let whole = Whole::start(&make, &api, &[]);
    whole.until_ready(Duration::from_secs(1)).await;
    make.fake.fault(FaultRule::on(Call::Status, FaultKind::Hang));
    sleep(Duration::from_secs(28)).await;
    assert!(whole.is_ready());
    api.watch_until("the node is not ready", Duration::from_secs(300), |_| !whole.is_ready()).await;
    assert_eq!(whole.condition("Ready").unwrap()["message"], "container runtime is down");
    let renewals = || api.writes_by_name("leases.coordination.k8s.io")["kube-node-lease/node1"];
    let before = renewals();
    sleep(Duration::from_secs(300)).await;
    assert!(renewals() >= before + 28);
    whole.stop().await;
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_api_at_random_end_in_a_ready_node_with_a_lease_that_holds() {
    let (make, api) = (Make::new(), FakeApi::new());
    for (seed, fault) in
        [Fault::conflict(), Fault::not_found(), Fault::too_many(1), Fault::internal()].into_iter().enumerate()
    {
        let seed = u64::try_from(seed).unwrap();
        api.fault(On::any().chance(0.075, seed), fault);
    }
    let whole = Whole::start(&make, &api, &[]);
    whole.until_ready(Duration::from_secs(30)).await;
    sleep(Duration::from_secs(600)).await;
    assert!(whole.is_ready());
    let renewed: Vec<_> = api
        .requests()
        .into_iter()
        .filter(|request| request.resource == "leases.coordination.k8s.io" && request.committed)
        .map(|request| request.at)
        .collect();
    assert!(renewed.windows(2).all(|pair| pair[1] - pair[0] < Duration::from_secs(40)), "{renewed:?}");
    whole.stop().await;
}
