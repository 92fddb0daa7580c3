//! What tests are told and can change from outside.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tonic::Code;

use super::*;
use crate::v1;

#[tokio::test(start_paused = true)]
async fn a_tap_is_told_of_each_moment_in_order() {
    let pod = Pod::running(&[]).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    pod.fake.set_tap(move |moment, record| lock::lock(&heard).push((record.call, moment)));
    pod.client.remove_container(&pod.container).await.expect("remove");
    pod.client.container_status(&pod.container).await.expect_err("it is gone");
    let (remove, status) = (Call::RemoveContainer, Call::ContainerStatus);
    let all = [
        (remove, Moment::Began),
        (remove, Moment::TookEffect),
        (remove, Moment::Ended),
        (status, Moment::Began),
        (status, Moment::Ended),
    ];
    assert_eq!(*lock::lock(&told), all);
    let calls = pod.fake.calls();
    let last = calls.last().expect("calls are logged");
    assert!(matches!(last.outcome, Outcome::Failed(Code::NotFound, _)), "{last:?}");
    assert_eq!(last.subject.container_id.as_deref(), Some(pod.container.as_str()));
    pod.fake.forget_calls();
    assert!(pod.fake.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn b70_a_clock_step_shows_in_what_is_stamped_later() {
    let pod = Pod::created(Fake::default(), "web", &[]).await;
    let created = pod.client.container_status(&pod.container).await.expect("status").created_at;
    assert_eq!(created, DEFAULT_WALL_BASE);
    let hour = 3_600_000_000_000;
    pod.fake.set_clock_skew(-hour);
    pod.client.start_container(&pod.container).await.expect("start");
    let status = pod.client.container_status(&pod.container).await.expect("status");
    assert_eq!((status.created_at, status.started_at), (created, Some(created - hour)));
}

#[tokio::test(start_paused = true)]
async fn a_pull_can_be_told_to_fail() {
    let fake = Fake::default();
    let image = v1::ImageSpec { image: "local/app:1".into(), ..Default::default() };
    let denied =
        PullScript { takes: Duration::from_secs(3), error: Some((Code::PermissionDenied, "denied".into())) };
    fake.script_pull(Select::any().image("local/app:1"), denied);
    let error = fake.client().pull_image(image.clone(), None, None).await.expect_err("told to fail");
    assert_eq!(error.status().map(tonic::Status::code), Some(Code::PermissionDenied));
    assert!(fake.client().image_status(image).await.expect("status").is_none());
}

#[tokio::test(start_paused = true)]
async fn ids_and_calls_are_the_same_in_every_run() {
    let run = || async {
        let pod = Pod::running(&["sh", "-c", "sleep 5; exit 1"]).await;
        pod.client.remove_sandbox(&pod.sandbox).await.expect("remove");
        let calls = pod.fake.calls().into_iter();
        calls.map(|record| (record.call, record.subject)).collect::<Vec<_>>()
    };
    assert_eq!(run().await, run().await);
}
