//! Lists, images, stats, switches.

use std::time::Duration;

use super::*;
use crate::v1;

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_by_id_state_sandbox_and_label() {
    let a = Pod::running(&[]).await;
    let b = Pod::created(a.fake.clone(), "db", &[]).await;
    let listed = |filter| {
        let client = a.client.clone();
        async move {
            let items = client.list_containers(Some(filter)).await.expect("list").items;
            items.into_iter().map(|container| container.id).collect::<Vec<_>>()
        }
    };
    let state = |state: v1::ContainerState| Some(v1::ContainerStateValue { state: state.into() });
    let default = v1::ContainerFilter::default;
    let running = v1::ContainerFilter { state: state(v1::ContainerState::ContainerRunning), ..default() };
    assert_eq!(listed(running).await, vec![a.container.clone()]);
    let in_b = v1::ContainerFilter { pod_sandbox_id: b.sandbox.to_string(), ..default() };
    assert_eq!(listed(in_b).await, vec![b.container.clone()]);
    let short = v1::ContainerFilter { id: b.container.as_str()[..12].to_owned(), ..default() };
    assert_eq!(listed(short).await, vec![b.container.clone()]);
    let label = [(crate::labels::POD_UID.to_owned(), a.shape.uid.clone())].into();
    assert_eq!(
        listed(v1::ContainerFilter { label_selector: label, ..default() }).await,
        vec![a.container.clone()]
    );
    a.client.stop_sandbox(&a.sandbox).await.expect("stop");
    let ready = v1::PodSandboxStateValue { state: v1::PodSandboxState::SandboxReady.into() };
    let filter = v1::PodSandboxFilter { state: Some(ready), ..Default::default() };
    let up = a.client.list_sandboxes(Some(filter)).await.expect("list").items;
    assert_eq!(up.into_iter().map(|sandbox| sandbox.id).collect::<Vec<_>>(), vec![b.sandbox.clone()]);
}

#[tokio::test(start_paused = true)]
async fn images_are_pulled_listed_and_removed() {
    let fake = Fake::default();
    let client = fake.client();
    let spec = |image: &str| v1::ImageSpec { image: image.to_owned(), ..Default::default() };
    assert_eq!(client.list_images(None).await.expect("list").items.len(), 2);
    assert!(client.image_status(spec("local/app:1")).await.expect("status").is_none());
    let slow = PullScript { takes: Duration::from_secs(600), error: None };
    fake.script_pull(Select::any().image("local/app:1"), slow);
    let before = tokio::time::Instant::now();
    let pulled = client.pull_image(spec("local/app:1"), None, None).await.expect("pull");
    assert!(before.elapsed() >= Duration::from_secs(600));
    let status = client.image_status(spec(&pulled)).await.expect("status").expect("is there by its id");
    assert_eq!(status.repo_tags, ["local/app:1"]);
    for _ in 0..2 {
        client.remove_image(spec("local/app:1")).await.expect("remove");
    }
    fake.configure(|switches| switches.pull_any_image = false);
    assert!(client.pull_image(spec("local/app:1"), None, None).await.expect_err("nowhere").is_not_found());
}

#[tokio::test(start_paused = true)]
async fn stats_follow_virtual_time() {
    let pod = Pod::running(&[]).await;
    pod.fake.set_usage(pod.container.as_str(), Usage { nano_cores: 500_000_000, ..Usage::default() });
    let used = || async {
        let stats = pod.client.container_stats(&pod.container).await.expect("stats").expect("runs");
        stats.cpu.and_then(|cpu| cpu.usage_core_nano_seconds).map_or(0, |value| value.value)
    };
    let before = used().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((5_000_000_000..5_100_000_000).contains(&(used().await - before)));
}

#[tokio::test(start_paused = true)]
async fn switches_change_what_is_offered() {
    let fake = Fake::default();
    let client = fake.client();
    client.runtime_config().await.expect("offered");
    fake.configure(|switches| {
        switches.cgroup_driver = None;
        switches.network_ready = false;
    });
    assert!(client.runtime_config().await.expect_err("switched off").is_unimplemented());
    let status = client.status(false).await.expect("status").status.expect("conditions");
    let ready: Vec<_> = status.conditions.iter().map(|c| (c.r#type.as_str(), c.status)).collect();
    assert_eq!(ready, [("RuntimeReady", true), ("NetworkReady", false)]);
}
