//! What sandboxes and containers have in common for a draft, and which of their states may follow which. Pure.

use std::fmt::Display;
use std::sync::Arc;

use pinnace_cri::container::{Container, ContainerState, ContainerStatus};
use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_cri::sandbox::{Sandbox, SandboxState, SandboxStatus};

/// How one state relates to the one known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// No change.
    Same,
    /// A later state of a one-way life: true whoever says it first.
    Forward,
    /// Either may follow the other: the newer observation is right.
    Either,
    /// An earlier state of a one-way life: an old answer, or a wrong one.
    Backward,
}

/// A list record with an inspection of its own.
pub(crate) trait Object: Clone + PartialEq {
    /// The runtime's id.
    type Id: Clone + Ord + Display;
    /// Where it is in its life.
    type State: Copy + PartialEq;
    /// The answer of its inspection.
    type Status;

    fn id(&self) -> &Self::Id;
    fn attempt(&self) -> u32;
    fn state(&self) -> Self::State;
    fn with_state(&self, state: Self::State) -> Self;
    fn answered(status: &Self::Status) -> (&Self::Id, Self::State);
    fn step(from: Self::State, to: Self::State) -> Step;
}

impl Object for Sandbox {
    type Id = SandboxId;
    type State = SandboxState;
    type Status = SandboxStatus;

    fn id(&self) -> &SandboxId {
        &self.id
    }
    fn attempt(&self) -> u32 {
        self.attempt
    }
    fn state(&self) -> SandboxState {
        self.state
    }
    fn with_state(&self, state: SandboxState) -> Self {
        Self { state, ..self.clone() }
    }
    fn answered(status: &SandboxStatus) -> (&SandboxId, SandboxState) {
        (&status.id, status.state)
    }
    fn step(from: SandboxState, to: SandboxState) -> Step {
        if from == to { Step::Same } else { Step::Either }
    }
}

impl Object for Container {
    type Id = ContainerId;
    type State = ContainerState;
    type Status = ContainerStatus;

    fn id(&self) -> &ContainerId {
        &self.id
    }
    fn attempt(&self) -> u32 {
        self.attempt
    }
    fn state(&self) -> ContainerState {
        self.state
    }
    fn with_state(&self, state: ContainerState) -> Self {
        Self { state, ..self.clone() }
    }
    fn answered(status: &ContainerStatus) -> (&ContainerId, ContainerState) {
        (&status.id, status.state)
    }
    fn step(from: ContainerState, to: ContainerState) -> Step {
        match (age(from), age(to)) {
            _ if from == to => Step::Same,
            (Some(from), Some(to)) if to > from => Step::Forward,
            (Some(_), Some(_)) => Step::Backward,
            _ => Step::Either,
        }
    }
}

/// Place in the one-way life; none for a state that says nothing about it.
fn age(state: ContainerState) -> Option<u8> {
    match state {
        ContainerState::Created => Some(0),
        ContainerState::Running => Some(1),
        ContainerState::Exited => Some(2),
        ContainerState::Unknown => None,
    }
}

/// What an object in a draft still needs before the draft can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    Nothing,
    /// Its inspection.
    Inspection,
    /// A second opinion: a list left it out.
    Confirmation(Absence),
}

/// A list left an object out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absence {
    /// Begin of the first list that did.
    pub(crate) since: u64,
    /// A list that began later did, too.
    pub(crate) again: bool,
    /// Its status was asked for and did not come.
    pub(crate) erred: bool,
    /// Too many vanished at once: a second list comes before any status.
    pub(crate) held: bool,
}

/// An object in a draft.
#[derive(Debug, Clone)]
pub(crate) struct Held<O: Object> {
    pub(crate) record: Arc<O>,
    /// Place among all that were ever seen.
    pub(crate) order: u64,
    /// Begin of the newest observation that changed it.
    pub(crate) seen: u64,
    /// An answer of the same state as the record.
    pub(crate) status: Option<Arc<O::Status>>,
    pub(crate) need: Need,
    /// Whether its status is being asked for.
    pub(crate) asked: bool,
}

impl<O: Object> Held<O> {
    pub(crate) fn new(record: Arc<O>, order: u64, seen: u64) -> Self {
        Self { record, order, seen, status: None, need: Need::Inspection, asked: false }
    }

    /// Whether a status call may start.
    pub(crate) fn wants_status(&self) -> bool {
        let wanted = match self.need {
            Need::Nothing => false,
            Need::Inspection => true,
            Need::Confirmation(absence) => !absence.held,
        };
        wanted && !self.asked
    }

    /// Keeps the status only while it is of the record's state.
    pub(crate) fn drop_stale_status(&mut self) {
        let fits = |status: &Arc<O::Status>| O::answered(status).1 == self.record.state();
        if !self.status.as_ref().is_some_and(fits) {
            self.status = None;
        }
        self.need = if self.status.is_some() { Need::Nothing } else { Need::Inspection };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContainerState::{Created, Exited, Running, Unknown};

    #[test]
    fn a_container_only_grows_older() {
        for (from, to, step) in [
            (Created, Running, Step::Forward),
            (Created, Exited, Step::Forward),
            (Running, Exited, Step::Forward),
            (Exited, Running, Step::Backward),
            (Running, Created, Step::Backward),
            (Unknown, Running, Step::Either),
            (Exited, Unknown, Step::Either),
            (Running, Running, Step::Same),
        ] {
            assert_eq!(Container::step(from, to), step, "{from:?} to {to:?}");
        }
    }
}
