//! Sandboxes: run, stop, remove, list; what the runtime says of itself.

use std::sync::Arc;

use pinnace_cri::container::ContainerState;
use pinnace_cri::id::SandboxId;
use pinnace_cri::labels;
use pinnace_cri::sandbox::SandboxState;
use pinnace_cri::v1::{PodSandboxFilter, PodSandboxState, PodSandboxStateValue};

use crate::bench::{Bench, Failure, IGNORES, Outcome, check};

pub(crate) async fn a_sandbox_runs_is_stopped_twice_and_removed_twice(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let status = bench.client.sandbox_status(&pod.sandbox).await?;
    check!(status.state == SandboxState::Ready, "{status:?}");
    check!(!bench.target.has_network || status.ips.len() == 1, "{status:?}");
    for _ in 0..2 {
        bench.client.stop_sandbox(&pod.sandbox).await?;
    }
    let status = bench.client.sandbox_status(&pod.sandbox).await?;
    check!(status.state == SandboxState::NotReady, "{status:?}");
    for _ in 0..2 {
        bench.client.remove_sandbox(&pod.sandbox).await?;
    }
    let gone = bench.client.sandbox_status(&pod.sandbox).await;
    check!(gone.as_ref().is_err_and(|error| error.is_not_found()), "{gone:?}");
    Ok(())
}

async fn listed(bench: &Bench, filter: PodSandboxFilter) -> Result<Vec<SandboxId>, Failure> {
    let items = bench.client.list_sandboxes(Some(filter)).await?.items;
    Ok(items.into_iter().map(|sandbox| sandbox.id).collect())
}

pub(crate) async fn sandbox_lists_are_filtered(bench: Arc<Bench>) -> Outcome {
    let (up, down) = (bench.pod().await?, bench.pod().await?);
    bench.client.stop_sandbox(&down.sandbox).await?;
    let of = |id: &SandboxId| PodSandboxFilter { id: id.to_string(), ..Default::default() };
    let state = |state: PodSandboxState| Some(PodSandboxStateValue { state: state.into() });
    let only = |id: &SandboxId| vec![id.clone()];

    let found = listed(&bench, of(&up.sandbox)).await?;
    check!(found == only(&up.sandbox), "{found:?}");
    let found =
        listed(&bench, PodSandboxFilter { state: state(PodSandboxState::SandboxReady), ..of(&up.sandbox) })
            .await?;
    check!(found == only(&up.sandbox), "{found:?}");
    let found =
        listed(&bench, PodSandboxFilter { state: state(PodSandboxState::SandboxReady), ..of(&down.sandbox) })
            .await?;
    check!(found.is_empty(), "{found:?}");
    let label_selector = [(labels::POD_UID.to_owned(), down.shape.uid.clone())].into();
    let found = listed(&bench, PodSandboxFilter { label_selector, ..Default::default() }).await?;
    check!(found == only(&down.sandbox), "{found:?}");
    let all = bench.client.list_sandboxes(None).await?.items;
    let mine = all.iter().find(|sandbox| sandbox.id == up.sandbox);
    check!(
        mine.is_some_and(|s| s.pod_uid.as_str() == up.shape.uid && s.annotations == up.config.annotations),
        "{mine:?}"
    );
    Ok(())
}

pub(crate) async fn stopping_a_sandbox_kills_its_containers(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &IGNORES).await?;
    bench.client.stop_sandbox(&pod.sandbox).await?;
    let status = bench.exited(&container).await?;
    check!(status.exit_code == 137, "{status:?}");
    Ok(())
}

pub(crate) async fn removing_a_sandbox_removes_its_containers(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let created = bench.create(&pod, "created", &IGNORES).await?;
    let running = bench.start(&pod, "running", &IGNORES).await?;
    let status = bench.client.container_status(&running).await?;
    check!(status.state == ContainerState::Running, "{status:?}");
    bench.client.stop_sandbox(&pod.sandbox).await?;
    bench.client.remove_sandbox(&pod.sandbox).await?;
    for container in [created, running] {
        let gone = bench.client.container_status(&container).await;
        check!(gone.as_ref().is_err_and(|error| error.is_not_found()), "{gone:?}");
    }
    Ok(())
}

pub(crate) async fn the_runtime_tells_what_it_is(bench: Arc<Bench>) -> Outcome {
    let version = bench.client.version().await?;
    check!(version.runtime_api_version == "v1", "{version:?}");
    let conditions = bench.client.status(false).await?.status.unwrap_or_default().conditions;
    let ready = conditions.iter().find(|condition| condition.r#type == "RuntimeReady");
    check!(ready.is_some_and(|condition| condition.status), "{conditions:?}");
    check!(conditions.iter().any(|condition| condition.r#type == "NetworkReady"), "{conditions:?}");
    if bench.target.has_runtime_config {
        let answer = bench.client.runtime_config().await?;
        check!(answer.linux.is_some(), "{answer:?}");
    }
    Ok(())
}
