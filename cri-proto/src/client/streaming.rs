//! Commands in containers, and the URLs of the runtime's streaming server.

use std::time::Duration;

use super::deadlines::whole_seconds;
use super::{Client, answer};
use crate::call::Call;
use crate::error::Error;
use crate::id::{ContainerId, SandboxId};
use crate::v1;

impl Client {
    /// Runs a command and waits for its end, at most `timeout` (whole seconds rounded up; zero is no limit of the
    /// runtime's). The output of both streams must fit into one message.
    ///
    /// # Errors
    /// As every call; `is_timeout` also where the runtime ended the command for its time.
    pub async fn exec_sync(
        &self,
        id: &ContainerId,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<v1::ExecSyncResponse, Error> {
        let seconds = whole_seconds(timeout);
        let request = v1::ExecSyncRequest { container_id: id.to_string(), cmd: command, timeout: seconds };
        // The runtime counts whole seconds, so the client must not give up before those are over.
        let kept = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        answer(Call::ExecSync, self.deadlines.bounded(kept), self.runtime().exec_sync(request)).await
    }

    /// The URL at which the command's streams can be had.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error> {
        let answered = answer(Call::Exec, self.deadlines.request, self.runtime().exec(request)).await;
        Ok(answered?.url)
    }

    /// The URL at which the streams of the container's first process can be had.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error> {
        let answered = answer(Call::Attach, self.deadlines.request, self.runtime().attach(request)).await;
        Ok(answered?.url)
    }

    /// The URL at which ports of the sandbox can be reached.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn port_forward(&self, id: &SandboxId, ports: Vec<i32>) -> Result<String, Error> {
        let request = v1::PortForwardRequest { pod_sandbox_id: id.to_string(), port: ports };
        let answered =
            answer(Call::PortForward, self.deadlines.request, self.runtime().port_forward(request)).await;
        Ok(answered?.url)
    }
}
