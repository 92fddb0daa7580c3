//! Records of the fake in the form of the wire. Pure but for faults that lie about creation times.

use super::fault::Faults;
use super::record::{AsOf, Container, Phase, Sandbox};
use crate::v1;

pub(super) fn sandbox(sandbox: &Sandbox, as_of: AsOf, faults: &Faults) -> v1::PodSandbox {
    v1::PodSandbox {
        id: sandbox.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox.state_at(as_of).into(),
        created_at: sandbox.created_at.saturating_add(faults.lie(|| sandbox.subject())),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: sandbox.runtime_handler.clone(),
    }
}

pub(super) fn sandbox_status(sandbox: &Sandbox, faults: &Faults) -> v1::PodSandboxStatus {
    let security = sandbox.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    v1::PodSandboxStatus {
        id: sandbox.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox.state.into(),
        created_at: sandbox.created_at.saturating_add(faults.lie(|| sandbox.subject())),
        network: Some(v1::PodSandboxNetworkStatus {
            ip: sandbox.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            additional_ips: Vec::new(),
        }),
        linux: Some(v1::LinuxPodSandboxStatus {
            namespaces: Some(v1::Namespace { options: security.and_then(|s| s.namespace_options.clone()) }),
        }),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: sandbox.runtime_handler.clone(),
    }
}

pub(super) fn container(container: &Container, as_of: AsOf, faults: &Faults) -> v1::Container {
    v1::Container {
        id: container.id.clone(),
        pod_sandbox_id: container.sandbox_id.clone(),
        metadata: container.config.metadata.clone(),
        image: container.config.image.clone(),
        image_ref: container.image_id.clone(),
        state: container.state_at(as_of).into(),
        created_at: container.created_at.saturating_add(faults.lie(|| container.subject())),
        labels: container.config.labels.clone(),
        annotations: container.config.annotations.clone(),
        image_id: container.image_id.clone(),
    }
}

pub(super) fn container_status(container: &Container, faults: &Faults) -> v1::ContainerStatus {
    let mut status = v1::ContainerStatus {
        id: container.id.clone(),
        metadata: container.config.metadata.clone(),
        state: container.state().into(),
        created_at: container.created_at.saturating_add(faults.lie(|| container.subject())),
        image: container.config.image.clone(),
        image_ref: container.image_ref.clone(),
        image_id: container.image_id.clone(),
        labels: container.config.labels.clone(),
        annotations: container.config.annotations.clone(),
        mounts: container.config.mounts.clone(),
        log_path: container.log_path.clone(),
        resources: Some(v1::ContainerResources {
            linux: container.config.linux.as_ref().and_then(|linux| linux.resources.clone()),
            ..Default::default()
        }),
        stop_signal: container.config.stop_signal,
        ..Default::default()
    };
    match &container.phase {
        Phase::Created => {}
        Phase::Running { started_at } => status.started_at = *started_at,
        Phase::Exited { started_at, finished_at, ending } => {
            status.started_at = *started_at;
            status.finished_at = *finished_at;
            status.exit_code = ending.code;
            status.reason.clone_from(&ending.reason);
            status.message.clone_from(&ending.message);
        }
    }
    status
}
