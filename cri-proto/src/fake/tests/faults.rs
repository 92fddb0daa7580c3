//! Each kind of fault, and that a client that goes away does not undo the work.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::Code;

use super::*;
use crate::v1;
use futures::StreamExt;

const LONG: Duration = Duration::from_secs(3600);

async fn ids(client: &Client) -> Vec<String> {
    client.list_containers(None).await.expect("list").items.iter().map(|c| c.id.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_error_stops_the_work_as_often_as_told() {
    let pod = Pod::running(&[]).await;
    let rule = FaultRule::on(Call::StopContainer, FaultKind::Error(Code::Internal, "boom".into()));
    let id = pod.fake.fault(rule.times(Times::Count(2)).of(Select::any().container("main")));
    for _ in 0..2 {
        pod.client.stop_container(&pod.container, LONG).await.expect_err("fault");
        assert!(matches!(pod.state(), Some(Phase::Running { .. })));
    }
    pod.client.stop_container(&pod.container, LONG).await.expect("used up");
    assert_eq!(pod.fake.fault_hits(id), 2);
    let other =
        FaultRule::on_any(FaultKind::Error(Code::Internal, "boom".into())).of(Select::any().uid("other"));
    pod.fake.fault(other);
    pod.client.container_status(&pod.container).await.expect("another pod's fault");
}

#[tokio::test(start_paused = true)]
async fn probability_is_drawn_from_its_seed() {
    let outcomes = |seed| async move {
        let fake = Fake::default();
        let client = fake.client();
        let kind = FaultKind::Error(Code::Unavailable, String::new());
        fake.fault(FaultRule::on(Call::Version, kind).times(Times::Probability { seed, p: 0.5 }));
        let mut failed = Vec::new();
        for _ in 0..64 {
            failed.push(client.version().await.is_err());
        }
        failed
    };
    let first = outcomes(7).await;
    assert_eq!(first, outcomes(7).await);
    let count = first.iter().filter(|failed| **failed).count();
    assert!((16..48).contains(&count), "{count} of 64");
}

#[tokio::test(start_paused = true)]
async fn a_delay_holds_the_name_and_commits_after_the_client_left() {
    let fake = Fake::default();
    let client = fake.client();
    let shape = PodShape::static_pod("web", "u1");
    fake.fault(FaultRule::on(Call::RunPodSandbox, FaultKind::Delay(Duration::from_secs(60))).once());
    let left = timeout(Duration::from_secs(1), client.run_sandbox(sandbox_config(&shape), "")).await;
    assert!(left.is_err(), "the call was to be slow");
    let again = client.run_sandbox(sandbox_config(&shape), "").await.expect_err("still being made");
    assert!(again.is_name_reserved(), "{again:?}");
    assert!(fake.snapshot().sandboxes.is_empty());
    assert!(fake.wait_until(LONG, |fake| fake.snapshot().sandboxes.len() == 1).await);
    let first = &fake.calls()[0];
    assert_eq!((first.call, &first.outcome), (Call::RunPodSandbox, &Outcome::Abandoned));
    assert!(first.took_effect.is_some_and(|at| at - first.began >= Duration::from_secs(60)));
    assert_eq!(first.subject.pod_uid.as_deref(), Some("u1"));
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_pending_until_it_is_removed() {
    let pod = Pod::running(&[]).await;
    let rule =
        FaultRule::on(Call::ContainerStatus, FaultKind::Hang).of(Select::any().id(pod.container.as_str()));
    let id = pod.fake.fault(rule);
    let transport = pod.fake.transport();
    let client = Client::with_transport(
        transport,
        crate::client::Deadlines { inspect: LONG * 24, ..Default::default() },
    );
    let mut hung = tokio_test_task(client, pod.container.clone());
    assert!(timeout(LONG, &mut hung).await.is_err(), "it was to hang");
    assert_eq!(pod.fake.in_flight(), 1);
    assert_eq!(pod.fake.remove_fault(id), 1);
    hung.await.expect("joins").expect("is served once the fault is gone");
    assert_eq!(pod.fake.in_flight(), 0);
}

#[expect(clippy::disallowed_methods, reason = "a test's own task")]
fn tokio_test_task(
    client: Client,
    id: ContainerId,
) -> tokio::task::JoinHandle<Result<crate::container::ContainerStatus, crate::error::Error>> {
    tokio::spawn(async move { client.container_status(&id).await })
}

#[tokio::test(start_paused = true)]
async fn b51_the_work_is_done_though_the_answer_is_lost() {
    for lose in [Lose::Code(Code::Unavailable), Lose::Hang] {
        let fake = Fake::default();
        fake.fault(FaultRule::on(Call::RunPodSandbox, FaultKind::CommitThenLose(lose)).once());
        let client = fake.client();
        let shape = PodShape::static_pod("web", "u1");
        client.run_sandbox(sandbox_config(&shape), "").await.expect_err("the answer is lost");
        let found = client.list_sandboxes(None).await.expect("list").items;
        assert_eq!(found.iter().map(|s| s.pod_uid.as_str()).collect::<Vec<_>>(), ["u1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn b57_lists_may_be_stale_partial_or_empty() {
    let pod = Pod::created(Fake::default(), "web", &[]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let start = pod.fake.fault(FaultRule::on(Call::ListContainers, FaultKind::FrozenList));
    pod.client.start_container(&pod.container).await.expect("start");
    let states = || async {
        let items = pod.client.list_containers(None).await.expect("list").items;
        items.iter().map(|container| container.state).collect::<Vec<_>>()
    };
    use crate::container::ContainerState::{Created, Running};
    assert_eq!(states().await, [Created]);
    pod.fake.remove_fault(start);
    assert_eq!(states().await, [Running]);
    let db = Pod::created(pod.fake.clone(), "db", &[]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    pod.client.remove_sandbox(&db.sandbox).await.expect("remove");
    let lists = |kind| pod.fake.fault(FaultRule::on(Call::ListContainers, kind).once());
    lists(FaultKind::StaleList(Duration::from_secs(5)));
    let mut both = vec![pod.container.to_string(), db.container.to_string()];
    both.sort();
    assert_eq!(ids(&pod.client).await, both, "what was removed is still shown");
    lists(FaultKind::StaleList(Duration::from_secs(30)));
    assert_eq!(states().await, [Created], "what was made since is not shown");
    lists(FaultKind::PartialList(vec![pod.container.to_string()]));
    assert!(ids(&pod.client).await.is_empty());
    lists(FaultKind::EmptyList);
    assert!(ids(&pod.client).await.is_empty());
    assert_eq!(ids(&pod.client).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a71_lists_may_be_as_long_as_the_limit_and_longer() {
    let pod = Pod::running(&[]).await;
    for (bytes, passes) in [(4_300_000, true), (15_900_000, true), (17_000_000, false)] {
        pod.fake.fault(FaultRule::on(Call::ListContainers, FaultKind::OversizedList(bytes)).once());
        let answer = pod.client.list_containers(None).await;
        assert_eq!(answer.is_ok(), passes, "{bytes}");
        assert!(answer.is_ok() || answer.is_err_and(|error| error.is_exhausted()));
    }
}

#[tokio::test(start_paused = true)]
async fn a70_garbage_is_well_formed_protobuf_that_is_wrong() {
    let pod = Pod::running(&[]).await;
    let raw = || v1::runtime_service_client::RuntimeServiceClient::new(pod.fake.channel());
    for (garbage, wrong) in [
        (Garbage::EmptyId, (|c| c.id.is_empty()) as fn(&v1::Container) -> bool),
        (Garbage::NoMetadata, |c| c.metadata.is_none()),
        (Garbage::State(99), |c| c.state == 99),
        (Garbage::Times(i64::MIN), |c| c.created_at == i64::MIN),
        (Garbage::LabelValues, |c| c.annotations.values().any(|value| value == "{not json")),
        (Garbage::PodUid("../../x".into()), |c| c.labels.values().any(|value| value == "../../x")),
        (Garbage::UnknownSandbox, |c| c.pod_sandbox_id.starts_with("000000")),
        (Garbage::Nothing, |c| *c == v1::Container::default()),
    ] {
        pod.fake.fault(FaultRule::on(Call::ListContainers, FaultKind::GarbageRecord(garbage.clone())).once());
        let items = raw()
            .list_containers(v1::ListContainersRequest::default())
            .await
            .expect("list")
            .into_inner()
            .containers;
        assert_eq!(items.len(), 2);
        assert!(wrong(&items[1]) && !wrong(&items[0]), "{garbage:?}: {items:?}");
    }
    let rule = |garbage| FaultRule::on(Call::ListContainers, FaultKind::GarbageRecord(garbage)).once();
    pod.fake.fault(rule(Garbage::Many(1_000)));
    assert_eq!(ids(&pod.client).await.len(), 1_001);
    pod.fake.fault(rule(Garbage::DuplicateId));
    let twice = raw()
        .list_containers(v1::ListContainersRequest::default())
        .await
        .expect("list")
        .into_inner()
        .containers;
    assert_eq!(twice[0].id, twice[1].id);
    pod.fake.fault(
        FaultRule::on(Call::ContainerStatus, FaultKind::GarbageRecord(Garbage::ExitCode(i32::MIN))).once(),
    );
    let request = v1::ContainerStatusRequest { container_id: pod.container.to_string(), verbose: false };
    let status = raw().container_status(request).await.expect("status").into_inner().status.expect("status");
    assert_eq!(status.exit_code, i32::MIN);
}

#[tokio::test(start_paused = true)]
async fn events_may_be_dropped_for_one_pod() {
    let fake = Fake::default();
    let mut events = fake.client().events().await.expect("events");
    fake.fault(FaultRule::on_any(FaultKind::DropEvents).of(Select::any().pod("web")));
    Pod::created(fake.clone(), "web", &[]).await;
    let db = Pod::created(fake.clone(), "db", &[]).await;
    let first = events.next().await.expect("stream goes on").expect("event");
    assert_eq!(first.container_id, db.sandbox.as_str());
}

#[tokio::test(start_paused = true)]
async fn creation_times_may_lie() {
    let pod = Pod::running(&[]).await;
    let honest = pod.client.container_status(&pod.container).await.expect("status").created_at;
    let hour = 3_600_000_000_000;
    pod.fake.fault(FaultRule::on_any(FaultKind::LieCreatedAt(-hour)).of(Select::any().container("main")));
    assert_eq!(pod.client.container_status(&pod.container).await.expect("status").created_at, honest - hour);
    assert_eq!(pod.client.list_containers(None).await.expect("list").items[0].created_at, honest - hour);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_is_down_is_unavailable_and_comes_back() {
    let pod = Pod::running(&[]).await;
    pod.fake.set_down(true);
    let error = pod.client.version().await.expect_err("down");
    assert!(error.is_unavailable(), "{error:?}");
    pod.fake.set_down(false);
    pod.client.version().await.expect("back");
    assert!(matches!(pod.state(), Some(Phase::Running { .. })), "pods live on");
}

#[tokio::test(start_paused = true)]
async fn virtual_time_does_not_pass_by_itself() {
    let before = Instant::now();
    let pod = Pod::running(&[]).await;
    ids(&pod.client).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a70_events_may_carry_garbage() {
    let fake = Fake::default();
    fake.fault(FaultRule::on(Call::GetContainerEvents, FaultKind::GarbageRecord(Garbage::NoMetadata)));
    let mut events = fake.client().events().await.expect("events");
    Pod::created(fake.clone(), "web", &[]).await;
    let first = events.next().await.expect("stream goes on").expect("event");
    assert!(first.pod_sandbox_status.is_some_and(|status| status.metadata.is_none()));
}
