//! The event stream: what happened to containers and sandboxes, sent to everyone who listens at that moment.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::fault::Faults;
use super::select::Subject;
use super::state::State;
use super::view;
use crate::v1::{ContainerEventResponse, ContainerEventType};

/// Events held for a slow listener before it loses some; containerd holds 1000.
const HELD: usize = 1_000;

/// Sends events, unless a fault swallows them.
#[derive(Debug)]
pub(super) struct Announcer {
    faults: Arc<Faults>,
    sender: broadcast::Sender<ContainerEventResponse>,
}

impl Announcer {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self { faults, sender: broadcast::Sender::new(HELD) }
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<ContainerEventResponse> {
        self.sender.subscribe()
    }

    /// Ends the streams of everyone who listens.
    pub(super) fn cut(&mut self) {
        self.sender = broadcast::Sender::new(HELD);
    }

    pub(super) fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }
}

impl State {
    /// Tells what happened to the object `id` of the sandbox `sandbox_id`, with the state of the whole pod.
    pub(super) fn announce(&self, kind: ContainerEventType, id: &str, sandbox_id: &str, subject: &Subject) {
        let announcer = &self.announcer;
        if announcer.listeners() == 0 || announcer.faults.drops_event(subject) {
            return;
        }
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: self.wall(),
            pod_sandbox_status: self
                .sandboxes
                .get(sandbox_id)
                .map(|s| view::sandbox_status(s, announcer.faults())),
            containers_statuses: self
                .containers
                .values()
                .filter(|container| container.sandbox_id == sandbox_id)
                .map(|container| view::container_status(container, announcer.faults()))
                .collect(),
        };
        // An error only says that the last listener left meanwhile.
        let _unheard = announcer.sender.send(event);
    }
}
