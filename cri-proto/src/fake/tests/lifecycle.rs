//! States, idempotence, names, processes, restarts of the runtime.

use std::time::Duration;

use super::*;
use crate::v1::{ContainerEventType, PodSandboxState};
use futures::StreamExt;

const GRACE: Duration = Duration::from_secs(30);

fn ended(phase: Option<Phase>) -> (i32, String, Duration) {
    match phase {
        Some(Phase::Exited { started_at, finished_at, ending }) => {
            let ran = u64::try_from(finished_at - started_at).expect("ends after it starts");
            (ending.code, ending.reason, Duration::from_nanos(ran))
        }
        other => panic!("not exited: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_runs_and_its_end_is_seen_in_virtual_time() {
    let pod = Pod::running(&["sh", "-c", "echo hello; sleep 100; exit 3"]).await;
    let status = pod.client.container_status(&pod.container).await.expect("status");
    assert_eq!(status.state, crate::container::ContainerState::Running);
    assert!(pod.fake.wait_until(Duration::from_secs(200), |fake| fake.snapshot().running().is_empty()).await);
    assert_eq!(ended(pod.state()), (3, "Error".to_owned(), Duration::from_secs(100)));
    let snapshot = pod.fake.snapshot();
    assert_eq!(snapshot.containers[pod.container.as_str()].output[0].text, "hello\n");
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_the_process_and_kills_after_the_grace() {
    let grace = Duration::from_secs(7);
    for (on_term, code, takes) in [
        (OnTerm::Exit { code: 0, after: Duration::from_secs(2) }, 0, Duration::from_secs(2)),
        (OnTerm::Exit { code: 0, after: GRACE }, 137, grace),
        (OnTerm::Ignore, 137, grace),
    ] {
        let pod = Pod::created(Fake::default(), "web", &[]).await;
        pod.fake.script(Select::any().container("main"), Script::forever().on_term(on_term.clone()));
        pod.client.start_container(&pod.container).await.expect("start");
        pod.client.stop_container(&pod.container, grace).await.expect("stop");
        let (seen, _, ran) = ended(pod.state());
        assert_eq!((seen, ran), (code, takes), "{on_term:?}");
        pod.client.stop_container(&pod.container, grace).await.expect("a second stop");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_not_found_but_stops_and_removes_well() {
    let pod = Pod::running(&["sleep", "infinity"]).await;
    for _ in 0..2 {
        pod.client.stop_sandbox(&pod.sandbox).await.expect("stop sandbox");
    }
    assert_eq!(ended(pod.state()).0, 137);
    for _ in 0..2 {
        pod.client.remove_sandbox(&pod.sandbox).await.expect("remove sandbox");
    }
    let snapshot = pod.fake.snapshot();
    assert!(snapshot.sandboxes.is_empty() && snapshot.containers.is_empty());
    assert_eq!(pod.fake.addresses_in_use(), 0);
    pod.client.stop_container(&pod.container, GRACE).await.expect("stop what is gone");
    pod.client.remove_container(&pod.container).await.expect("remove what is gone");
    let errors = [
        pod.client.container_status(&pod.container).await.map(drop).expect_err("status of what is gone"),
        pod.client.start_container(&pod.container).await.expect_err("start of what is gone"),
        pod.client.sandbox_status(&pod.sandbox).await.map(drop).expect_err("sandbox that is gone"),
        pod.client.exec_sync(&pod.container, vec!["true".into()], GRACE).await.map(drop).expect_err("exec"),
    ];
    for error in errors {
        assert!(error.is_not_found(), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_reserved_until_removal() {
    let pod = Pod::running(&[]).await;
    let again = pod.client.run_sandbox(sandbox_config(&pod.shape), "").await.expect_err("name is taken");
    assert!(again.is_name_reserved() && again.reserved_for() == Some(pod.sandbox.as_str()), "{again:?}");
    let twin = || {
        pod.client.create_container(
            &pod.sandbox,
            config(&pod.shape, "main", 0, &[]),
            sandbox_config(&pod.shape),
        )
    };
    let again = twin().await.expect_err("name is taken");
    assert_eq!(again.reserved_for(), Some(pod.container.as_str()), "{again:?}");
    pod.client.remove_container(&pod.container).await.expect("remove");
    assert_ne!(twin().await.expect("the name is free again"), pod.container);
    pod.client.remove_sandbox(&pod.sandbox).await.expect("remove");
    pod.client.run_sandbox(sandbox_config(&pod.shape), "unheard-of").await.expect_err("no such handler");
    pod.client.run_sandbox(sandbox_config(&pod.shape), "").await.expect("the name is free again");
}

#[tokio::test(start_paused = true)]
async fn a_start_error_is_an_exit_with_128() {
    let pod = Pod::created(Fake::default(), "web", &[]).await;
    pod.fake.script(Select::any().pod("web").attempt(0), Script::fails_to_start("no such file"));
    pod.client.start_container(&pod.container).await.expect_err("start fails");
    let (code, reason, _) = match pod.state() {
        Some(Phase::Exited { ending, started_at, .. }) => (ending.code, ending.reason, started_at),
        other => panic!("{other:?}"),
    };
    assert_eq!((code, reason.as_str()), (128, "StartError"));
}

#[tokio::test(start_paused = true)]
async fn exec_has_output_code_and_timeout() {
    let pod = Pod::running(&[]).await;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let answer = pod.client.exec_sync(&pod.container, words("echo -n hi"), GRACE).await.expect("echo");
    assert_eq!((answer.stdout.as_slice(), answer.exit_code), (&b"hi"[..], 0));
    let line = vec!["sh".into(), "-c".into(), "echo out; echo err >&2; exit 4".into()];
    let answer = pod.client.exec_sync(&pod.container, line, GRACE).await.expect("sh");
    assert_eq!(
        (answer.stdout.as_slice(), answer.stderr.as_slice(), answer.exit_code),
        (&b"out\n"[..], &b"err\n"[..], 4)
    );
    let slow = pod.client.exec_sync(&pod.container, words("sleep 60"), Duration::from_secs(2)).await;
    assert!(slow.as_ref().is_err_and(crate::error::Error::is_timeout), "{slow:?}");
    pod.client.exec_sync(&pod.container, words("nosuch"), GRACE).await.expect_err("not in the image");
    pod.fake.script_exec(Select::any().container("main"), ExecScript { exit_code: 9, ..Default::default() });
    assert_eq!(
        pod.client.exec_sync(&pod.container, words("nosuch"), GRACE).await.expect("scripted").exit_code,
        9
    );
}

#[tokio::test(start_paused = true)]
async fn what_befalls_a_pod_from_outside_is_seen() {
    let pod = Pod::running(&[]).await;
    pod.fake.oom(pod.container.as_str());
    assert_eq!(ended(pod.state()).1, "OOMKilled");
    let other = Pod::created(pod.fake.clone(), "db", &[]).await;
    other.client.start_container(&other.container).await.expect("start");
    other.fake.kill_sandbox(other.sandbox.as_str());
    let snapshot = pod.fake.snapshot();
    assert_eq!(snapshot.sandboxes[other.sandbox.as_str()].state, PodSandboxState::SandboxNotready);
    assert_eq!(ended(other.state()).0, 137);
    pod.fake.forget_container(pod.container.as_str());
    assert!(pod.client.container_status(&pod.container).await.expect_err("forgotten").is_not_found());
    pod.fake.restart_with_amnesia();
    // The client's end of the connection notices the break.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(pod.client.list_sandboxes(None).await.expect("reconnects").items.is_empty());
    assert_eq!(pod.fake.addresses_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn events_tell_each_step_with_the_state_of_the_pod() {
    let fake = Fake::default();
    let mut events = fake.client().events().await.expect("events");
    let pod = Pod::created(fake.clone(), "web", &["sh", "-c", "exit 5"]).await;
    pod.client.start_container(&pod.container).await.expect("start");
    assert!(fake.wait_until(GRACE, |fake| fake.snapshot().running().is_empty()).await);
    pod.client.remove_sandbox(&pod.sandbox).await.expect("remove");
    let mut seen = Vec::new();
    while seen.len() < 8 {
        let event = events.next().await.expect("stream goes on").expect("event");
        let of_sandbox = event.container_id == pod.sandbox.as_str();
        let codes: Vec<_> = event.containers_statuses.iter().map(|status| status.exit_code).collect();
        seen.push((of_sandbox, event.container_event_type(), codes));
    }
    use ContainerEventType::*;
    let expected = [
        (true, ContainerCreatedEvent, vec![]),
        (true, ContainerStartedEvent, vec![]),
        (false, ContainerCreatedEvent, vec![0]),
        (false, ContainerStartedEvent, vec![0]),
        (false, ContainerStoppedEvent, vec![5]),
        (true, ContainerStoppedEvent, vec![5]),
        (false, ContainerDeletedEvent, vec![]),
        (true, ContainerDeletedEvent, vec![]),
    ];
    assert_eq!(seen, expected);
    fake.configure(|switches| switches.events = false);
    fake.cut_events();
    assert!(events.next().await.is_none_or(|end| end.is_err()));
    assert!(fake.client().events().await.err().expect("switched off").is_unimplemented());
}

#[tokio::test(start_paused = true)]
async fn containerds_own_events_name_containers_and_nothing_else() {
    let fake = Fake::default();
    assert!(fake.client().task_events().await.err().expect("switched off").is_unimplemented());
    fake.configure(|switches| (switches.events, switches.task_events) = (false, true));
    let mut events = fake.client().task_events().await.expect("events");
    let pod = Pod::created(fake.clone(), "web", &["sh", "-c", "exit 5"]).await;
    pod.client.start_container(&pod.container).await.expect("start");
    assert!(fake.wait_until(GRACE, |fake| fake.snapshot().running().is_empty()).await);
    pod.client.remove_sandbox(&pod.sandbox).await.expect("remove");
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = events.next().await.expect("stream goes on").expect("event");
        seen.push((event.id.to_string(), event.exit));
    }
    let (sandbox, container) = (pod.sandbox.to_string(), pod.container.to_string());
    let expected = [(sandbox.clone(), false), (container.clone(), false), (container, true), (sandbox, true)];
    assert_eq!(seen, expected);
    fake.cut_events();
    assert!(events.next().await.is_none_or(|end| end.is_err()));
}

#[tokio::test(start_paused = true)]
async fn what_was_seeded_looks_like_what_a_kubelet_left() {
    let fake = Fake::default();
    let shape = PodShape::static_pod("web", "0123456789abcdef0123456789abcdef");
    let hour = Duration::from_secs(3600);
    let sandbox = fake.seed_sandbox(sandbox_config(&shape), hour);
    let dead = SeedPhase::Exited(Ending::code(1));
    let seed =
        |attempt, phase| fake.seed_container(&sandbox, config(&shape, "main", attempt, &[]), phase, hour);
    seed(0, dead).expect("sandbox is there");
    let running = seed(1, SeedPhase::Running).expect("sandbox is there");
    let listed = fake.client().list_containers(None).await.expect("list");
    assert_eq!((listed.items.len(), listed.skipped), (2, Default::default()));
    let states: Vec<_> = fake
        .snapshot()
        .containers_of(&shape.uid)
        .iter()
        .map(|c| (c.metadata().attempt, c.exit_code()))
        .collect();
    assert_eq!(states, [(0, Some(1)), (1, None)]);
    let id = ContainerId::new(&running).expect("id");
    fake.client().stop_container(&id, GRACE).await.expect("a seeded process can be stopped");
    assert_eq!(fake.snapshot().containers[&running].exit_code(), Some(143));
}

#[tokio::test(start_paused = true)]
async fn an_exit_may_be_shown_late() {
    let shown = Duration::from_millis(50);
    let fake = Fake::new(Options { exit_visible_after: shown, ..Options::default() });
    let pod = Pod::created(fake, "web", &[]).await;
    pod.client.start_container(&pod.container).await.expect("start");
    tokio::time::sleep(Duration::from_secs(1)).await;
    pod.fake.exit_now(pod.container.as_str(), 3);
    assert!(matches!(pod.state(), Some(Phase::Running { .. })));
    tokio::time::sleep(Duration::from_millis(52)).await;
    assert_eq!(ended(pod.state()), (3, "Error".to_owned(), Duration::from_secs(1)));
}
