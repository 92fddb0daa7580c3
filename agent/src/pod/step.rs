//! The steps that a plan is made of, and the keys by which one is found busy or backing off.

use std::fmt;
use std::time::Duration;

use pinnace_cri::id::{ContainerId, SandboxId};

/// One thing to do for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a sandbox.
    RunSandbox {
        /// Its attempt.
        attempt: u32,
    },
    /// Stop a sandbox: its containers and its network end.
    StopSandbox {
        /// Which.
        id: SandboxId,
    },
    /// Remove a stopped sandbox.
    RemoveSandbox {
        /// Which.
        id: SandboxId,
    },
    /// See that the image of a container is there, pulling it if the policy says so.
    EnsureImage {
        /// Container name.
        name: String,
        /// The instance that it is for.
        attempt: u32,
    },
    /// See that the pod's volumes are mounted and whole.
    SetUpVolumes,
    /// Create and start an instance.
    StartContainer {
        /// Container name.
        name: String,
        /// Its attempt.
        attempt: u32,
        /// The sandbox to start it in.
        sandbox: SandboxId,
        /// The sandbox's attempt.
        sandbox_attempt: u32,
        /// The image, as the runtime names it.
        image_ref: String,
    },
    /// Start an instance that was created and not started.
    StartCreated {
        /// Container name.
        name: String,
        /// Its attempt.
        attempt: u32,
        /// Which.
        id: ContainerId,
    },
    /// Stop an instance: TERM, then KILL after the grace.
    StopContainer {
        /// Container name.
        name: String,
        /// Which.
        id: ContainerId,
        /// Time between the two.
        grace: Duration,
        /// Why, as the event tells it.
        why: &'static str,
    },
    /// Stop an instance sooner than the stop that is under way would.
    HurryContainer {
        /// Container name.
        name: String,
        /// Which.
        id: ContainerId,
        /// Time until KILL.
        grace: Duration,
        /// The pod's grace that asks for it: each shorter one is a stop of its own.
        within: Duration,
    },
    /// Remove an ended instance and its log.
    RemoveContainer {
        /// Container name.
        name: String,
        /// Which.
        id: ContainerId,
        /// Its attempt.
        attempt: u32,
    },
    /// Unmount the pod's volumes.
    TearDownVolumes,
    /// Remove the pod's directories and logs.
    RemoveTraces,
}

/// What a step works on. One step per key is in flight at a time, and errors back off by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Making the pod's sandbox.
    Sandbox,
    /// Stopping or removing a sandbox.
    SandboxEnd(SandboxId),
    /// The image of a container.
    Image(String),
    /// Setting up the pod's volumes.
    Volumes,
    /// Taking the pod's volumes down.
    VolumesEnd,
    /// Creating and starting an instance of a container.
    Start(String),
    /// Stopping an instance.
    Stop(ContainerId),
    /// Stopping it sooner, within a grace of the pod.
    Hurry(ContainerId, Duration),
    /// Removing an instance.
    Remove(ContainerId),
    /// The pod's files.
    Traces,
}

impl Step {
    /// What the step works on.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::RunSandbox { .. } => Key::Sandbox,
            Self::StopSandbox { id } | Self::RemoveSandbox { id } => Key::SandboxEnd(id.clone()),
            Self::EnsureImage { name, .. } => Key::Image(name.clone()),
            Self::StartContainer { name, .. } | Self::StartCreated { name, .. } => Key::Start(name.clone()),
            Self::StopContainer { id, .. } => Key::Stop(id.clone()),
            Self::HurryContainer { id, within, .. } => Key::Hurry(id.clone(), *within),
            Self::RemoveContainer { id, .. } => Key::Remove(id.clone()),
            Self::SetUpVolumes => Key::Volumes,
            Self::TearDownVolumes => Key::VolumesEnd,
            Self::RemoveTraces => Key::Traces,
        }
    }

    /// Whether it takes a pod down: those go first, and have work slots of their own.
    #[must_use]
    pub fn is_teardown(&self) -> bool {
        match self {
            Self::RunSandbox { .. }
            | Self::EnsureImage { .. }
            | Self::SetUpVolumes
            | Self::StartContainer { .. }
            | Self::StartCreated { .. } => false,
            Self::StopSandbox { .. }
            | Self::RemoveSandbox { .. }
            | Self::StopContainer { .. }
            | Self::HurryContainer { .. }
            | Self::RemoveContainer { .. }
            | Self::TearDownVolumes
            | Self::RemoveTraces => true,
        }
    }

    /// Whether the runtime shows what came of it, so that the plan after it needs a fresh look.
    #[must_use]
    pub fn shows_in_runtime(&self) -> bool {
        !matches!(self, Self::EnsureImage { .. } | Self::SetUpVolumes | Self::TearDownVolumes)
    }

    /// Whether it makes something in the runtime, so that a lost reply leaves its effect in doubt.
    #[must_use]
    pub fn creates(&self) -> bool {
        matches!(self, Self::RunSandbox { .. } | Self::StartContainer { .. } | Self::StartCreated { .. })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunSandbox { attempt } => write!(out, "run sandbox (attempt {attempt})"),
            Self::StopSandbox { id } => write!(out, "stop sandbox {}", short(id.as_str())),
            Self::RemoveSandbox { id } => write!(out, "remove sandbox {}", short(id.as_str())),
            Self::EnsureImage { name, .. } => write!(out, "get the image of container {name}"),
            Self::StartContainer { name, attempt, .. } => {
                write!(out, "start container {name} (attempt {attempt})")
            }
            Self::StartCreated { name, id, .. } => {
                write!(out, "start created container {name} {}", short(id.as_str()))
            }
            Self::StopContainer { name, grace, .. } => {
                write!(out, "stop container {name} (grace {} s)", grace.as_secs())
            }
            Self::HurryContainer { name, grace, .. } => {
                write!(out, "stop container {name} sooner (grace {} s)", grace.as_secs())
            }
            Self::RemoveContainer { name, attempt, .. } => {
                write!(out, "remove container {name} (attempt {attempt})")
            }
            Self::SetUpVolumes => out.write_str("set up the pod's volumes"),
            Self::TearDownVolumes => out.write_str("take down the pod's volumes"),
            Self::RemoveTraces => out.write_str("remove the pod's directories and logs"),
        }
    }
}

/// The first 12 characters of a runtime id, as crictl shows it.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
