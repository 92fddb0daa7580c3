//! Every mutating call under a lost reply and under a client that went away: the work is done once, and only once.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Code;

use super::*;
use crate::error::Error;
use crate::v1;

const MUTATING: [Call; 7] = [
    Call::RunPodSandbox,
    Call::CreateContainer,
    Call::StartContainer,
    Call::StopContainer,
    Call::RemoveContainer,
    Call::StopPodSandbox,
    Call::RemovePodSandbox,
];

/// A pod in a state in which the call has something to do, and whether it was done.
async fn stage(call: Call) -> (Pod, Option<Phase>) {
    let pod = Pod::created(Fake::default(), "web", &[]).await;
    if !matches!(call, Call::StartContainer | Call::CreateContainer | Call::RunPodSandbox) {
        pod.client.start_container(&pod.container).await.expect("start");
    }
    let before = pod.state();
    (pod, before)
}

async fn make(pod: &Pod, call: Call) -> Result<(), Error> {
    let grace = Duration::from_secs(5);
    match call {
        Call::RunPodSandbox => {
            let shape = PodShape { attempt: 1, ..pod.shape.clone() };
            pod.client.run_sandbox(sandbox_config(&shape), "").await.map(drop)
        }
        Call::CreateContainer => {
            let config = config(&pod.shape, "second", 0, &[]);
            pod.client.create_container(&pod.sandbox, config, sandbox_config(&pod.shape)).await.map(drop)
        }
        Call::StartContainer => pod.client.start_container(&pod.container).await,
        Call::StopContainer => pod.client.stop_container(&pod.container, grace).await,
        Call::RemoveContainer => pod.client.remove_container(&pod.container).await,
        Call::StopPodSandbox => pod.client.stop_sandbox(&pod.sandbox).await,
        _ => pod.client.remove_sandbox(&pod.sandbox).await,
    }
}

/// Everything that a call can change, in short.
fn shown(fake: &Fake) -> String {
    fake.look(|sandboxes, containers| {
        let sandboxes: Vec<_> = sandboxes.values().map(|s| s.state).collect();
        let containers: Vec<_> = containers.values().map(|c| (c.metadata().name, c.state())).collect();
        format!("{sandboxes:?} {containers:?}")
    })
}

#[tokio::test(start_paused = true)]
async fn b51_every_mutating_call_commits_though_its_answer_is_lost() {
    for call in MUTATING {
        let (clean, _) = stage(call).await;
        make(&clean, call).await.expect("without faults");
        let (pod, _) = stage(call).await;
        pod.fake.fault(FaultRule::on(call, FaultKind::CommitThenLose(Lose::Code(Code::Internal))).once());
        make(&pod, call).await.expect_err("the answer is lost");
        assert_eq!(shown(&pod.fake), shown(&clean.fake), "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_slow_call_does_not_undo_it() {
    for call in MUTATING {
        let (clean, _) = stage(call).await;
        make(&clean, call).await.expect("without faults");
        let (pod, before) = stage(call).await;
        pod.fake.fault(FaultRule::on(call, FaultKind::Delay(Duration::from_secs(60))).once());
        assert!(timeout(Duration::from_secs(1), make(&pod, call)).await.is_err(), "{call} was to be slow");
        assert_eq!(pod.state(), before, "{call} is not done yet");
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(shown(&pod.fake), shown(&clean.fake), "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_hung_call_leaves_nothing() {
    for call in MUTATING {
        let (pod, _) = stage(call).await;
        let before = shown(&pod.fake);
        let hang = pod.fake.fault(FaultRule::on(call, FaultKind::Hang).once());
        assert!(timeout(Duration::from_secs(100), make(&pod, call)).await.is_err(), "{call} was to hang");
        assert!(
            pod.fake.wait_until(Duration::from_secs(1), |fake| fake.in_flight() == 0).await,
            "{call} still hangs"
        );
        pod.fake.remove_fault(hang);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shown(&pod.fake), before, "{call}");
        make(&pod, call).await.unwrap_or_else(|error| panic!("{call} again: {error:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn b50_every_call_can_be_made_to_fail() {
    let fake = Fake::default();
    let mut runtime = v1::runtime_service_client::RuntimeServiceClient::new(fake.channel());
    let mut image = v1::image_service_client::ImageServiceClient::new(fake.channel());
    fake.fault(FaultRule::on_any(FaultKind::Error(Code::Aborted, "told to".into())));
    macro_rules! all_fail {
        ($client:ident: $($call:ident($request:ident)),+) => {
            $(let status = $client.$call(v1::$request::default()).await.map(drop).expect_err("told to fail");
            assert_eq!(status.code(), Code::Aborted, stringify!($call));)+
        };
    }
    all_fail!(runtime: version(VersionRequest), run_pod_sandbox(RunPodSandboxRequest), stop_pod_sandbox(StopPodSandboxRequest), remove_pod_sandbox(RemovePodSandboxRequest), pod_sandbox_status(PodSandboxStatusRequest), list_pod_sandbox(ListPodSandboxRequest), stream_pod_sandboxes(StreamPodSandboxesRequest), create_container(CreateContainerRequest), start_container(StartContainerRequest), stop_container(StopContainerRequest), remove_container(RemoveContainerRequest), list_containers(ListContainersRequest), stream_containers(StreamContainersRequest), container_status(ContainerStatusRequest), update_container_resources(UpdateContainerResourcesRequest), reopen_container_log(ReopenContainerLogRequest), exec_sync(ExecSyncRequest), exec(ExecRequest), attach(AttachRequest), port_forward(PortForwardRequest), container_stats(ContainerStatsRequest), list_container_stats(ListContainerStatsRequest), stream_container_stats(StreamContainerStatsRequest), pod_sandbox_stats(PodSandboxStatsRequest), list_pod_sandbox_stats(ListPodSandboxStatsRequest), stream_pod_sandbox_stats(StreamPodSandboxStatsRequest), update_runtime_config(UpdateRuntimeConfigRequest), status(StatusRequest), get_container_events(GetEventsRequest), runtime_config(RuntimeConfigRequest), update_pod_sandbox_resources(UpdatePodSandboxResourcesRequest));
    all_fail!(image: list_images(ListImagesRequest), stream_images(StreamImagesRequest), image_status(ImageStatusRequest), pull_image(PullImageRequest), remove_image(RemoveImageRequest), image_fs_info(ImageFsInfoRequest));
}
