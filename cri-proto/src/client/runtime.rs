//! Calls about the runtime itself.

use super::{Client, answer};
use crate::call::Call;
use crate::error::Error;
use crate::v1;

impl Client {
    /// Names and versions of the runtime.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn version(&self) -> Result<v1::VersionResponse, Error> {
        let request = v1::VersionRequest { version: "v1".to_owned() };
        answer(Call::Version, self.deadlines.inspect, self.runtime().version(request)).await
    }

    /// Conditions and features of the runtime; with `verbose` also its own free-form information.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn status(&self, verbose: bool) -> Result<v1::StatusResponse, Error> {
        let request = v1::StatusRequest { verbose };
        answer(Call::Status, self.deadlines.inspect, self.runtime().status(request)).await
    }

    /// Which cgroup driver the runtime uses.
    ///
    /// # Errors
    /// As every call; `is_unimplemented` for containerd before 2.0.
    pub async fn runtime_config(&self) -> Result<v1::RuntimeConfigResponse, Error> {
        let request = v1::RuntimeConfigRequest {};
        answer(Call::RuntimeConfig, self.deadlines.inspect, self.runtime().runtime_config(request)).await
    }

    /// Tells the runtime the node's pod CIDR: one range, or two joined by a comma.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn update_runtime_config(&self, pod_cidr: &str) -> Result<(), Error> {
        let network_config = Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() });
        let request =
            v1::UpdateRuntimeConfigRequest { runtime_config: Some(v1::RuntimeConfig { network_config }) };
        let call = Call::UpdateRuntimeConfig;
        answer(call, self.deadlines.request, self.runtime().update_runtime_config(request)).await.map(drop)
    }
}
