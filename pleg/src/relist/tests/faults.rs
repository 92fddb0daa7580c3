//! Answers that hang, fail or make no sense.

use super::*;

#[tokio::test(start_paused = true)]
async fn b53_a_hung_status_is_named_within_15_s() {
    let (fake, _) = fleet(2, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 2).await;
    fake.state().hung.insert("p000-c0".to_owned());
    fake.exit("p000", 1, Duration::ZERO);
    let quarantined = |snapshot: &Snapshot| snapshot.pods[&uid("p000")].quarantine.is_some();
    assert!(rig.until("the quarantine", quarantined).await <= 15 * SECOND);
    assert!(rig.events().contains(&Change::PodUpdated), "a reader of events learns of it");
}

#[tokio::test(start_paused = true)]
async fn b53_forty_hung_pods_leave_slots_for_the_rest() {
    let (fake, pods) = fleet(50, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 50).await;
    for pod in &pods[..40] {
        fake.state().hung.insert(format!("{pod}-c0"));
        fake.exit(pod, 1, Duration::ZERO);
    }
    let quarantined = |now: &Snapshot| now.pods.values().filter(|pod| pod.quarantine.is_some()).count();
    assert!(rig.until("the quarantines", |now| quarantined(now) == 40).await <= 25 * SECOND);
    let mut took = Vec::new();
    for pod in &pods[40..] {
        fake.exit(pod, 1, Duration::ZERO);
        fake.hint(pod, true);
        took.push(rig.until("an exit", |snapshot| exited(snapshot, pod)).await);
        tokio::time::sleep(SECOND).await;
    }
    assert!(fake.state().most_in_flight <= 32);
    assert!(p99(took.clone()) <= 500 * MS, "{took:?}");
    assert_eq!(rig.verdict(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a70_doubled_ids_and_unknown_sandboxes_are_survived() {
    let (fake, _) = fleet(1, false);
    fake.put(container("stray", "c", 0, ContainerState::Running));
    let mut doubled = fake.truth();
    let mut second = (*doubled.containers[0]).clone();
    second.pod_uid = uid("other");
    doubled.containers.push(Arc::new(second));
    fake.state().list_faults.push_back(ListFault::Answer(doubled));
    let mut rig = Rig::start(&fake);
    rig.until("both pods", |snapshot| snapshot.pods.len() == 2).await;
    let snapshot = rig.snapshot();
    let stray = snapshot.pod(&uid("stray")).unwrap();
    assert!(stray.is_orphan(&stray.containers[0]) && stray.name == "stray");
    assert_eq!(rig.handles.health.borrow().oddities.duplicate, 1);
}

#[tokio::test(start_paused = true)]
async fn a71_a_failed_list_empties_nothing_and_is_said_after_3_min() {
    let (fake, _) = fleet(2, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 2).await;
    rig.events();
    fake.state().list_faults.extend((0..400).map(|_| ListFault::Fail));
    tokio::time::sleep(RELIST_THRESHOLD - 2 * SECOND).await;
    assert_eq!(rig.verdict(), Ok(()));
    tokio::time::sleep(4 * SECOND).await;
    let said = rig.verdict().unwrap_err();
    assert!(said.contains("the runtime is away"), "{said}");
    assert_eq!((rig.snapshot().pods.len(), rig.events()), (2, vec![]));
    fake.state().list_faults.clear();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(rig.verdict(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn b53_a_runtime_back_after_10_min_of_silence_is_seen_within_30_s() {
    let (fake, _) = fleet(2, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 2).await;
    fake.state().list_faults.extend((0..30).map(|_| ListFault::Hang));
    tokio::time::sleep(600 * SECOND).await;
    assert!(rig.verdict().is_err());
    fake.state().list_faults.clear();
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(rig.verdict(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn hung_looks_leave_the_lists_alone() {
    let (fake, pods) = fleet(60, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 60).await;
    fake.state().hang_looks = true;
    pods.iter().for_each(|pod| rig.handles.looker.look(&uid(pod)));
    fake.exit("p007", 1, Duration::ZERO);
    assert!(rig.until("an exit", |snapshot| exited(snapshot, "p007")).await <= 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn b53_with_everything_hung_calls_stay_bounded_and_the_node_recovers_within_30_s() {
    let (fake, pods) = fleet(60, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 60).await;
    fake.state().hang_looks = true;
    fake.state().list_faults.extend((0..30).map(|_| ListFault::Hang));
    for pod in &pods {
        fake.state().hung.insert(format!("{pod}-c0"));
        fake.exit(pod, 1, Duration::ZERO);
        fake.hint(pod, true);
    }
    tokio::time::sleep(RELIST_THRESHOLD).await;
    assert!(rig.verdict().is_err());
    tokio::time::sleep(420 * SECOND).await;
    fake.state().list_faults.clear();
    fake.state().hung.clear();
    fake.state().hang_looks = false;
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(rig.verdict(), Ok(()));
    rig.until("all exits", |now| pods.iter().all(|pod| exited(now, pod))).await;
    assert!(fake.state().most_in_flight <= 32);
}

#[tokio::test(start_paused = true)]
async fn a_first_list_without_content_is_no_empty_node() {
    let (fake, _) = fleet(1, false);
    fake.list().await.unwrap();
    let mut rig = Rig::start(&fake);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((rig.snapshot().listed, rig.events()), (0, vec![]));
    assert!(rig.handles.health.borrow().last_error.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cut_stream_is_opened_again() {
    let (fake, _) = fleet(1, true);
    let mut rig = Rig::start(&fake);
    rig.until("the pod", |snapshot| snapshot.pods.len() == 1).await;
    fake.cut_stream();
    tokio::time::sleep(SECOND).await;
    fake.exit("p000", 1, Duration::ZERO);
    fake.hint("p000", true);
    assert!(rig.until("the exit", |now| exited(now, "p000")).await <= 50 * MS);
}
