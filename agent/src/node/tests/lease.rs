//! The lease, and the end of the object.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_black_hole_is_noticed_by_the_lease_and_left_at_once() {
    let rig = healthy();
    rig.until(1, "lease", |rig| rig.api.object(LEASE).is_some()).await;
    sleep(Duration::from_secs(1)).await;
    let stuck = Arc::clone(&rig.handle.lease_stuck);
    rig.api.fault(Fault::BlackHole);
    let began = Instant::now();
    stuck.notified().await;
    assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
    rig.api.fault(Fault::None);
    let before = rig.lease_api.writes(&Method::PUT, LEASE).len();
    rig.until(11, "renewal", |rig| rig.lease_api.writes(&Method::PUT, LEASE).len() > before).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_others_changed_or_deleted_is_taken_back() {
    let rig = healthy();
    rig.until(1, "lease", |rig| rig.api.object(LEASE).is_some()).await;
    rig.api.patch(LEASE, &json!({"spec": {"holderIdentity": "someone"}}));
    rig.until(12, "own lease", |rig| rig.api.object(LEASE).unwrap()["spec"]["holderIdentity"] == "node1")
        .await;
    rig.api.delete(LEASE);
    rig.until(12, "new lease", |rig| rig.api.object(LEASE).is_some()).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_node_is_told_and_its_lease_is_not_made_again() {
    let rig = healthy();
    rig.until(1, "lease", |rig| rig.api.object(LEASE).is_some()).await;
    sleep(Duration::from_secs(1)).await;
    rig.api.delete(NODE);
    rig.until(12, "problem", |rig| rig.handle.problem.borrow().is_some()).await;
    rig.api.delete(LEASE);
    sleep(Duration::from_secs(60)).await;
    assert!(rig.api.object(LEASE).is_none() && rig.api.object(NODE).is_none());
    assert!(rig.handle.problem.borrow().clone().unwrap().contains("was deleted"));
    rig.end().await;
}
