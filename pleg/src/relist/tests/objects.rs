//! Event streams that name containers and sandboxes without their pods, as containerd's own does.

use super::*;

#[tokio::test(start_paused = true)]
async fn exits_named_by_their_container_alone_are_detected_within_50_ms() {
    let (fake, pods) = fleet(100, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 100).await;
    let mut took = Vec::new();
    for (number, pod) in pods.iter().enumerate() {
        let shown_after = Duration::from_millis(number as u64 % 51);
        fake.exit(pod, 7, shown_after);
        fake.hint_object(&format!("{pod}-c0"), true);
        let seen = rig.until("an exit", |snapshot| exited(snapshot, pod)).await;
        took.push(seen.saturating_sub(shown_after));
        tokio::time::sleep(333 * MS).await;
    }
    assert!(p99(took.clone()) <= 50 * MS, "{took:?}");
    assert_eq!(rig.stream(), Stream::Trusted, "it announced each");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_is_named_by_its_own_container() {
    let (fake, _) = fleet(2, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 2).await;
    fake.put_sandbox(sandbox("p000", 0, SandboxState::NotReady));
    fake.hint_object("p000-s0", true);
    let down = |snapshot: &Snapshot| {
        snapshot.pod(&uid("p000")).is_some_and(|pod| pod.sandboxes[0].record.state == SandboxState::NotReady)
    };
    let took = rig.until("the sandbox is down", down).await;
    assert!(took <= 50 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_exit_announced_before_its_container_was_ever_listed_is_not_lost() {
    let (fake, _) = fleet(1, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 1).await;
    // Trusted, so that lists are 5 s apart.
    fake.exit("p000", 1, Duration::ZERO);
    fake.hint_object("p000-c0", true);
    rig.until("an exit", |snapshot| exited(snapshot, "p000")).await;
    fake.hint_object("short-c0", true);
    fake.hint_object("another-nodes-c0", true);
    tokio::time::sleep(5 * MS).await;
    fake.run_pod("short");
    fake.exit("short", 3, 30 * MS);
    rig.handles.looker.look(&uid("short"));
    let took = rig.until("its exit", |snapshot| exited(snapshot, "short")).await;
    assert!(took <= 100 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn objects_that_nobody_here_owns_cost_nothing() {
    let (fake, _) = fleet(3, true);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 3).await;
    let calls = || {
        let state = fake.state();
        (state.lists, state.looks + state.statuses)
    };
    let before = calls();
    for number in 0..1_000 {
        fake.hint_object(&format!("foreign{number}"), number % 2 == 0);
    }
    tokio::time::sleep(10 * SECOND).await;
    assert!(calls().0 - before.0 <= 11 && calls().1 == before.1, "{before:?} {:?}", calls());
}

#[tokio::test(start_paused = true)]
async fn a_runtime_replaced_by_one_with_events_is_noticed() {
    let (fake, _) = fleet(1, false);
    let mut rig = Rig::start(&fake);
    rig.until("all pods", |snapshot| snapshot.pods.len() == 1).await;
    tokio::time::sleep(300 * SECOND).await;
    assert_eq!(rig.stream(), Stream::Absent);
    fake.learn_events();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(rig.stream(), Stream::Untrusted, "open, and nothing proven yet");
}
