//! Calls about containers.

use std::time::Duration;

use super::deadlines::whole_seconds;
use super::{Client, answer, gone_is_done};
use crate::call::Call;
use crate::container::{Container, ContainerStatus};
use crate::error::Error;
use crate::id::{ContainerId, SandboxId};
use crate::v1;
use crate::wire::{InvalidRecord, Valid};

impl Client {
    /// The containers that match `filter`; those made for no pod are left out.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn list_containers(
        &self,
        filter: Option<v1::ContainerFilter>,
    ) -> Result<Valid<Container>, Error> {
        let request = v1::ListContainersRequest { filter };
        let answered =
            answer(Call::ListContainers, self.deadlines.inspect, self.runtime().list_containers(request))
                .await;
        Ok(Valid::from_wire(answered?.containers))
    }

    /// Exit code, times and image of one container.
    ///
    /// # Errors
    /// As every call; `is_not_found` if the runtime does not know it.
    pub async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus, Error> {
        let request = v1::ContainerStatusRequest { container_id: id.to_string(), verbose: false };
        let call = Call::ContainerStatus;
        let status =
            answer(call, self.deadlines.inspect, self.runtime().container_status(request)).await?.status;
        let status = status.ok_or(InvalidRecord::Absent("container status"));
        status.and_then(ContainerStatus::try_from).map_err(|why| Error::invalid(call, why))
    }

    /// Makes a container in a sandbox, without starting it. `sandbox_config` is the one that the sandbox was made
    /// with. Not idempotent.
    ///
    /// # Errors
    /// As every call; only [`Error::is_definite`] proves that nothing was made.
    pub async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<ContainerId, Error> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_string(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let call = Call::CreateContainer;
        let made = answer(call, self.deadlines.request, self.runtime().create_container(request)).await?;
        ContainerId::new(&made.container_id).map_err(|why| Error::invalid(call, why.into()))
    }

    /// Starts a container that was made. Runtimes refuse a second start.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn start_container(&self, id: &ContainerId) -> Result<(), Error> {
        let request = v1::StartContainerRequest { container_id: id.to_string() };
        let answered =
            answer(Call::StartContainer, self.deadlines.request, self.runtime().start_container(request))
                .await;
        answered.map(drop)
    }

    /// Sends the stop signal and, after `grace` in whole seconds rounded up, the kill; zero kills at once. Returns
    /// when the process has ended; succeeds for one that is gone.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), Error> {
        let request =
            v1::StopContainerRequest { container_id: id.to_string(), timeout: whole_seconds(grace) };
        let limit = self.deadlines.stop(grace);
        gone_is_done(answer(Call::StopContainer, limit, self.runtime().stop_container(request)).await)
    }

    /// Removes a container, killing it if it runs. Succeeds for one that is gone.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn remove_container(&self, id: &ContainerId) -> Result<(), Error> {
        let request = v1::RemoveContainerRequest { container_id: id.to_string() };
        let call = Call::RemoveContainer;
        gone_is_done(answer(call, self.deadlines.request, self.runtime().remove_container(request)).await)
    }

    /// Has the runtime open the container's log anew, after the file was renamed.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn reopen_container_log(&self, id: &ContainerId) -> Result<(), Error> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_string() };
        let call = Call::ReopenContainerLog;
        answer(call, self.deadlines.request, self.runtime().reopen_container_log(request)).await.map(drop)
    }

    /// Changes limits of a running container.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn update_container_resources(
        &self,
        id: &ContainerId,
        linux: v1::LinuxContainerResources,
    ) -> Result<(), Error> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_string(),
            linux: Some(linux),
            ..Default::default()
        };
        let call = Call::UpdateContainerResources;
        answer(call, self.deadlines.request, self.runtime().update_container_resources(request))
            .await
            .map(drop)
    }

    /// Writes a checkpoint of the container to the archive at `location`; a zero `timeout` is the runtime's default.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn checkpoint_container(
        &self,
        id: &ContainerId,
        location: &str,
        timeout: Duration,
    ) -> Result<(), Error> {
        let request = v1::CheckpointContainerRequest {
            container_id: id.to_string(),
            location: location.to_owned(),
            timeout: whole_seconds(timeout),
        };
        let (call, limit) = (Call::CheckpointContainer, self.deadlines.bounded(timeout));
        answer(call, limit, self.runtime().checkpoint_container(request)).await.map(drop)
    }
}
