//! What the fake knows of a sandbox and of a container.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::script::Output;
use super::select::Subject;
use crate::v1::{ContainerConfig, ContainerMetadata, ContainerState, PodSandboxConfig, PodSandboxState};

/// When something changed: in the order of all changes, and in tokio's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) seq: u64,
    pub(super) at: Instant,
}

/// A past state of the runtime that a stale list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsOf {
    /// Now.
    Now,
    /// After this many changes.
    Seq(u64),
    /// At this time.
    At(Instant),
}

impl AsOf {
    /// Whether a change made at `mark` had happened by then.
    pub(super) fn has(self, mark: Option<Mark>) -> bool {
        match (self, mark) {
            (_, None) => false,
            (AsOf::Now, Some(_)) => true,
            (AsOf::Seq(seq), Some(mark)) => mark.seq <= seq,
            (AsOf::At(at), Some(mark)) => mark.at <= at,
        }
    }
}

/// A sandbox with its whole configuration.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// As it was asked for.
    pub config: PodSandboxConfig,
    /// Runtime handler as it was asked for.
    pub runtime_handler: String,
    /// Ready or not.
    pub state: PodSandboxState,
    /// Wall nanoseconds.
    pub created_at: i64,
    /// Its address while it is ready and has a network of its own.
    pub ip: Option<Ipv4Addr>,
    pub(super) born: Mark,
    pub(super) downed: Option<Mark>,
    pub(super) removed: Option<Mark>,
}

impl Sandbox {
    pub(super) fn subject(&self) -> Subject {
        Subject::of_sandbox(Some(&self.id), &self.config)
    }

    /// Its state at that time.
    pub(super) fn state_at(&self, as_of: AsOf) -> PodSandboxState {
        if as_of.has(self.downed) { PodSandboxState::SandboxNotready } else { PodSandboxState::SandboxReady }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running {
        /// Wall nanoseconds.
        started_at: i64,
    },
    /// Its process ended, or could not be started.
    Exited {
        /// Wall nanoseconds; 0 if it never ran.
        started_at: i64,
        /// Wall nanoseconds.
        finished_at: i64,
        /// How it ended.
        ending: Ending,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Exit code.
    pub code: i32,
    /// One word: `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: String,
    /// A sentence, mostly empty.
    pub message: String,
}

impl Ending {
    /// An end with this code, with the reason that containerd gives.
    #[must_use]
    pub fn code(code: i32) -> Self {
        let reason = if code == 0 { "Completed" } else { "Error" };
        Self { code, reason: reason.to_owned(), message: String::new() }
    }

    /// Killed for want of memory.
    #[must_use]
    pub fn oom(code: i32) -> Self {
        Self { reason: "OOMKilled".to_owned(), ..Self::code(code) }
    }
}

/// A container with its whole configuration.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// The sandbox that it lives in.
    pub sandbox_id: String,
    /// As it was asked for; resources as they were last updated.
    pub config: ContainerConfig,
    /// Id of its image.
    pub image_id: String,
    /// Digest reference of its image, or its id where it has none.
    pub image_ref: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Wall nanoseconds.
    pub created_at: i64,
    /// Absolute path of its log; empty if it has none.
    pub log_path: String,
    /// What it wrote, oldest first, at most [`MAX_OUTPUTS`] pieces.
    pub output: Vec<Output>,
    pub(super) process: Option<Process>,
    pub(super) pod: Subject,
    pub(super) born: Mark,
    pub(super) started: Option<Mark>,
    pub(super) ended: Option<Mark>,
    pub(super) removed: Option<Mark>,
}

/// Pieces of output kept per container: enough for a test to look at, too few to grow without end.
pub const MAX_OUTPUTS: usize = 1_000;

/// The running process of a container.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// Sent `true` by SIGTERM.
    pub(super) term: watch::Sender<bool>,
    /// Becomes `true` when the container is EXITED.
    pub(super) gone: watch::Sender<bool>,
    /// Ends the task that plays it.
    pub(super) task: Option<AbortHandle>,
    /// Set once it is dead, while the runtime still shows it running.
    pub(super) dying: bool,
}

impl Container {
    /// Name and attempt.
    #[must_use]
    pub fn metadata(&self) -> ContainerMetadata {
        self.config.metadata.clone().unwrap_or_default()
    }

    pub(super) fn subject(&self) -> Subject {
        self.pod.clone().container(Some(&self.id), &self.metadata())
    }

    /// Its state in the terms of the wire.
    #[must_use]
    pub fn state(&self) -> ContainerState {
        match self.phase {
            Phase::Created => ContainerState::ContainerCreated,
            Phase::Running { .. } => ContainerState::ContainerRunning,
            Phase::Exited { .. } => ContainerState::ContainerExited,
        }
    }

    /// Its exit code, once it ended.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match &self.phase {
            Phase::Exited { ending, .. } => Some(ending.code),
            _ => None,
        }
    }

    pub(super) fn state_at(&self, as_of: AsOf) -> ContainerState {
        if as_of.has(self.ended) {
            ContainerState::ContainerExited
        } else if as_of.has(self.started) {
            ContainerState::ContainerRunning
        } else {
            ContainerState::ContainerCreated
        }
    }
}

/// Everything that the fake holds at one moment, ordered by id.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Sandboxes by id.
    pub sandboxes: BTreeMap<String, Sandbox>,
    /// Containers by id.
    pub containers: BTreeMap<String, Container>,
}

impl Snapshot {
    /// Containers of the pod with this UID, by name and attempt.
    #[must_use]
    pub fn containers_of(&self, pod_uid: &str) -> Vec<&Container> {
        let mut found: Vec<_> =
            self.containers.values().filter(|c| c.pod.pod_uid.as_deref() == Some(pod_uid)).collect();
        found.sort_by_key(|container| {
            let metadata = container.metadata();
            (metadata.name, metadata.attempt)
        });
        found
    }

    /// Sandboxes of the pod with this UID, by attempt.
    #[must_use]
    pub fn sandboxes_of(&self, pod_uid: &str) -> Vec<&Sandbox> {
        let of = |sandbox: &&Sandbox| sandbox.config.metadata.as_ref().is_some_and(|m| m.uid == pod_uid);
        let mut found: Vec<_> = self.sandboxes.values().filter(of).collect();
        found.sort_by_key(|sandbox| sandbox.config.metadata.as_ref().map_or(0, |m| m.attempt));
        found
    }

    /// Containers whose process runs.
    #[must_use]
    pub fn running(&self) -> Vec<&Container> {
        self.containers.values().filter(|c| matches!(c.phase, Phase::Running { .. })).collect()
    }
}
