//! What the journal remembers of a pod, and how one entry changes it. Pure: the files are `store`'s business.
//!
//! History and intent, never a second truth: what runs now is always the runtime's word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::source::desired::{DesiredPod, uid_text};

/// How soon an entry must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Within 10 s.
    Lazy,
    /// Within 100 ms.
    Soon,
    /// Before the effect that it announces: written and synced, grouped within 5 ms.
    BeforeEffect,
}

/// How one instance of a container ended. Never changes once recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The runtime's id of the instance.
    pub container_id: String,
    /// Which instance.
    pub attempt: u32,
    /// Exit code.
    pub code: i32,
    /// Reason as the runtime gave it, or `ContainerStatusUnknown`.
    pub reason: String,
    /// Message as the runtime gave it.
    pub message: String,
    /// Wall-clock nanoseconds, 0 if it never started.
    pub started_at: i64,
    /// Wall-clock nanoseconds.
    pub finished_at: i64,
}

/// Restart backoff of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Delay in force.
    pub delay: Duration,
    /// When it was last raised.
    pub updated: Stamp,
}

/// What is remembered of one container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerHistory {
    /// Highest attempt that was ever sent to the runtime.
    pub attempt: Option<u32>,
    /// Image that the latest attempt was made from.
    pub image: Option<String>,
    /// The newest ended instance.
    pub last_exit: Option<Exit>,
    /// Present while restarts are being delayed.
    pub backoff: Option<Backoff>,
    /// When an instance was first known to have run, by the agent's own clocks.
    #[serde(default)]
    pub running: Option<RunningSeen>,
    /// When the newest exit was first seen, by the agent's own clocks.
    #[serde(default)]
    pub exit_seen: Option<Stamp>,
}

/// An instance that was seen running: if it vanishes, its end is unknown, never a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningSeen {
    /// The runtime's id.
    pub container_id: String,
    /// Which instance.
    pub attempt: u32,
}

/// Why a pod is being taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminationCause {
    /// Its manifest or its object is gone.
    Removed,
    /// The API was asked to delete it; its object stays until nothing of it runs.
    Deleted,
    /// Its manifest was replaced: a pod of the same name follows.
    Replaced,
    /// Its deadline (`activeDeadlineSeconds`) passed.
    DeadlineExceeded,
    /// All its work is done, or it was refused.
    Completed,
    /// The runtime holds it, nobody wants it.
    Orphaned,
}

/// A termination that was begun: it goes on after a restart and is never taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// Why.
    pub cause: TerminationCause,
    /// When it began; the grace counts from here.
    pub since: Stamp,
    /// How long containers get between TERM and KILL.
    pub grace: Duration,
    /// A shorter grace was asked for after it began: what is being stopped must be hurried.
    #[serde(default)]
    pub shortened: bool,
}

/// The final word on a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// `Succeeded` or `Failed`.
    pub succeeded: bool,
    /// Status reason, such as `DeadlineExceeded`; empty when containers tell it all.
    pub reason: String,
    /// Status message.
    pub message: String,
}

/// What is remembered of one pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodHistory {
    /// The pod as it was admitted; none for an orphan.
    pub admitted: Option<Arc<DesiredPod>>,
    /// First sight, the status's startTime.
    pub started: Option<Stamp>,
    /// Highest sandbox attempt that was ever sent to the runtime.
    pub sandbox_attempt: Option<u32>,
    /// Highest sandbox attempt that the runtime ever listed: this number is used up.
    #[serde(default)]
    pub sandbox_seen: Option<u32>,
    /// By container name.
    pub containers: BTreeMap<String, ContainerHistory>,
    /// Set once termination began.
    pub termination: Option<Termination>,
    /// Set once the phase is Succeeded or Failed, for ever.
    pub terminal: Option<Terminal>,
}

/// One thing to remember.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The pod.
    #[serde(with = "uid_text")]
    pub uid: PodUid,
    /// What happened.
    pub what: What,
}

/// What happened to a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// Admitted with this spec.
    Admitted {
        /// The spec.
        pod: Arc<DesiredPod>,
        /// When.
        at: Stamp,
    },
    /// A sandbox of this attempt is about to be asked for.
    SandboxAttempt(u32),
    /// The runtime listed a sandbox of this attempt.
    SandboxSeen(u32),
    /// An instance is about to be asked for.
    ContainerAttempt {
        /// Container name.
        name: String,
        /// Attempt.
        attempt: u32,
        /// Image.
        image: String,
    },
    /// An instance was seen running.
    Running {
        /// Container name.
        name: String,
        /// The instance.
        seen: RunningSeen,
    },
    /// An instance ended.
    Exited {
        /// Container name.
        name: String,
        /// How.
        exit: Exit,
        /// When the agent first saw it.
        seen: Stamp,
    },
    /// The delay before the next restart changed; none resets it.
    Backoff {
        /// Container name.
        name: String,
        /// The new delay.
        backoff: Option<Backoff>,
    },
    /// Termination began or its grace became shorter.
    Terminating(Termination),
    /// The phase became terminal.
    Terminal(Terminal),
    /// Nothing of the pod is left and nobody wants it.
    Forgotten,
}

/// Every pod that is remembered.
pub type Histories = BTreeMap<PodUid, PodHistory>;

/// Applies one entry. Replaying the same entries from the start gives the same histories.
pub fn apply(histories: &mut Histories, entry: &Entry) {
    if entry.what == What::Forgotten {
        histories.remove(&entry.uid);
        return;
    }
    histories.entry(entry.uid.clone()).or_default().apply(&entry.what);
}

impl PodHistory {
    /// Applies one thing that happened to this pod; [`What::Forgotten`] is for [`apply`] and changes nothing here.
    pub fn apply(&mut self, what: &What) {
        match what {
            What::Admitted { pod, at } => {
                self.admitted = Some(Arc::clone(pod));
                self.started.get_or_insert_with(|| at.clone());
            }
            What::SandboxAttempt(attempt) => {
                self.sandbox_attempt = self.sandbox_attempt.max(Some(*attempt));
            }
            What::SandboxSeen(attempt) => {
                self.sandbox_seen = self.sandbox_seen.max(Some(*attempt));
            }
            What::ContainerAttempt { name, attempt, image } => {
                let container = self.container(name);
                if container.attempt <= Some(*attempt) {
                    container.attempt = Some(*attempt);
                    container.image = Some(image.clone());
                }
            }
            What::Running { name, seen } => {
                let container = self.container(name);
                let newer = container.running.as_ref().is_none_or(|known| known.attempt <= seen.attempt);
                if newer {
                    container.running = Some(seen.clone());
                    container.attempt = container.attempt.max(Some(seen.attempt));
                }
            }
            What::Exited { name, exit, seen } => self.container(name).exited(exit, seen),
            What::Backoff { name, backoff } => self.container(name).backoff = backoff.clone(),
            What::Terminating(termination) => self.terminate(termination),
            What::Terminal(terminal) => {
                self.terminal.get_or_insert_with(|| terminal.clone());
            }
            What::Forgotten => {}
        }
    }

    fn container(&mut self, name: &str) -> &mut ContainerHistory {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// The first cause stays; the end only ever comes nearer.
    fn terminate(&mut self, new: &Termination) {
        match &mut self.termination {
            Some(running) if new.grace < running.grace => {
                running.since = new.since.clone();
                running.grace = new.grace;
                running.shortened = true;
            }
            Some(_) => {}
            None => self.termination = Some(new.clone()),
        }
    }
}

impl ContainerHistory {
    /// The exit of a given instance is written once; an older instance never replaces a newer one.
    fn exited(&mut self, exit: &Exit, seen: &Stamp) {
        let replaces = self.last_exit.as_ref().is_none_or(|known| known.attempt < exit.attempt);
        if replaces {
            self.last_exit = Some(exit.clone());
            self.exit_seen = Some(seen.clone());
        }
        self.attempt = self.attempt.max(Some(exit.attempt));
    }
}
