//! Tests of the fake itself, through the client, over in-memory streams, on a paused clock.

mod control;
mod faults;
mod lifecycle;
mod lists;
mod lost;
mod serving;

use super::*;
use crate::client::Client;
use crate::id::{ContainerId, SandboxId};

const IMAGE: &str = "pinnace.local/busybox:1.35";

/// A fake with one pod of one running container.
struct Pod {
    fake: Fake,
    client: Client,
    shape: PodShape,
    sandbox: SandboxId,
    container: ContainerId,
}

fn config(shape: &PodShape, name: &str, attempt: u32, command: &[&str]) -> crate::v1::ContainerConfig {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    crate::v1::ContainerConfig { command, ..container_config(shape, name, IMAGE, attempt) }
}

impl Pod {
    async fn running(command: &[&str]) -> Self {
        let pod = Self::created(Fake::default(), "web", command).await;
        pod.client.start_container(&pod.container).await.expect("start");
        pod
    }

    async fn created(fake: Fake, name: &str, command: &[&str]) -> Self {
        let client = fake.client();
        let shape = PodShape::static_pod(name, &format!("uid-{name}"));
        let sandbox = client.run_sandbox(sandbox_config(&shape), "").await.expect("run sandbox");
        let container = client
            .create_container(&sandbox, config(&shape, "main", 0, command), sandbox_config(&shape))
            .await
            .expect("create container");
        Self { fake, client, shape, sandbox, container }
    }

    fn state(&self) -> Option<Phase> {
        self.fake.snapshot().containers.get(self.container.as_str()).map(|container| container.phase.clone())
    }
}
