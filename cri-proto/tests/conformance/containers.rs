//! Containers: create, start, exit, stop, remove, list.

use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::container::ContainerState;
use pinnace_cri::id::ContainerId;
use pinnace_cri::labels;
use pinnace_cri::v1::{ContainerFilter, ContainerState as Wire, ContainerStateValue};
use tokio::time::Instant;

use crate::bench::{Bench, Failure, IGNORES, Outcome, TRAPS, check};

pub(crate) async fn a_container_goes_one_way_through_its_states(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.create(&pod, "main", &IGNORES).await?;
    let status = bench.client.container_status(&container).await?;
    check!(status.state == ContainerState::Created && status.started_at.is_none(), "{status:?}");
    bench.client.start_container(&container).await?;
    let status = bench.client.container_status(&container).await?;
    check!(status.state == ContainerState::Running && status.started_at.is_some(), "{status:?}");
    check!(status.finished_at.is_none() && status.name == "main", "{status:?}");
    bench.client.stop_container(&container, Duration::ZERO).await?;
    let status = bench.client.container_status(&container).await?;
    check!(status.state == ContainerState::Exited && status.exit_code == 137, "{status:?}");
    Ok(())
}

pub(crate) async fn exit_codes_and_times_are_kept(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    for (name, script, code, reason) in [
        ("good", "sleep 1; exit 0", 0, "Completed"),
        ("bad", "exit 3", 3, "Error"),
        ("high", "exit 255", 255, "Error"),
    ] {
        let container = bench.start(&pod, name, &["sh", "-c", script]).await?;
        let status = bench.exited(&container).await?;
        check!(status.exit_code == code && status.reason == reason, "{status:?}");
        let (Some(started), Some(finished)) = (status.started_at, status.finished_at) else {
            return Err(Failure(format!("times are missing: {status:?}")));
        };
        check!(status.created_at <= started, "{status:?}");
        // containerd stamps the start when it hears of it, which may be after a quick end.
        check!(started - finished < 1_000_000_000, "{status:?}");
        check!(name != "good" || finished - started >= 900_000_000, "{status:?}");
    }
    Ok(())
}

async fn listed(bench: &Bench, filter: ContainerFilter) -> Result<Vec<ContainerId>, Failure> {
    let items = bench.client.list_containers(Some(filter)).await?.items;
    Ok(items.into_iter().map(|container| container.id).collect())
}

pub(crate) async fn container_lists_are_filtered(bench: Arc<Bench>) -> Outcome {
    let (pod, other) = (bench.pod().await?, bench.pod().await?);
    let running = bench.start(&pod, "running", &IGNORES).await?;
    let created = bench.create(&pod, "created", &IGNORES).await?;
    bench.create(&other, "other", &IGNORES).await?;
    let default = ContainerFilter::default;
    let mine = ContainerFilter { pod_sandbox_id: pod.sandbox.to_string(), ..default() };
    let mut both = vec![running.clone(), created.clone()];
    both.sort();

    let mut found = listed(&bench, mine.clone()).await?;
    found.sort();
    check!(found == both, "{found:?}");
    let state = Some(ContainerStateValue { state: Wire::ContainerCreated.into() });
    let found = listed(&bench, ContainerFilter { state, ..mine.clone() }).await?;
    check!(found == [created.clone()], "{found:?}");
    let found = listed(&bench, ContainerFilter { id: running.to_string(), ..default() }).await?;
    check!(found == [running.clone()], "{found:?}");
    let name = [
        (labels::POD_UID.to_owned(), pod.shape.uid.clone()),
        (labels::CONTAINER_NAME.to_owned(), "running".to_owned()),
    ];
    let found = listed(&bench, ContainerFilter { label_selector: name.into(), ..default() }).await?;
    check!(found == [running.clone()], "{found:?}");
    let none =
        ContainerFilter { id: running.to_string(), pod_sandbox_id: other.sandbox.to_string(), ..default() };
    let found = listed(&bench, none).await?;
    check!(found.is_empty(), "{found:?}");
    Ok(())
}

pub(crate) async fn stop_lets_the_process_end_by_itself(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &TRAPS).await?;
    // A real shell needs a moment until its trap is set.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    bench.client.stop_container(&container, Duration::from_secs(20)).await?;
    check!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let status = bench.client.container_status(&container).await?;
    check!(status.state == ContainerState::Exited && status.exit_code == 7, "{status:?}");
    bench.client.stop_container(&container, Duration::from_secs(20)).await?;
    Ok(())
}

pub(crate) async fn stop_kills_after_the_grace(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &IGNORES).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    bench.client.stop_container(&container, Duration::from_secs(2)).await?;
    let took = began.elapsed();
    check!(took >= Duration::from_millis(1_900) && took < Duration::from_secs(10), "{took:?}");
    let status = bench.client.container_status(&container).await?;
    check!(status.state == ContainerState::Exited && status.exit_code == 137, "{status:?}");
    Ok(())
}

pub(crate) async fn containers_are_removed_in_every_state(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let created = bench.create(&pod, "created", &IGNORES).await?;
    let running = bench.start(&pod, "running", &IGNORES).await?;
    let exited = bench.start(&pod, "exited", &["sh", "-c", "exit 0"]).await?;
    bench.exited(&exited).await?;
    for container in [created, running, exited] {
        for _ in 0..2 {
            bench.client.remove_container(&container).await?;
        }
        let gone = bench.client.container_status(&container).await;
        check!(gone.as_ref().is_err_and(|error| error.is_not_found()), "{gone:?}");
    }
    Ok(())
}

pub(crate) async fn only_a_container_that_was_never_started_is_started(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &TRAPS).await?;
    let again = bench.client.start_container(&container).await;
    check!(again.as_ref().is_err_and(|error| !error.is_not_found()), "{again:?}");
    bench.client.stop_container(&container, Duration::ZERO).await?;
    let again = bench.client.start_container(&container).await;
    check!(again.as_ref().is_err_and(|error| !error.is_not_found()), "{again:?}");
    let status = bench.client.container_status(&container).await?;
    check!(status.state == ContainerState::Exited, "{status:?}");
    Ok(())
}

pub(crate) async fn a_container_that_cannot_start_exits_with_128(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let created = bench.create(&pod, "main", &IGNORES).await?;
    bench.client.stop_container(&created, Duration::from_secs(1)).await?;
    let status = bench.client.container_status(&created).await?;
    check!(status.state == ContainerState::Created, "a stop does nothing before the start: {status:?}");
    bench.client.stop_sandbox(&pod.sandbox).await?;
    let started = bench.client.start_container(&created).await;
    check!(started.is_err(), "started in a sandbox that was stopped");
    let status = bench.client.container_status(&created).await?;
    check!(status.state == ContainerState::Exited && status.exit_code == 128, "{status:?}");
    check!(status.reason == "StartError" && status.started_at.is_none(), "{status:?}");
    let more = bench.create(&pod, "more", &IGNORES).await;
    check!(more.is_err(), "created in a sandbox that was stopped");
    Ok(())
}
