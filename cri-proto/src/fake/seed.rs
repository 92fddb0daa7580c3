//! Lays objects into the runtime that are there before the client first looks.

use std::time::Duration;

use super::Fake;
use super::clock::nanos;
use super::lock::lock;
use super::process::log_path;
use super::record::{Container, Ending, Phase, Sandbox};
use crate::v1::{ContainerConfig, PodSandboxConfig, PodSandboxState};

/// Where a seeded container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedPhase {
    /// Made, never started.
    Created,
    /// Its process runs, by its script or its command, from the moment of seeding.
    Running,
    /// Its process ended so.
    Exited(Ending),
}

impl Fake {
    /// Lays in a sandbox that is ready and was made `age` ago by the wall clock; gives its id. Its name is reserved.
    pub fn seed_sandbox(&self, config: PodSandboxConfig, age: Duration) -> String {
        let mut state = lock(&self.inner.state);
        let id = state.ids.next();
        let metadata = config.metadata.clone().unwrap_or_default();
        state.names.insert(super::sandbox::unique_name(&metadata), id.clone());
        let ip = if super::sandbox::on_host_network(&config) { None } else { state.addresses.take() };
        let created_at = state.wall().saturating_sub(nanos(age));
        let born = state.mark();
        state.add_sandbox(Sandbox {
            id: id.clone(),
            config,
            runtime_handler: String::new(),
            state: PodSandboxState::SandboxReady,
            created_at,
            ip,
            born,
            downed: None,
            removed: None,
        });
        id
    }

    /// Lays in a container that was made (and ran from) `age` ago by the wall clock; gives its id, or none if the
    /// sandbox is unknown. Its image is there afterwards.
    pub fn seed_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
        phase: SeedPhase,
        age: Duration,
    ) -> Option<String> {
        let mut state = lock(&self.inner.state);
        let sandbox = state.sandbox(sandbox_id).ok()?;
        let (pod, log_path) = (sandbox.subject(), log_path(&sandbox.config.log_directory, &config.log_path));
        let name =
            super::container::unique_name(&config.metadata.clone().unwrap_or_default(), &sandbox.config);
        let id = state.ids.next();
        state.names.insert(name, id.clone());
        let image_id = state.images.add(config.image.as_ref().map_or("", |image| &image.image), 1024 * 1024);
        let made = state.wall().saturating_sub(nanos(age));
        let born = state.mark();
        let image_ref = state.images.reference(&image_id);
        state.add_container(Container {
            id: id.clone(),
            sandbox_id: sandbox_id.to_owned(),
            config,
            image_id,
            image_ref,
            phase: Phase::Created,
            created_at: made,
            log_path,
            output: Vec::new(),
            process: None,
            pod,
            born,
            started: None,
            ended: None,
            removed: None,
        });
        drop(state);
        self.advance_seeded(&id, phase, made);
        Some(id)
    }

    fn advance_seeded(&self, id: &str, phase: SeedPhase, started_at: i64) {
        if phase == SeedPhase::Created {
            return;
        }
        let found = lock(&self.inner.state).containers.get(id).cloned();
        let Some(Ok(program)) = found.map(|container| self.program_of(&container)) else { return };
        if self.launch(id, program, None).is_err() {
            return;
        }
        let mut state = lock(&self.inner.state);
        if let Some(container) = state.containers.get_mut(id) {
            container.phase = Phase::Running { started_at };
        }
        drop(state);
        if let SeedPhase::Exited(ending) = phase {
            self.end_process(id, ending);
        }
    }
}
