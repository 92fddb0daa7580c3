//! Ready: what is said of it, and when.

use super::*;

/// A ready node of an earlier run of the agent.
async fn after_a_restart(runtime: RuntimeState) -> Rig {
    let first = healthy();
    first.until(1, "Ready node", Rig::is_ready).await;
    sleep(Duration::from_secs(30)).await;
    let api = first.api.clone();
    first.end().await;
    rig(&api, runtime, false, json!({}))
}

fn said_not_ready(rig: &Rig) -> Vec<Seen> {
    let patches = rig.patches().into_iter().filter(|seen| seen.at >= rig.began);
    patches.filter(|seen| seen.body.to_string().contains("KubeletNotReady")).collect()
}

#[tokio::test(start_paused = true)]
async fn b36_a_restart_with_a_slow_runtime_never_writes_not_ready() {
    let rig = after_a_restart(RuntimeState::default()).await;
    sleep(Duration::from_secs(25)).await;
    rig.runtime.send_replace(well());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(said_not_ready(&rig).len(), 0);
    assert!(rig.is_ready() && !rig.reasons().contains(&"NodeReady".to_owned()), "{:?}", rig.reasons());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn b36_a_network_that_comes_up_late_after_a_restart_is_no_flap() {
    let mut late = well();
    late.said.as_mut().unwrap().network.as_mut().unwrap().status = false;
    let rig = after_a_restart(late).await;
    sleep(Duration::from_secs(20)).await;
    rig.runtime.send_replace(well());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(said_not_ready(&rig).len(), 0);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn b36_a_runtime_that_is_really_down_is_told_after_thirty_seconds_and_the_lease_goes_on() {
    let rig = after_a_restart(silent()).await;
    rig.until(45, "NotReady", |rig| rig.ready().is_some_and(|(status, _)| status == "False")).await;
    assert_eq!(rig.ready().unwrap().1, "container runtime is down");
    assert!(said_not_ready(&rig)[0].at.duration_since(rig.began) >= Duration::from_secs(30));
    let before = rig.lease_api.writes(&Method::PUT, LEASE).len();
    sleep(Duration::from_secs(600)).await;
    assert!(rig.lease_api.writes(&Method::PUT, LEASE).len() >= before + 55);
    rig.runtime.send_replace(well());
    rig.until(1, "Ready node", Rig::is_ready).await;
    let reasons = rig.reasons();
    assert!(reasons.contains(&"NodeNotReady".to_owned()) && reasons.contains(&"NodeReady".to_owned()));
    rig.end().await;
}
