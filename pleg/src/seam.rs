//! What this crate asks of the runtime: four questions and one stream, answered in plain values.

use std::future::Future;
use std::sync::Arc;

use futures::stream::BoxStream;
use pinnace_cri::container::{Container, ContainerStatus};
use pinnace_cri::id::{ContainerId, PodUid, SandboxId};
use pinnace_cri::sandbox::{Sandbox, SandboxStatus};

/// Why the runtime gave no usable answer. The text names the call; the agent builds it from its CRI error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub Arc<str>);

/// Sandboxes and containers as listed, only those that this node owns, invalid records left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// All sandboxes asked for, in any order.
    pub sandboxes: Vec<Arc<Sandbox>>,
    /// All containers asked for, in any order.
    pub containers: Vec<Arc<Container>>,
}

/// The answer to a list of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// Byte for byte what the last one said: the last `Ok` that was returned, not one whose call was dropped at its
    /// deadline. Never the first answer.
    Unchanged,
    /// Something differs; records that do not are the same `Arc` as before.
    Changed(Listing),
}

/// What a runtime event says: look at this pod. Events are hints, never facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What to look at.
    pub about: About,
    /// Whether it announces an exit: a look that still sees it running repeats shortly after.
    pub exit: bool,
}

/// What an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A pod.
    Pod {
        /// The pod to look at.
        uid: PodUid,
        /// The container that the event was about, if the runtime said.
        container_id: Option<ContainerId>,
    },
    /// A container or sandbox by its id alone, perhaps another node's: whoever knows it knows the pod.
    Object(ContainerId),
}

/// The runtime as the relist loop sees it. Every call bounds its own time.
pub trait Runtime: Send + Sync + 'static {
    /// Lists everything that this node owns.
    fn list(&self) -> impl Future<Output = Result<Listed, Unanswered>> + Send;
    /// Lists one pod's sandboxes and containers.
    fn list_pod(&self, uid: &PodUid) -> impl Future<Output = Result<Listing, Unanswered>> + Send;
    /// Addresses and state of a sandbox; none when the runtime does not know it.
    fn sandbox_status(
        &self,
        id: &SandboxId,
    ) -> impl Future<Output = Result<Option<SandboxStatus>, Unanswered>> + Send;
    /// Exit code, times and image of a container; none when the runtime does not know it.
    fn container_status(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<ContainerStatus>, Unanswered>> + Send;
    /// The event stream, ending when the runtime ends it. `Ok(None)`: this runtime has none.
    fn events(
        &self,
    ) -> impl Future<Output = Result<Option<BoxStream<'static, Result<Hint, Unanswered>>>, Unanswered>> + Send;
}
