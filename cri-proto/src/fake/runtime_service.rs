//! The calls of the runtime service: each names itself and its subject, and leaves the rest to `carry`.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tonic::Request;
use tonic::codegen::BoxStream;

use super::lists::{pieces, unknown_method};
use super::lock::lock;
use super::select::Subject;
use super::services::{Answer, Services};
use crate::call::Call;
use crate::v1::runtime_service_server::RuntimeService;
use crate::v1::*;

fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

#[tonic::async_trait]
impl RuntimeService for Services {
    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        let options = self.0.inner.options.clone();
        let answer = VersionResponse {
            // The kubelet's side of the interface has been at 0.1.0 since its first version.
            version: "0.1.0".to_owned(),
            runtime_name: options.runtime_name,
            runtime_version: options.runtime_version,
            runtime_api_version: "v1".to_owned(),
        };
        self.plain(Call::Version).run(async { Ok(answer) }).await
    }

    async fn run_pod_sandbox(&self, request: Request<RunPodSandboxRequest>) -> Answer<RunPodSandboxResponse> {
        let request = request.into_inner();
        let config = request.config.unwrap_or_default();
        let subject = Subject::of_sandbox(None, &config);
        let call = self.0.begin(Call::RunPodSandbox, subject, request.runtime_handler.clone());
        let reserved = self.0.reserve_sandbox(&config, &request.runtime_handler);
        let fake = self.0.clone();
        call.run(async move {
            let id = fake.run_sandbox(reserved?, config, request.runtime_handler);
            Ok(RunPodSandboxResponse { pod_sandbox_id: id })
        })
        .await
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Answer<StopPodSandboxResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().pod_sandbox_id);
        let call = self.of(Call::StopPodSandbox, &id, String::new());
        call.run(async move {
            fake.stop_sandbox(&id).await;
            Ok(StopPodSandboxResponse {})
        })
        .await
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Answer<RemovePodSandboxResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().pod_sandbox_id);
        let call = self.of(Call::RemovePodSandbox, &id, String::new());
        call.run(async move {
            fake.remove_sandbox(&id).await;
            Ok(RemovePodSandboxResponse {})
        })
        .await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Answer<PodSandboxStatusResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.of(Call::PodSandboxStatus, &request.pod_sandbox_id, String::new());
        let distort = call.distort();
        call.run(async move { fake.sandbox_status_answer(&request, &distort) }).await
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Answer<ListPodSandboxResponse> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        let call = self.plain(Call::ListPodSandbox);
        let distort = call.distort();
        call.run(async move { fake.sandbox_list(filter.as_ref(), &distort) }).await
    }

    async fn stream_pod_sandboxes(
        &self,
        request: Request<StreamPodSandboxesRequest>,
    ) -> Answer<BoxStream<StreamPodSandboxesResponse>> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        let call = self.plain(Call::StreamPodSandboxes);
        let distort = call.distort();
        call.run(async move {
            fake.streams_lists()?;
            let records = fake.listed_sandboxes(filter.as_ref(), &distort);
            let parts = pieces(&records, |pod_sandboxes| StreamPodSandboxesResponse { pod_sandboxes });
            Ok(stream::iter(parts).boxed() as BoxStream<_>)
        })
        .await
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Answer<CreateContainerResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.0.begin(Call::CreateContainer, self.0.creation(&request), String::new());
        let reserved = self.0.reserve_container(&request);
        call.run(async move {
            let container_id = fake.create_container(reserved?, request)?;
            Ok(CreateContainerResponse { container_id })
        })
        .await
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Answer<StartContainerResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().container_id);
        let call = self.of(Call::StartContainer, &id, String::new());
        call.run(async move { fake.start(&id).await.map(|()| StartContainerResponse {}) }).await
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call =
            self.of(Call::StopContainer, &request.container_id, format!("grace {} s", request.timeout));
        call.run(async move {
            fake.stop_container(&request.container_id, seconds(request.timeout)).await;
            Ok(StopContainerResponse {})
        })
        .await
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Answer<RemoveContainerResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().container_id);
        let call = self.of(Call::RemoveContainer, &id, String::new());
        call.run(async move {
            fake.remove_container(&id).await;
            Ok(RemoveContainerResponse {})
        })
        .await
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Answer<ListContainersResponse> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        let call = self.plain(Call::ListContainers);
        let distort = call.distort();
        call.run(async move { fake.container_list(filter.as_ref(), &distort) }).await
    }

    async fn stream_containers(
        &self,
        request: Request<StreamContainersRequest>,
    ) -> Answer<BoxStream<StreamContainersResponse>> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        let call = self.plain(Call::StreamContainers);
        let distort = call.distort();
        call.run(async move {
            fake.streams_lists()?;
            let records = fake.listed_containers(filter.as_ref(), &distort);
            let parts = pieces(&records, |containers| StreamContainersResponse { containers });
            Ok(stream::iter(parts).boxed() as BoxStream<_>)
        })
        .await
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Answer<ContainerStatusResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.of(Call::ContainerStatus, &request.container_id, String::new());
        let distort = call.distort();
        call.run(async move { fake.container_status_answer(&request, &distort) }).await
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.of(Call::UpdateContainerResources, &request.container_id, String::new());
        call.run(async move {
            lock(&fake.inner.state).update_resources(&request.container_id, request.linux)?;
            Ok(UpdateContainerResourcesResponse {})
        })
        .await
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Answer<ReopenContainerLogResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().container_id);
        let call = self.of(Call::ReopenContainerLog, &id, String::new());
        call.run(async move { fake.reopen_log(&id).await.map(|()| ReopenContainerLogResponse {}) }).await
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.of(Call::ExecSync, &request.container_id, request.cmd.join(" "));
        call.run(async move { fake.exec_sync(request).await }).await
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Answer<ExecResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.of(Call::Exec, &request.container_id, request.cmd.join(" "));
        call.run(async move {
            lock(&fake.inner.state).running_container(&request.container_id)?;
            Ok(ExecResponse { url: fake.session("exec").await? })
        })
        .await
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Answer<AttachResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.of(Call::Attach, &request.container_id, String::new());
        call.run(async move {
            lock(&fake.inner.state).running_container(&request.container_id)?;
            Ok(AttachResponse { url: fake.session("attach").await? })
        })
        .await
    }

    async fn port_forward(&self, request: Request<PortForwardRequest>) -> Answer<PortForwardResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.of(Call::PortForward, &request.pod_sandbox_id, format!("{:?}", request.port));
        call.run(async move {
            lock(&fake.inner.state).ready_sandbox(&request.pod_sandbox_id)?;
            Ok(PortForwardResponse { url: fake.session("portforward").await? })
        })
        .await
    }

    async fn container_stats(
        &self,
        request: Request<ContainerStatsRequest>,
    ) -> Answer<ContainerStatsResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().container_id);
        let call = self.of(Call::ContainerStats, &id, String::new());
        call.run(async move { Ok(ContainerStatsResponse { stats: Some(fake.stats_of_container(&id)?) }) })
            .await
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Answer<ListContainerStatsResponse> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        let call = self.plain(Call::ListContainerStats);
        call.run(async move {
            Ok(ListContainerStatsResponse { stats: fake.stats_of_containers(filter.as_ref()) })
        })
        .await
    }

    async fn stream_container_stats(
        &self,
        request: Request<StreamContainerStatsRequest>,
    ) -> Answer<BoxStream<StreamContainerStatsResponse>> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        // The client does not name the streaming forms of these lists: they count as the lists that they stand for.
        let call = self.plain(Call::ListContainerStats);
        call.run(async move {
            fake.streams_lists()?;
            let records = fake.stats_of_containers(filter.as_ref());
            let parts = pieces(&records, |container_stats| StreamContainerStatsResponse { container_stats });
            Ok(stream::iter(parts).boxed() as BoxStream<_>)
        })
        .await
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<PodSandboxStatsRequest>,
    ) -> Answer<PodSandboxStatsResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().pod_sandbox_id);
        let call = self.of(Call::PodSandboxStats, &id, String::new());
        call.run(async move { Ok(PodSandboxStatsResponse { stats: Some(fake.stats_of_sandbox(&id)?) }) })
            .await
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<ListPodSandboxStatsResponse> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        let call = self.plain(Call::ListPodSandboxStats);
        call.run(async move {
            Ok(ListPodSandboxStatsResponse { stats: fake.stats_of_sandboxes(filter.as_ref()) })
        })
        .await
    }

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<StreamPodSandboxStatsRequest>,
    ) -> Answer<BoxStream<StreamPodSandboxStatsResponse>> {
        let (fake, filter) = (self.0.clone(), request.into_inner().filter);
        let call = self.plain(Call::ListPodSandboxStats);
        call.run(async move {
            fake.streams_lists()?;
            let records = fake.stats_of_sandboxes(filter.as_ref());
            let parts =
                pieces(&records, |pod_sandbox_stats| StreamPodSandboxStatsResponse { pod_sandbox_stats });
            Ok(stream::iter(parts).boxed() as BoxStream<_>)
        })
        .await
    }

    async fn update_runtime_config(
        &self,
        _: Request<UpdateRuntimeConfigRequest>,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        self.plain(Call::UpdateRuntimeConfig).run(async { Ok(UpdateRuntimeConfigResponse {}) }).await
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let (fake, verbose) = (self.0.clone(), request.into_inner().verbose);
        self.plain(Call::Status).run(async move { Ok(fake.runtime_status(verbose)) }).await
    }

    async fn get_container_events(
        &self,
        _: Request<GetEventsRequest>,
    ) -> Answer<BoxStream<ContainerEventResponse>> {
        let fake = self.0.clone();
        let call = self.plain(Call::GetContainerEvents);
        let distort = call.distort();
        call.run(async move { fake.event_stream(distort) }).await
    }

    async fn runtime_config(&self, _: Request<RuntimeConfigRequest>) -> Answer<RuntimeConfigResponse> {
        let driver = lock(&self.0.inner.state).switches.cgroup_driver;
        self.plain(Call::RuntimeConfig)
            .run(async move {
                let cgroup_driver = driver.ok_or_else(unknown_method)?.into();
                Ok(RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver }) })
            })
            .await
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<UpdatePodSandboxResourcesRequest>,
    ) -> Answer<UpdatePodSandboxResourcesResponse> {
        let (fake, id) = (self.0.clone(), request.into_inner().pod_sandbox_id);
        let call = self.of(Call::UpdatePodSandboxResources, &id, String::new());
        call.run(async move {
            lock(&fake.inner.state).sandbox(&id)?;
            Ok(UpdatePodSandboxResourcesResponse {})
        })
        .await
    }
}
