//! The event stream, where it is offered.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pinnace_cri::v1::ContainerEventType;

use crate::bench::{Bench, Failure, Outcome, check};

pub(crate) async fn each_step_of_a_container_is_an_event(bench: Arc<Bench>) -> Outcome {
    if !bench.target.has_events {
        println!("SKIPPED events: {} has no event stream", bench.target.name);
        return Ok(());
    }
    let mut events = bench.client.events().await?;
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &["sh", "-c", "exit 4"]).await?;
    bench.exited(&container).await?;
    bench.client.remove_container(&container).await?;
    let mut seen = Vec::new();
    while seen.last() != Some(&ContainerEventType::ContainerDeletedEvent) {
        let next = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
        let Ok(Some(event)) = next else {
            return Err(Failure(format!("the stream ended or fell silent after {seen:?}")));
        };
        let event = event?;
        if event.container_id == container.as_str() {
            seen.push(event.container_event_type());
            let sandbox = event.pod_sandbox_status.as_ref().map(|status| status.id.as_str());
            check!(sandbox == Some(pod.sandbox.as_str()), "{event:?}");
        }
    }
    use ContainerEventType::*;
    let all = [ContainerCreatedEvent, ContainerStartedEvent, ContainerStoppedEvent, ContainerDeletedEvent];
    check!(seen == all, "{seen:?}");
    Ok(())
}
