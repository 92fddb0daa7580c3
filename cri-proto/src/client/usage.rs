//! Usage figures of containers and sandboxes, as the wire has them.

use super::{Client, answer};
use crate::call::Call;
use crate::error::Error;
use crate::id::{ContainerId, SandboxId};
use crate::v1;

impl Client {
    /// Usage of one container; none if the runtime has no figures.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn container_stats(&self, id: &ContainerId) -> Result<Option<v1::ContainerStats>, Error> {
        let request = v1::ContainerStatsRequest { container_id: id.to_string() };
        let answered =
            answer(Call::ContainerStats, self.deadlines.inspect, self.runtime().container_stats(request))
                .await;
        Ok(answered?.stats)
    }

    /// Usage of the containers that match `filter`.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn list_container_stats(
        &self,
        filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>, Error> {
        let request = v1::ListContainerStatsRequest { filter };
        let call = Call::ListContainerStats;
        Ok(answer(call, self.deadlines.inspect, self.runtime().list_container_stats(request)).await?.stats)
    }

    /// Usage of one sandbox; none if the runtime has no figures.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn pod_sandbox_stats(&self, id: &SandboxId) -> Result<Option<v1::PodSandboxStats>, Error> {
        let request = v1::PodSandboxStatsRequest { pod_sandbox_id: id.to_string() };
        let call = Call::PodSandboxStats;
        Ok(answer(call, self.deadlines.inspect, self.runtime().pod_sandbox_stats(request)).await?.stats)
    }

    /// Usage of the sandboxes that match `filter`.
    ///
    /// # Errors
    /// As every call; `is_unimplemented` for runtimes that have no such figures.
    pub async fn list_pod_sandbox_stats(
        &self,
        filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>, Error> {
        let request = v1::ListPodSandboxStatsRequest { filter };
        let call = Call::ListPodSandboxStats;
        Ok(answer(call, self.deadlines.inspect, self.runtime().list_pod_sandbox_stats(request)).await?.stats)
    }
}
