//! The life of a sandbox: run, stop, remove.

use tonic::Status;

use super::Fake;
use super::lock::lock;
use super::record::{Ending, Mark, Sandbox};
use super::state::State;
use crate::v1::{ContainerEventType, NamespaceMode, PodSandboxConfig, PodSandboxMetadata, PodSandboxState};

/// A name that is held while its object is being made; it is given up if that fails or is given up.
#[derive(Debug)]
pub(super) struct Reserved {
    fake: Fake,
    pub(super) id: String,
    kept: bool,
}

impl Reserved {
    /// The object is made: its name stays held until it is removed.
    pub(super) fn keep(mut self) -> String {
        self.kept = true;
        std::mem::take(&mut self.id)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.kept {
            lock(&self.fake.inner.state).release(&self.id);
        }
    }
}

/// The name by which a sandbox is unique in the runtime.
pub(super) fn unique_name(metadata: &PodSandboxMetadata) -> String {
    let PodSandboxMetadata { name, uid, namespace, attempt } = metadata;
    format!("{name}_{namespace}_{uid}_{attempt}")
}

impl Fake {
    /// Makes an id and holds `name` for it.
    pub(super) fn reserve(&self, kind: &str, name: &str) -> Result<Reserved, Status> {
        let mut state = lock(&self.inner.state);
        let id = state.ids.next();
        state.reserve(kind, name, &id)?;
        Ok(Reserved { fake: self.clone(), id, kept: false })
    }

    /// Checks the request and holds the sandbox's name.
    pub(super) fn reserve_sandbox(
        &self,
        config: &PodSandboxConfig,
        runtime_handler: &str,
    ) -> Result<Reserved, Status> {
        let Some(metadata) = &config.metadata else {
            return Err(Status::unknown("sandbox config must include metadata"));
        };
        if !self.inner.options.runtime_handlers.iter().any(|handler| handler == runtime_handler) {
            let text =
                format!("failed to get sandbox runtime: no runtime for \"{runtime_handler}\" is configured");
            return Err(Status::unknown(text));
        }
        self.reserve("sandbox", &unique_name(metadata))
    }

    pub(super) fn run_sandbox(
        &self,
        reserved: Reserved,
        config: PodSandboxConfig,
        runtime_handler: String,
    ) -> String {
        let id = reserved.keep();
        let mut state = lock(&self.inner.state);
        let ip = if on_host_network(&config) { None } else { state.addresses.take() };
        let (created_at, born) = (state.wall(), state.mark());
        state.add_sandbox(Sandbox {
            id: id.clone(),
            config,
            runtime_handler,
            state: PodSandboxState::SandboxReady,
            created_at,
            ip,
            born,
            downed: None,
            removed: None,
        });
        id
    }

    /// Kills its containers, then takes it down. Absent is success.
    pub(super) async fn stop_sandbox(&self, id: &str) {
        let Some((id, containers)) = self.sandbox_and_containers(id) else { return };
        for container in containers {
            self.kill_and_wait(&container).await;
        }
        lock(&self.inner.state).down_sandbox(&id);
    }

    /// Stops it, removes its containers, then removes it. Absent is success.
    pub(super) async fn remove_sandbox(&self, id: &str) {
        let Some((id, _)) = self.sandbox_and_containers(id) else { return };
        self.stop_sandbox(&id).await;
        let mut state = lock(&self.inner.state);
        for container in state.containers_in(&id) {
            state.remove_container(&container);
        }
        state.remove_sandbox(&id);
    }

    fn sandbox_and_containers(&self, id: &str) -> Option<(String, Vec<String>)> {
        let state = lock(&self.inner.state);
        let id = state.sandbox(id).ok()?.id.clone();
        let containers = state.containers_in(&id);
        Some((id, containers))
    }

    /// The sandbox dies with all its processes at once, as when its pause process is killed.
    pub(super) fn sandbox_died(&self, id: &str) {
        let Some((id, containers)) = self.sandbox_and_containers(id) else { return };
        for container in containers {
            self.end_process(&container, Ending::code(137));
        }
        lock(&self.inner.state).down_sandbox(&id);
    }
}

/// Whether the pod uses the node's network.
pub(super) fn on_host_network(config: &PodSandboxConfig) -> bool {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    let options = security.and_then(|security| security.namespace_options.as_ref());
    options.is_some_and(|options| options.network == i32::from(NamespaceMode::Node))
}

impl State {
    pub(super) fn add_sandbox(&mut self, sandbox: Sandbox) {
        let (id, subject) = (sandbox.id.clone(), sandbox.subject());
        self.sandboxes.insert(id.clone(), sandbox);
        // Its pause process counts as a container of its own.
        for kind in [ContainerEventType::ContainerCreatedEvent, ContainerEventType::ContainerStartedEvent] {
            self.announce(kind, &id, &id, &subject);
        }
    }

    pub(super) fn down_sandbox(&mut self, id: &str) {
        let mark: Mark = self.mark();
        let Some(sandbox) = self.sandboxes.get_mut(id) else { return };
        if sandbox.state == PodSandboxState::SandboxNotready {
            return;
        }
        sandbox.state = PodSandboxState::SandboxNotready;
        sandbox.downed = Some(mark);
        let subject = sandbox.subject();
        if let Some(ip) = sandbox.ip.take() {
            self.addresses.give_back(ip);
        }
        self.announce(ContainerEventType::ContainerStoppedEvent, id, id, &subject);
    }

    pub(super) fn remove_sandbox(&mut self, id: &str) {
        let Some(sandbox) = self.sandboxes.get(id) else { return };
        let subject = sandbox.subject();
        // Before it goes: the last event still shows the sandbox, as containerd's does.
        self.announce(ContainerEventType::ContainerDeletedEvent, id, id, &subject);
        let Some(sandbox) = self.sandboxes.remove(id) else { return };
        if let Some(ip) = sandbox.ip {
            self.addresses.give_back(ip);
        }
        self.release(id);
        self.bury_sandbox(sandbox);
    }
}
