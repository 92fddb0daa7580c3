//! Starting, waiting for readers, and ending.

use super::*;

#[tokio::test(start_paused = true)]
async fn shows_what_the_runtime_holds_with_statuses() {
    let (fake, _) = fleet(2, false);
    let mut rig = Rig::start(&fake);
    rig.until("both pods", |snapshot| snapshot.pods.len() == 2).await;
    let snapshot = rig.snapshot();
    let pod = snapshot.pod(&uid("p000")).unwrap();
    assert_eq!((pod.name.as_str(), pod.namespace.as_str()), ("p000", "default"));
    assert!(pod.newest_sandbox().unwrap().status.is_some() && pod.containers[0].status.is_some());
    assert_eq!(rig.events().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_full_event_channel_makes_relist_wait_and_loses_nothing() {
    let (fake, pods) = fleet(40, false);
    let mut rig = Rig::with(&fake, Config { event_capacity: 1, ..Config::default() });
    tokio::time::sleep(5 * SECOND).await;
    let waiting = fake.state().lists;
    pods.iter().for_each(|pod| fake.exit(pod, 9, Duration::ZERO));
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(fake.state().lists, waiting, "relist waits for its reader");
    assert!(rig.handles.health.borrow().undelivered_since.is_some());
    let (mut running, mut died) = (0, 0);
    while died < 40 {
        let event =
            tokio::time::timeout(10 * SECOND, rig.handles.events.recv()).await.expect("an event").unwrap();
        let seq = rig.snapshot().seq;
        assert!(seq >= event.seq, "the snapshot {seq} is behind event {}", event.seq);
        match event.change {
            Change::ContainerStarted { .. } => running += 1,
            Change::ContainerDied { exit_code: Some(9), .. } => died += 1,
            _ => {}
        }
    }
    assert!(running <= 40);
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_loop_even_while_the_event_channel_is_full() {
    let (fake, _) = fleet(40, false);
    let (relist, _hints, _handles) =
        new(Arc::clone(&fake), Config { event_capacity: 1, ..Config::default() }, Sequence::new());
    let stop = CancellationToken::new();
    let mut loops = JoinSet::new();
    loops.spawn(relist.run(stop.clone()));
    tokio::time::sleep(3 * SECOND).await;
    stop.cancel();
    tokio::time::timeout(SECOND, loops.join_next()).await.expect("the loop stops").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_when_nobody_reads_events() {
    let (fake, _) = fleet(1, false);
    let (relist, _hints, handles) = new(Arc::clone(&fake), Config::default(), Sequence::new());
    drop(handles);
    let mut loops = JoinSet::new();
    loops.spawn(relist.run(CancellationToken::new()));
    tokio::time::timeout(5 * SECOND, loops.join_next()).await.expect("the loop ends").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_exited_container_is_inspected_once_and_attempts_decide_what_is_newest() {
    let (fake, _) = fleet(1, false);
    fake.put_sandbox(sandbox("p000", 1, SandboxState::Ready));
    fake.put(container("p000", "c", 1, ContainerState::Running));
    fake.exit("p000", 4, Duration::ZERO);
    let mut rig = Rig::start(&fake);
    rig.until("the pod", |snapshot| snapshot.pods.len() == 1).await;
    let statuses = fake.state().statuses;
    assert_eq!(statuses, 3, "the newest sandbox and both containers");
    for _ in 0..5 {
        rig.handles.looker.look(&uid("p000"));
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(fake.state().statuses, statuses);
    let snapshot = rig.snapshot();
    let pod = snapshot.pod(&uid("p000")).unwrap();
    assert_eq!(pod.newest_sandbox().unwrap().record.attempt, 1);
    assert_eq!(pod.newest_container("c").unwrap().record.attempt, 1);
    assert_eq!(pod.containers[1].status.as_ref().unwrap().exit_code, 4);
}
