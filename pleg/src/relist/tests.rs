//! The loop against the runtime in memory, on a paused clock.

use pinnace_cri::container::ContainerState;
use tokio::task::JoinSet;

use super::*;
use crate::diff::Change;
use crate::fake::{Fake, ListFault, cid, container, sandbox, uid};
use crate::health::{RELIST_THRESHOLD, Stream, verdict};
use crate::seam::Listing;
use pinnace_cri::sandbox::SandboxState;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Both loops over one fake; they stop when this is dropped.
struct Rig {
    sequence: Sequence,
    handles: Handles,
    _loops: JoinSet<()>,
}

impl Rig {
    fn start(fake: &Arc<Fake>) -> Self {
        Self::with(fake, Config { event_capacity: 100_000, ..Config::default() })
    }

    fn with(fake: &Arc<Fake>, config: Config) -> Self {
        let sequence = Sequence::new();
        let (relist, hints, handles) = new(Arc::clone(fake), config, sequence.clone());
        let mut loops = JoinSet::new();
        loops.spawn(relist.run(CancellationToken::new()));
        loops.spawn(hints.run(CancellationToken::new()));
        Self { sequence, handles, _loops: loops }
    }

    /// Waits until the snapshot is as wanted; how long that took.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Duration {
        let start = Instant::now();
        let seen = self.handles.snapshots.wait_for(|snapshot| wanted(snapshot));
        tokio::time::timeout(60 * SECOND, seen).await.expect(what).expect("the loop ended");
        start.elapsed()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.handles.snapshots.borrow())
    }

    fn verdict(&self) -> Result<(), String> {
        verdict(&self.handles.health.borrow(), Instant::now())
    }

    fn stream(&self) -> Stream {
        self.handles.health.borrow().stream
    }

    fn events(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.handles.events.try_recv().ok()).map(|event| event.change).collect()
    }
}

fn state(snapshot: &Snapshot, pod: &str) -> Option<ContainerState> {
    Some(snapshot.pod(&uid(pod))?.newest_container("c")?.record.state)
}

fn exited(snapshot: &Snapshot, pod: &str) -> bool {
    state(snapshot, pod) == Some(ContainerState::Exited)
}

fn fleet(count: usize, has_events: bool) -> (Arc<Fake>, Vec<String>) {
    let fake = Fake::new(has_events);
    let pods: Vec<_> = (0..count).map(|number| format!("p{number:03}")).collect();
    pods.iter().for_each(|pod| fake.run_pod(pod));
    (fake, pods)
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[(took.len() * 99).div_ceil(100) - 1]
}

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
