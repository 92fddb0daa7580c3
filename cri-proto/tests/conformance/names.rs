//! What does not exist, and names that are taken.

use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::{ContainerId, SandboxId};

use crate::bench::{Bench, Failure, IGNORES, Outcome, Pod, check};

fn absent() -> Result<(SandboxId, ContainerId), Failure> {
    let id = "ab".repeat(32);
    let bad = |error| Failure(format!("{error:?}"));
    Ok((SandboxId::new(&id).map_err(bad)?, ContainerId::new(&id).map_err(bad)?))
}

pub(crate) async fn what_does_not_exist_is_not_found(bench: Arc<Bench>) -> Outcome {
    let (sandbox, container) = absent()?;
    let (shape, config) = bench.shape();
    let pod = Pod { shape, config, sandbox };
    let client = &bench.client;
    for (call, answer) in [
        ("sandbox status", client.sandbox_status(&pod.sandbox).await.map(drop)),
        ("container status", client.container_status(&container).await.map(drop)),
        ("create", bench.create(&pod, "main", &IGNORES).await.map(drop)),
        ("start", client.start_container(&container).await),
        ("exec", client.exec_sync(&container, vec!["true".into()], Duration::from_secs(5)).await.map(drop)),
    ] {
        check!(answer.as_ref().is_err_and(|error| error.is_not_found()), "{call}: {answer:?}");
    }
    Ok(())
}

pub(crate) async fn what_does_not_exist_is_stopped_and_removed(bench: Arc<Bench>) -> Outcome {
    let (sandbox, container) = absent()?;
    bench.client.stop_container(&container, Duration::from_secs(1)).await?;
    bench.client.remove_container(&container).await?;
    bench.client.stop_sandbox(&sandbox).await?;
    bench.client.remove_sandbox(&sandbox).await?;
    Ok(())
}

pub(crate) async fn the_name_of_a_sandbox_is_reserved_until_its_removal(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let again = bench.run(pod.config.clone()).await;
    let holder = again.as_ref().err().and_then(|error| error.reserved_for());
    check!(holder == Some(pod.sandbox.as_str()), "{again:?}");
    bench.client.stop_sandbox(&pod.sandbox).await?;
    let again = bench.run(pod.config.clone()).await;
    check!(again.as_ref().is_err_and(|error| error.is_name_reserved()), "{again:?}");
    bench.client.remove_sandbox(&pod.sandbox).await?;
    let fresh = bench.run(pod.config.clone()).await?;
    check!(fresh != pod.sandbox, "{fresh:?}");
    Ok(())
}

pub(crate) async fn the_name_of_a_container_is_reserved_until_its_removal(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.create(&pod, "main", &IGNORES).await?;
    let again = bench.create(&pod, "main", &IGNORES).await;
    let holder = again.as_ref().err().and_then(|error| error.reserved_for());
    check!(holder == Some(container.as_str()), "{again:?}");
    bench.client.remove_container(&container).await?;
    let fresh = bench.create(&pod, "main", &IGNORES).await?;
    check!(fresh != container, "{fresh:?}");
    Ok(())
}
