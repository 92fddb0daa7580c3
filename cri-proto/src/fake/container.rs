//! The life of a container: create, start, stop, remove.

use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;

use super::Fake;
use super::lock::lock;
use super::options::Logs;
use super::process::log_path;
use super::record::{Container, Ending, Phase, Process};
use super::sandbox::Reserved;
use super::select::Subject;
use super::state::State;
use crate::v1::{
    ContainerConfig, ContainerEventType, ContainerMetadata, ContainerState, CreateContainerRequest,
    LinuxContainerResources, PodSandboxConfig,
};

/// The name by which a container is unique in the runtime.
pub(super) fn unique_name(metadata: &ContainerMetadata, sandbox: &PodSandboxConfig) -> String {
    let pod = sandbox.metadata.clone().unwrap_or_default();
    format!("{}_{}_{}_{}_{}", metadata.name, pod.name, pod.namespace, pod.uid, metadata.attempt)
}

impl Fake {
    /// Checks the request and holds the container's name.
    pub(super) fn reserve_container(&self, request: &CreateContainerRequest) -> Result<Reserved, Status> {
        let missing = || Status::unknown("container config must include metadata");
        let metadata =
            request.config.as_ref().and_then(|config| config.metadata.as_ref()).ok_or_else(missing)?;
        let name = {
            let state = lock(&self.inner.state);
            unique_name(metadata, &state.sandbox(&request.pod_sandbox_id)?.config)
        };
        self.reserve("container", &name)
    }

    pub(super) fn create_container(
        &self,
        reserved: Reserved,
        request: CreateContainerRequest,
    ) -> Result<String, Status> {
        let config = request.config.unwrap_or_default();
        let mut state = lock(&self.inner.state);
        // The guard must not be dropped under the lock: it takes it itself.
        let made = state.make_container(&reserved.id, &request.pod_sandbox_id, config);
        match made {
            Ok(container) => {
                state.add_container(container);
                Ok(reserved.keep())
            }
            Err(status) => {
                drop(state);
                drop(reserved);
                Err(status)
            }
        }
    }

    /// SIGTERM, the grace, SIGKILL; ends once the runtime shows the container EXITED. Absent is success.
    pub(super) async fn stop_container(&self, id: &str, grace: Duration) {
        let Some((id, process)) = self.process_of(id) else { return };
        let mut gone = process.gone.subscribe();
        if !grace.is_zero() {
            process.term.send_replace(true);
            let waited = tokio::time::timeout(grace, gone.wait_for(|gone| *gone)).await;
            if waited.is_ok() {
                return;
            }
        }
        self.kill_and_wait(&id).await;
    }

    /// SIGKILL, and waits until the runtime shows the container EXITED.
    pub(super) async fn kill_and_wait(&self, id: &str) {
        let Some((id, process)) = self.process_of(id) else { return };
        let mut gone = process.gone.subscribe();
        self.end_process(&id, Ending::code(137));
        // An error says that the sender is gone, and with it the container.
        let _gone = gone.wait_for(|gone| *gone).await;
    }

    /// Kills it if it runs, then removes it. Absent is success.
    pub(super) async fn remove_container(&self, id: &str) {
        let found = lock(&self.inner.state).container(id).map(|container| container.id.clone());
        let Ok(id) = found else { return };
        self.kill_and_wait(&id).await;
        lock(&self.inner.state).remove_container(&id);
    }

    /// What a request to create a container is about.
    pub(super) fn creation(&self, request: &CreateContainerRequest) -> Subject {
        let config = request.config.clone().unwrap_or_default();
        let pod = match lock(&self.inner.state).sandbox(&request.pod_sandbox_id) {
            Ok(sandbox) => sandbox.subject(),
            Err(_) => Subject { sandbox_id: Some(request.pod_sandbox_id.clone()), ..Subject::default() },
        };
        let image = config.image.map(|image| image.image);
        Subject { image, ..pod.container(None, &config.metadata.unwrap_or_default()) }
    }

    /// Goes on in a new log file; the container must run, as containerd demands.
    pub(super) async fn reopen_log(&self, id: &str) -> Result<(), Status> {
        let path = {
            let state = lock(&self.inner.state);
            let container = state.container(id)?;
            if container.state() != ContainerState::ContainerRunning {
                return Err(Status::unknown("container is not running"));
            }
            container.log_path.clone()
        };
        if self.inner.options.logs == Logs::Memory || path.is_empty() {
            return Ok(());
        }
        let reopened = self.inner.logs.reopen(self.inner.options.root.join(path)).await;
        reopened.map_err(|error| Status::unknown(format!("failed to reopen the log: {error}")))
    }

    fn process_of(&self, id: &str) -> Option<(String, Process)> {
        let state = lock(&self.inner.state);
        let container = state.container(id).ok()?;
        Some((container.id.clone(), container.process.clone()?))
    }
}

impl State {
    fn make_container(
        &mut self,
        id: &str,
        sandbox: &str,
        config: ContainerConfig,
    ) -> Result<Container, Status> {
        let sandbox = self.ready_sandbox(sandbox)?;
        let (sandbox_id, pod) = (sandbox.id.clone(), sandbox.subject());
        let log_path = log_path(&sandbox.config.log_directory, &config.log_path);
        let reference = config.image.as_ref().map_or("", |image| image.image.as_str());
        let Some(image_id) = self.images.find(reference).map(|image| image.id.clone()) else {
            return Err(Status::not_found(format!("failed to resolve image \"{reference}\": not found")));
        };
        Ok(Container {
            id: id.to_owned(),
            sandbox_id,
            config,
            image_ref: self.images.reference(&image_id),
            image_id,
            phase: Phase::Created,
            created_at: self.wall(),
            log_path,
            output: Vec::new(),
            process: None,
            pod,
            born: self.mark(),
            started: None,
            ended: None,
            removed: None,
        })
    }

    pub(super) fn add_container(&mut self, container: Container) {
        let (id, sandbox, subject) =
            (container.id.clone(), container.sandbox_id.clone(), container.subject());
        self.containers.insert(id.clone(), container);
        self.announce(ContainerEventType::ContainerCreatedEvent, &id, &sandbox, &subject);
    }

    /// CREATED to RUNNING; gives the ends by which its process is told to end, and tells that it did.
    pub(super) fn start_container(&mut self, id: &str) -> Result<watch::Receiver<bool>, Status> {
        let (now, mark) = (self.wall(), self.mark());
        let Some(container) = self.containers.get_mut(id) else {
            return Err(Status::not_found(format!("container \"{id}\" in store: not found")));
        };
        let (term, told) = watch::channel(false);
        container.phase = Phase::Running { started_at: now };
        container.started = Some(mark);
        container.process = Some(Process { term, gone: watch::Sender::new(false), task: None, dying: false });
        let (sandbox, subject) = (container.sandbox_id.clone(), container.subject());
        self.announce(ContainerEventType::ContainerStartedEvent, id, &sandbox, &subject);
        Ok(told)
    }

    pub(super) fn update_resources(
        &mut self,
        id: &str,
        linux: Option<LinuxContainerResources>,
    ) -> Result<(), Status> {
        let id = self.container(id)?.id.clone();
        if let (Some(container), Some(linux)) = (self.containers.get_mut(&id), linux) {
            container.config.linux.get_or_insert_default().resources = Some(linux);
        }
        Ok(())
    }

    /// To EXITED, as of the wall time `finished_at`; an event tells of it.
    pub(super) fn exit_container(&mut self, id: &str, finished_at: i64, ending: Ending) {
        let process = self.containers.get(id).and_then(|container| container.process.clone());
        if !self.mark_exited(id, finished_at, ending) {
            return;
        }
        if let Some(container) = self.containers.get(id) {
            let kind = ContainerEventType::ContainerStoppedEvent;
            self.announce(kind, id, &container.sandbox_id, &container.subject());
        }
        if let Some(process) = process {
            process.gone.send_replace(true);
        }
    }

    /// To EXITED without an event; false if it was so already.
    pub(super) fn mark_exited(&mut self, id: &str, finished_at: i64, ending: Ending) -> bool {
        let mark = self.mark();
        let Some(container) = self.containers.get_mut(id) else { return false };
        let started_at = match container.phase {
            Phase::Created => 0,
            Phase::Running { started_at } => started_at,
            Phase::Exited { .. } => return false,
        };
        container.phase = Phase::Exited { started_at, finished_at, ending };
        container.ended = Some(mark);
        container.process = None;
        true
    }

    pub(super) fn remove_container(&mut self, id: &str) {
        let Some(mut container) = self.containers.remove(id) else { return };
        if let Some(process) = container.process.take() {
            if let Some(task) = process.task {
                task.abort();
            }
            process.gone.send_replace(true);
        }
        let (sandbox, subject) = (container.sandbox_id.clone(), container.subject());
        self.release(id);
        self.bury_container(container);
        self.announce(ContainerEventType::ContainerDeletedEvent, id, &sandbox, &subject);
    }
}
