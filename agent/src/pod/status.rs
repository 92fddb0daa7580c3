//! What a pod's state is called for people: its phase and one word of how it fares. Pure; [`container`] has the words
//! of its containers.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Container as Spec;
use pinnace_cri::container::ContainerState;
use pinnace_cri::id::PodUid;
use pinnace_cri::sandbox::SandboxState;
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved};

use crate::journal::history::{ContainerHistory, Exit, TerminationCause};
use crate::pod::api_status::sorted;
use crate::pod::card::Face;
use crate::pod::paths::Dirs;
use crate::pod::plan::Rest;
use crate::source::desired::Origin;
use crate::view::{ContainerView, PodView};

mod container;

#[cfg(test)]
mod tests;

pub use container::{Waiting, container, containers, known_reason, restarts, waiting, wall};

/// What a view is made from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// UID.
    pub uid: &'a PodUid,
    /// The worker's last word.
    pub face: &'a Face,
    /// What the runtime holds.
    pub seen: Option<&'a PodObserved>,
    /// Where files are.
    pub dirs: &'a Dirs,
}

/// Phase of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A container never started.
    Pending,
    /// At least one runs or will again.
    Running,
    /// All ended with 0 and stay so.
    Succeeded,
    /// All ended, not all with 0, and stay so.
    Failed,
}

impl Phase {
    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

impl Subject<'_> {
    /// Whether its newest sandbox is up.
    #[must_use]
    pub fn runs(&self) -> bool {
        let newest = self.seen.and_then(|seen| seen.newest_sandbox());
        newest.is_some_and(|sandbox| sandbox.record.state == SandboxState::Ready)
    }

    /// The containers of the spec, in its order.
    #[must_use]
    pub fn specs(&self) -> &[Spec] {
        let spec = self.face.pod.as_ref().and_then(|pod| pod.pod.spec.as_ref());
        spec.map(|spec| spec.containers.as_slice()).unwrap_or_default()
    }

    /// The newest instance that the runtime lists.
    #[must_use]
    pub fn newest(&self, name: &str) -> Option<&ContainerSeen> {
        self.seen.and_then(|seen| seen.newest_container(name))
    }

    /// What is remembered of a container.
    #[must_use]
    pub fn history(&self, name: &str) -> Option<&ContainerHistory> {
        self.face.history.containers.get(name)
    }

    /// The newest end that is remembered.
    #[must_use]
    pub fn last_exit(&self, name: &str) -> Option<&Exit> {
        self.history(name).and_then(|history| history.last_exit.as_ref())
    }

    /// Whether the newest instance runs.
    #[must_use]
    pub fn is_running(&self, name: &str) -> bool {
        self.newest(name).is_some_and(|seen| seen.record.state == ContainerState::Running)
    }

    /// Names of the containers: the spec's, or for a pod that only the runtime knows, those that it lists.
    fn names(&self) -> Vec<String> {
        if self.face.pod.is_some() {
            return self.specs().iter().map(|spec| spec.name.clone()).collect();
        }
        let mut names: Vec<_> = self
            .seen
            .map(|seen| seen.containers.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|container| container.record.name.clone())
            .collect();
        names.dedup();
        names
    }

    fn is_leaving(&self) -> bool {
        let removed = |cause: &TerminationCause| {
            matches!(
                cause,
                TerminationCause::Removed
                    | TerminationCause::Deleted
                    | TerminationCause::Replaced
                    | TerminationCause::Orphaned
            )
        };
        self.face.wish.is_gone()
            || self.face.history.termination.as_ref().is_some_and(|termination| removed(&termination.cause))
    }

    /// The phase; terminal for ever once the history says so.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if let Some(terminal) = &self.face.history.terminal {
            return if terminal.succeeded { Phase::Succeeded } else { Phase::Failed };
        }
        let started = |name: &String| self.is_running(name) || self.last_exit(name).is_some();
        if self.names().iter().all(started) && !self.names().is_empty() {
            Phase::Running
        } else {
            Phase::Pending
        }
    }
}

/// The pod's address: of the node's primary family if it has one of that, by the node's own addresses.
#[must_use]
pub fn ip(subject: &Subject<'_>, node: &[IpAddr]) -> Option<String> {
    let sandbox = subject.seen.and_then(|seen| seen.newest_sandbox());
    let status = sandbox.and_then(|sandbox| sandbox.status.as_ref())?;
    sorted(&status.ips, node).first().map(ToString::to_string)
}

/// The pod's view. The first of its addresses is the one that the runtime names first, see [`ip`].
#[must_use]
pub fn pod(subject: &Subject<'_>) -> PodView {
    let face = subject.face;
    let containers = containers(subject);
    let phase = subject.phase();
    PodView {
        namespace: face.namespace.clone(),
        name: face.name.clone(),
        uid: subject.uid.to_string(),
        ready: containers.iter().filter(|container| container.state == "Running").count(),
        containers: containers.len(),
        status: word(subject, phase, &containers),
        phase: phase.as_str().to_owned(),
        restarts: containers.iter().map(|container| container.restarts).fold(0, u32::saturating_add),
        started: face.history.started.as_ref().map(|stamp| stamp.wall),
        ip: ip(subject, &[]),
        reason: reason(subject, &containers),
        source: face.pod.as_ref().map(|pod| match &pod.origin {
            Origin::File(path) => path.to_string_lossy().into_owned(),
            Origin::Api => "api".to_owned(),
        }),
    }
}

/// What kubectl would show.
fn word(subject: &Subject<'_>, phase: Phase, containers: &[ContainerView]) -> String {
    if subject.face.quarantined.is_some() {
        return "Quarantined".to_owned();
    }
    if subject.is_leaving() {
        return "Terminating".to_owned();
    }
    let terminal = subject.face.history.terminal.as_ref();
    if let Some(reason) = terminal.map(|terminal| terminal.reason.clone()).filter(|reason| !reason.is_empty())
    {
        return reason;
    }
    let telling = |state: &str| {
        let found = containers
            .iter()
            .rev()
            .find(|container| container.state == state && !container.reason.is_empty());
        found.map(|container| container.reason.clone())
    };
    match phase {
        Phase::Succeeded => "Completed".to_owned(),
        Phase::Failed => {
            telling("Terminated").filter(|reason| reason != "Completed").unwrap_or("Error".to_owned())
        }
        Phase::Pending | Phase::Running => telling("Waiting").unwrap_or_else(|| phase.as_str().to_owned()),
    }
}

/// Why all is not well.
fn reason(subject: &Subject<'_>, containers: &[ContainerView]) -> String {
    let face = subject.face;
    if let Some(why) = &face.quarantined {
        return why.clone();
    }
    if let Some(held) = face.pod.as_ref().and_then(|pod| pod.hold(subject.runs())) {
        return format!("held by {}: {}", held.field, held.reason);
    }
    if let Some(terminal) = face.history.terminal.as_ref().filter(|terminal| !terminal.message.is_empty()) {
        return terminal.message.clone();
    }
    if let Some(quarantine) = subject.seen.and_then(|seen| seen.quarantine.as_ref()) {
        return format!("the runtime does not tell this pod's state: {quarantine:?}");
    }
    let message =
        containers.iter().find(|container| container.state == "Waiting" && !container.message.is_empty());
    match message {
        Some(container) => container.message.clone(),
        None if face.rest == Rest::Working => face
            .waits
            .first()
            .map(|wait| format!("{}: waiting for {}", wait.step, wait.waiting_for))
            .unwrap_or_default(),
        None => String::new(),
    }
}
