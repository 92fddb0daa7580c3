//! Decides which events the node's changes are, in the kubelet's words (`pkg/kubelet/kubelet_node_status.go`), and
//! records them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::conditions;
use crate::events::EventLog;

/// Records the node's events.
#[derive(Debug)]
pub struct Notices {
    events: EventLog,
    node: String,
    /// What the events are about: `node/NAME`.
    object: String,
    unschedulable: bool,
    /// The reboot was told; one event per start, however many writes it takes.
    rebooted: bool,
}

impl Notices {
    /// Events of the node `node`.
    #[must_use]
    pub fn new(events: EventLog, node: &str) -> Self {
        let object = format!("node/{node}");
        Self { events, node: node.to_owned(), object, unschedulable: false, rebooted: false }
    }

    /// The agent has started.
    pub fn starting(&self, now: Timestamp) {
        self.events.normal(&self.object, "Starting", "Starting kubelet.", now);
    }

    /// Conditions were written.
    pub fn conditions(&self, before: &[NodeCondition], after: &[NodeCondition], now: Timestamp) {
        for reason in conditions::events(before, after) {
            self.status(reason, now);
        }
    }

    /// The object was seen, before this start's first write or after.
    pub fn observe(&mut self, node: &Node, boot_id: &str, now: Timestamp) {
        let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        if unschedulable != self.unschedulable {
            self.unschedulable = unschedulable;
            self.status(if unschedulable { "NodeNotSchedulable" } else { "NodeSchedulable" }, now);
        }
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        let before = info.map(|info| info.boot_id.as_str()).unwrap_or_default();
        if !self.rebooted && !before.is_empty() && !boot_id.is_empty() && before != boot_id {
            self.rebooted = true;
            let message = format!("Node {} has been rebooted, boot id: {boot_id}", self.node);
            self.events.warning(&self.object, "Rebooted", &message, now);
        }
    }

    fn status(&self, reason: &str, now: Timestamp) {
        let message = format!("Node {} status is now: {reason}", self.node);
        self.events.normal(&self.object, reason, &message, now);
    }
}
