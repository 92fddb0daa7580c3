//! A step on its way to the runtime and back: what it is carried out with, what it achieved, why it failed. Values.

use std::net::IpAddr;
use std::sync::Arc;

use pinnace_cri::error::Error;
use pinnace_cri::id::{PodUid, SandboxId};
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::events::Object;
use crate::journal::history::Entry;
use crate::pod::paths::PodNames;
use crate::pod::slots::Order;
use crate::pod::step::Step;
use crate::source::desired::DesiredPod;
use crate::supervise::WorkerPanic;

/// A step with all that it needs.
#[derive(Debug, Clone)]
pub struct Job {
    /// The step.
    pub step: Step,
    /// The pod; none for one that only the runtime knows.
    pub pod: Option<Arc<DesiredPod>>,
    /// Its UID.
    pub uid: PodUid,
    /// Its names; none if no path may be made of them.
    pub names: Option<PodNames>,
    /// The pod, as events name it.
    pub object: Object,
    /// Place in the line for slots.
    pub place: Order,
    /// Cancelled when the pod is to go: nothing further is started.
    pub leaving: CancellationToken,
    /// Addresses of the sandbox that the step is in; empty where there is none, or it has none.
    pub ips: Vec<IpAddr>,
    /// No instance was asked for yet: the pod is starting for the first time.
    pub first: bool,
    /// What must be on disk before the step.
    pub before: Vec<Entry>,
}

impl Job {
    /// One of the pod's containers, as events name it.
    #[must_use]
    pub fn container(&self, name: &str) -> Object {
        self.pod.as_ref().map_or_else(|| self.object.clone(), |pod| self.object.container(&pod.pod, name))
    }
}

/// What a step achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Something changed in the runtime; a look will show it.
    Changed,
    /// The sandbox is down, its network included.
    SandboxStopped(SandboxId),
    /// The image is there.
    Image {
        /// For this container.
        name: String,
        /// For this instance.
        attempt: u32,
        /// How the runtime names it.
        image_ref: String,
    },
    /// The pod's volumes are mounted and whole.
    VolumesReady,
    /// The pod's volumes are taken down.
    VolumesGone,
    /// The pod's files are gone.
    TracesGone,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Waiting reason in the kubelet's words; empty where there is none.
    pub reason: &'static str,
    /// The whole chain of errors.
    pub message: String,
    /// Its effect may come about all the same.
    pub in_doubt: bool,
    /// The runtime refused the name as taken: an earlier create of this very attempt is under way there.
    pub reserved: bool,
    /// The instance is made; it was starting it that failed. Seeing it there answers no doubt.
    pub made: bool,
    /// Something that the pod refers to was not there or could not be asked for: a word on it is a reason to try again.
    pub awaits_objects: bool,
}

impl Failure {
    /// A call that the runtime did not answer with success; `creates` if it makes something.
    pub(crate) fn call(reason: &'static str, creates: bool, error: &Error) -> Self {
        let in_doubt = creates && !error.is_definite();
        let reserved = creates && error.is_name_reserved();
        Self { in_doubt, reserved, ..Self::plain(reason, Chain(error).to_string()) }
    }

    /// A bug of ours ended the call: whether it took effect is open.
    pub(crate) fn panicked(panic: &WorkerPanic) -> Self {
        Self { in_doubt: true, ..Self::plain("", panic.to_string()) }
    }

    /// A failure that committed nothing.
    pub(crate) fn plain(reason: &'static str, message: String) -> Self {
        Self { reason, message, in_doubt: false, reserved: false, made: false, awaits_objects: false }
    }

    /// The same, of what was made from objects that the pod refers to.
    pub(crate) fn of_objects(reason: &'static str, message: String) -> Self {
        Self { awaits_objects: true, ..Self::plain(reason, message) }
    }
}
