//! Calls about pod sandboxes.

use super::{Client, answer, gone_is_done};
use crate::call::Call;
use crate::error::Error;
use crate::id::SandboxId;
use crate::sandbox::{Sandbox, SandboxStatus};
use crate::v1;
use crate::wire::{InvalidRecord, Valid};

impl Client {
    /// The sandboxes that match `filter`; those made for no pod are left out.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn list_sandboxes(
        &self,
        filter: Option<v1::PodSandboxFilter>,
    ) -> Result<Valid<Sandbox>, Error> {
        let request = v1::ListPodSandboxRequest { filter };
        let answered =
            answer(Call::ListPodSandbox, self.deadlines.inspect, self.runtime().list_pod_sandbox(request))
                .await;
        Ok(Valid::from_wire(answered?.items))
    }

    /// State and addresses of one sandbox.
    ///
    /// # Errors
    /// As every call; `is_not_found` if the runtime does not know it.
    pub async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus, Error> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_string(), verbose: false };
        let call = Call::PodSandboxStatus;
        let status =
            answer(call, self.deadlines.inspect, self.runtime().pod_sandbox_status(request)).await?.status;
        let status = status.ok_or(InvalidRecord::Absent("sandbox status"));
        status.and_then(SandboxStatus::try_from).map_err(|why| Error::invalid(call, why))
    }

    /// Makes and starts a sandbox; `handler` is empty for the runtime's default. Not idempotent.
    ///
    /// # Errors
    /// As every call; only [`Error::is_definite`] proves that nothing was made.
    pub async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<SandboxId, Error> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let call = Call::RunPodSandbox;
        let made = answer(call, self.deadlines.run_sandbox, self.runtime().run_pod_sandbox(request)).await?;
        SandboxId::new(&made.pod_sandbox_id).map_err(|why| Error::invalid(call, why.into()))
    }

    /// Ends every process of the sandbox and frees its network. Succeeds for one that is gone.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), Error> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_string() };
        let answered =
            answer(Call::StopPodSandbox, self.deadlines.request, self.runtime().stop_pod_sandbox(request))
                .await;
        gone_is_done(answered)
    }

    /// Removes the sandbox and its containers. Succeeds for one that is gone.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), Error> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_string() };
        let call = Call::RemovePodSandbox;
        gone_is_done(answer(call, self.deadlines.request, self.runtime().remove_pod_sandbox(request)).await)
    }

    /// Tells the runtime the pod's new resources, after its containers were resized.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn update_sandbox_resources(
        &self,
        id: &SandboxId,
        overhead: Option<v1::LinuxContainerResources>,
        resources: Option<v1::LinuxContainerResources>,
    ) -> Result<(), Error> {
        let request =
            v1::UpdatePodSandboxResourcesRequest { pod_sandbox_id: id.to_string(), overhead, resources };
        let call = Call::UpdatePodSandboxResources;
        let answered =
            answer(call, self.deadlines.request, self.runtime().update_pod_sandbox_resources(request)).await;
        answered.map(drop)
    }
}
