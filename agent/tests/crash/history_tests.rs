//! The checker itself: what it must find, it finds.

use std::time::Duration;

use pinnace_cri::fake::{Fake, PodShape, container_config, sandbox_config};
use pinnace_cri::id::{ContainerId, SandboxId};

use super::history::History;
use super::rig::IMAGE;

/// A pod that runs in a runtime that the checker listens to.
struct Pod {
    fake: Fake,
    history: History,
    shape: PodShape,
    sandbox: SandboxId,
    container: ContainerId,
}

impl Pod {
    async fn running() -> Self {
        let (fake, history) = (Fake::default(), History::default());
        history.listen(&fake);
        history.want("web", Some("u1".to_owned()));
        let shape = PodShape::static_pod("web", "u1");
        let sandbox = fake.client().run_sandbox(sandbox_config(&shape), "").await.unwrap();
        let container = make(&fake, &shape, &sandbox, 0).await;
        Self { fake, history, shape, sandbox, container }
    }

    fn assert_broken(&self, invariant: &str) {
        let broken = self.history.broken();
        assert!(broken.iter().any(|what| what.starts_with(invariant)), "{invariant} is not in {broken:?}");
    }
}

async fn make(fake: &Fake, shape: &PodShape, sandbox: &SandboxId, attempt: u32) -> ContainerId {
    let config = container_config(shape, "main", IMAGE, attempt);
    let id = fake.client().create_container(sandbox, config, sandbox_config(shape)).await.unwrap();
    fake.client().start_container(&id).await.unwrap();
    id
}

#[tokio::test]
async fn an_ordinary_life_breaks_nothing() {
    let pod = Pod::running().await;
    pod.history.want("web", None);
    pod.fake.client().stop_container(&pod.container, Duration::from_secs(1)).await.unwrap();
    pod.fake.client().remove_container(&pod.container).await.unwrap();
    assert_eq!(pod.history.broken(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_of_a_wanted_container_is_found() {
    let pod = Pod::running().await;
    pod.fake.client().stop_container(&pod.container, Duration::from_secs(1)).await.unwrap();
    pod.assert_broken("I1");
}

#[tokio::test]
async fn a_stop_of_its_sandbox_is_found() {
    let pod = Pod::running().await;
    pod.fake.client().stop_sandbox(&pod.sandbox).await.unwrap();
    pod.assert_broken("I1");
}

#[tokio::test]
async fn an_attempt_that_is_used_again_is_found() {
    let pod = Pod::running().await;
    pod.fake.exit_now(pod.container.as_str(), 1);
    pod.fake.client().remove_container(&pod.container).await.unwrap();
    make(&pod.fake, &pod.shape, &pod.sandbox, 0).await;
    pod.assert_broken("I3");
}

#[tokio::test]
async fn a_second_running_instance_is_found() {
    let pod = Pod::running().await;
    make(&pod.fake, &pod.shape, &pod.sandbox, 1).await;
    pod.assert_broken("I4");
}

#[tokio::test]
async fn a_second_pod_of_the_name_is_found() {
    let pod = Pod::running().await;
    let other = PodShape::static_pod("web", "u2");
    pod.fake.client().run_sandbox(sandbox_config(&other), "").await.unwrap();
    pod.assert_broken("I4");
}
