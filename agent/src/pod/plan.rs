//! What to do next for one pod. Pure: (wish, history, observation, what is under way, now) → steps and waits.
//!
//! Two decisions follow one another in every pass. [`notice::notice`] says what the observation adds to the
//! history; once the history has it, [`plan`] says what to do. Planning twice on one input plans the same, and
//! planning after the steps took effect plans nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use pinnace_cri::id::SandboxId;
use pinnace_pleg::snapshot::{ContainerSeen, PodObserved, SandboxSeen};

use crate::clock::Now;
use crate::journal::history::{PodHistory, TerminationCause, What};
use crate::pod::step::{Key, Step};
use crate::source::desired::DesiredPod;

pub mod containers;
pub mod notice;
pub mod running;
mod surplus;
pub mod terminating;

/// What the sources want of the pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// It shall run.
    Run,
    /// It shall run once this node can take it, for which it waits for this.
    Wait(String),
    /// This node does not take it.
    Refused {
        /// Reason of its status.
        reason: String,
        /// Message of its event.
        message: String,
    },
    /// It ran, and has to end for the node's or another pod's sake.
    Evicted {
        /// Reason of its status.
        reason: String,
        /// Message of its status.
        message: String,
    },
    /// It shall go, with everything that it has.
    Gone(TerminationCause),
}

/// What is known of the image of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// It is there for this instance.
    Ready {
        /// The instance.
        attempt: u32,
        /// How the runtime names it.
        image_ref: String,
    },
}

/// How far the pod's volumes are, as far as this run of the agent knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VolumesState {
    /// Neither set up nor taken down by this run: an earlier one may have done either.
    #[default]
    Unknown,
    /// Mounted and whole.
    Ready,
    /// Taken down.
    Gone,
}

/// A step that failed and is not to be tried before a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How often in a row.
    pub failures: u32,
    /// What is left of the delay.
    pub left: Duration,
    /// The effect is in doubt: only two observations begun after the failure prove an absence.
    pub in_doubt: bool,
    /// Waiting reason in the kubelet's words, such as `ErrImagePull`.
    pub reason: String,
    /// The error.
    pub message: String,
}

/// Everything that a plan depends on.
#[derive(Debug)]
pub struct Input<'a> {
    /// What the sources want.
    pub wish: &'a Wish,
    /// The spec; none for a pod that only the runtime knows.
    pub pod: Option<&'a DesiredPod>,
    /// What is remembered.
    pub history: &'a PodHistory,
    /// What the runtime holds; none when it holds nothing of this pod.
    pub seen: Option<&'a PodObserved>,
    /// The observation began after the pod's last action ended.
    pub fresh: bool,
    /// How many observations began after the pod's last action ended.
    pub looks: u32,
    /// The pod was observed before, in this life of the agent: what is new has just happened.
    pub watching: bool,
    /// Images by container name.
    pub images: &'a BTreeMap<String, Image>,
    /// The pod's volumes.
    pub volumes: VolumesState,
    /// Sandboxes that the runtime confirmed as stopped.
    pub stopped: &'a BTreeSet<SandboxId>,
    /// Keys of the steps in flight.
    pub busy: &'a BTreeSet<Key>,
    /// Keys of steps that succeeded and whose effect no observation shows yet.
    pub unseen: &'a BTreeSet<Key>,
    /// Keys that failed lately.
    pub retry: &'a BTreeMap<Key, Retry>,
    /// The directories and logs of the pod were removed.
    pub traces_gone: bool,
    /// No older pod of the same name is left.
    pub alone: bool,
    /// The runtime can attach pods to the network.
    pub network_ready: bool,
    /// Longest crash-loop delay.
    pub backoff_cap: Duration,
    /// The time.
    pub now: &'a Now,
}

impl Wish {
    /// Nothing shall be started for it, or no more.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Evicted { .. } | Self::Gone(_))
    }

    /// Nobody wants it any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
}

impl<'a> Input<'a> {
    /// The pod's containers in the runtime.
    #[must_use]
    pub fn containers(&self) -> &'a [ContainerSeen] {
        self.seen.map(|seen| seen.containers.as_slice()).unwrap_or_default()
    }

    /// The pod's sandboxes in the runtime, highest attempt first.
    #[must_use]
    pub fn sandboxes(&self) -> &'a [SandboxSeen] {
        self.seen.map(|seen| seen.sandboxes.as_slice()).unwrap_or_default()
    }
}

/// Something that a pod waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The step that cannot go on.
    pub step: String,
    /// What it waits for.
    pub waiting_for: String,
    /// When time alone resolves it.
    pub left: Option<Duration>,
}

/// Where a pod has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rest {
    /// There is, or may be, something to do or to wait for.
    #[default]
    Working,
    /// Nothing to do until something changes.
    Settled,
    /// Nothing of it is left on this node; the API's object, or the journal's memory, still is.
    Emptied,
    /// Nothing of it is left anywhere: the worker ends.
    Vanished,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// What to remember before anything else; if not empty, there are no steps.
    pub notes: Vec<What>,
    /// What to do now, independent of one another.
    pub steps: Vec<Step>,
    /// What is waited for.
    pub waits: Vec<Wait>,
    /// When to look again whatever else happens: the pod's deadline.
    pub alarm: Option<Duration>,
    /// Where the pod has got to.
    pub rest: Rest,
}

impl Plan {
    /// A plan that only remembers.
    #[must_use]
    pub fn noting(notes: Vec<What>) -> Self {
        Self { notes, ..Self::default() }
    }

    /// A plan that only waits.
    #[must_use]
    pub fn waiting(wait: Wait) -> Self {
        Self { waits: vec![wait], ..Self::default() }
    }

    pub(crate) fn add(&mut self, wait: Wait) {
        // The earliest end by time must not be lost, else nothing would wake the pod.
        if self.waits.len() < MOST_AT_ONCE || wait.left.is_some() {
            self.waits.push(wait);
        }
    }

    /// The earliest moment at which time alone changes the plan.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.waits.iter().filter_map(|wait| wait.left).chain(self.alarm).min()
    }
}

impl Wait {
    /// A wait that an event ends.
    pub fn on(step: impl Into<String>, waiting_for: impl Into<String>) -> Self {
        Self { step: step.into(), waiting_for: waiting_for.into(), left: None }
    }

    /// A wait that time ends.
    pub fn until(step: impl Into<String>, waiting_for: impl Into<String>, left: Duration) -> Self {
        Self { step: step.into(), waiting_for: waiting_for.into(), left: Some(left) }
    }
}

/// Decides. The order is fixed: what was seen is remembered first, a begun termination is never taken back,
/// a wish to go comes before everything that would start.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let noticed = notice::notice(input);
    if !noticed.is_empty() {
        return Plan::noting(noticed);
    }
    if input.history.termination.is_some() {
        return terminating::plan(input);
    }
    let begun = terminating::begin(input);
    if !begun.is_empty() {
        return Plan::noting(begun);
    }
    if let Wish::Wait(waiting_for) = input.wish {
        return Plan::waiting(Wait::on("admit", waiting_for));
    }
    match input.pod {
        Some(pod) => Plan { alarm: running::deadline_left(input, pod), ..running::plan(input, pod) },
        None => Plan::waiting(Wait::on("decide", "a source to say what this pod is")),
    }
}

/// Steps of one pod under way at once, and waits that are told. A pod of the API has far fewer objects; one that a
/// broken runtime shows with thousands is worked off in turns.
const MOST_AT_ONCE: usize = 64;

/// Adds a step unless its key is busy or backing off; what keeps it is a wait.
pub(crate) fn offer(input: &Input<'_>, plan: &mut Plan, step: Step) {
    let full = plan.steps.len().saturating_add(input.busy.len()) >= MOST_AT_ONCE;
    let full = || full.then(|| Wait::on(step.to_string(), "other steps of the pod to end"));
    match held_up(input, &step.key(), &step).or_else(full) {
        Some(wait) => plan.add(wait),
        None => plan.steps.push(step),
    }
}

/// What keeps the step of a key for now, if anything does.
pub(crate) fn held_up(input: &Input<'_>, key: &Key, step: &dyn Display) -> Option<Wait> {
    let retry = input.retry.get(key);
    if input.busy.contains(key) {
        return Some(Wait::on(step.to_string(), "the runtime to answer"));
    }
    if input.unseen.contains(key) {
        return Some(Wait::on(step.to_string(), "a look at the runtime begun after it was done"));
    }
    match retry {
        Some(retry) if !retry.left.is_zero() => {
            Some(Wait::until(step.to_string(), retry.message.clone(), retry.left))
        }
        Some(retry) if retry.in_doubt && input.looks < 2 => {
            Some(Wait::on(step.to_string(), "two looks at the runtime: the last try may have worked"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod volume_tests;
