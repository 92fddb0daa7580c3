//! What a list leaves out, or says too late.

use super::*;

#[tokio::test(start_paused = true)]
async fn b57_one_list_that_omits_a_live_container_removes_nothing() {
    let (fake, _) = fleet(2, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 2).await;
    rig.events();
    let mut partial = fake.truth();
    partial.containers.retain(|container| container.id != cid("p000-c0"));
    fake.state().list_faults.push_back(ListFault::Answer(partial));
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(state(&rig.snapshot(), "p000"), Some(ContainerState::Running));
    assert_eq!(rig.events(), []);
    assert_eq!(rig.handles.health.borrow().oddities.missed_by_list, 1);
}

#[tokio::test(start_paused = true)]
async fn b57_one_empty_list_removes_nothing() {
    let (fake, _) = fleet(100, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 100).await;
    rig.events();
    let statuses = fake.state().statuses;
    fake.state().list_faults.push_back(ListFault::Answer(Listing::default()));
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((rig.snapshot().pods.len(), rig.events()), (100, vec![]));
    assert_eq!(fake.state().statuses, statuses, "a second list answers for all");
}

#[tokio::test(start_paused = true)]
async fn b57_an_old_list_changes_nothing() {
    let (fake, _) = fleet(3, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 3).await;
    let old = fake.truth();
    fake.exit("p000", 1, Duration::ZERO);
    fake.remove_pod("p001");
    fake.run_pod("new");
    rig.until("the changes", |now| exited(now, "p000") && state(now, "new").is_some() && now.pods.len() == 3)
        .await;
    rig.events();
    for _ in 0..3 {
        fake.state().list_faults.push_back(ListFault::Answer(old.clone()));
    }
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(rig.events(), []);
    assert!(rig.handles.health.borrow().oddities.backwards > 0);
}

#[tokio::test(start_paused = true)]
async fn b57_a_dead_one_is_seen_and_a_removed_one_is_gone_within_5_s() {
    let (fake, _) = fleet(2, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 2).await;
    rig.events();
    fake.remove_pod("p000");
    assert!(rig.until("the removal", |snapshot| snapshot.pods.len() == 1).await <= 5 * SECOND);
    let events = rig.events();
    assert!(matches!(&events[0], Change::ContainerDied { exit_code: None, .. }), "{events:?}");
    assert_eq!(events.last(), Some(&Change::PodRemoved));
}

#[tokio::test(start_paused = true)]
async fn b57_two_lists_prove_an_absence_when_the_status_fails() {
    let (fake, _) = fleet(1, false);
    let mut rig = Rig::start(&fake);
    rig.until("the pod", |snapshot| snapshot.pods.len() == 1).await;
    fake.state().failing.extend(["p000-c0".to_owned(), "p000-s0".to_owned()]);
    fake.remove_pod("p000");
    rig.until("the removal", |snapshot| snapshot.pods.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn an_older_list_does_not_undo_a_look() {
    let (fake, _) = fleet(2, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 2).await;
    fake.state().list_faults.push_back(ListFault::Late(3 * SECOND));
    tokio::time::sleep(1500 * MS).await;
    fake.exit("p000", 1, Duration::ZERO);
    fake.remove_pod("p001");
    let done = rig.sequence.current();
    rig.handles.looker.look(&uid("p000"));
    rig.handles.looker.look(&uid("p001"));
    let took = rig.until("the looks", |now| exited(now, "p000") && now.pod(&uid("p001")).is_none()).await;
    assert!(took < 100 * MS, "a list under way holds up no look: {took:?}");
    assert!(rig.snapshot().freshness(&uid("p000")) > done && rig.snapshot().freshness(&uid("p001")) > done);
    rig.events();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(rig.events(), []);
}
