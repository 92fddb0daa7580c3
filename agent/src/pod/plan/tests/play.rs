//! A worker without its waits, against the model: each pass observes, plans and does the steps, with faults.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use pinnace_cri::container::ContainerState;
use pinnace_cri::sandbox::SandboxState;

use super::model::{Model, refused};
use crate::clock::{BootTime, Now};
use crate::journal::history::{PodHistory, TerminationCause, What};
use crate::pod::job::{Done, Failure};
use crate::pod::mind::{Around, Mind, Pace};
use crate::pod::plan::{Plan, Rest, Wish};
use crate::pod::step::{Key, Step};
use crate::source::desired::DesiredPod;

/// What becomes of a step.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// It fails, and nothing is done.
    Refused,
    /// It is done or not, and the answer is lost.
    Lost { effect: bool },
    /// The answer is lost, and it is done after so many passes.
    Late(u32),
    /// It is done and answered after so many passes.
    Slow(u32),
    /// An instance is made and not started; whether it was is in doubt or not.
    Half { in_doubt: bool },
}

/// A step that the runtime is still at.
#[derive(Debug)]
struct Pending {
    passes: u32,
    step: Step,
    /// Somebody waits for the answer.
    awaited: bool,
}

/// A worker without its waits.
pub(super) struct Play {
    pub(super) model: Model,
    pub(super) mind: Mind,
    pod: DesiredPod,
    wish: Wish,
    /// No older pod of the same name is left.
    pub(super) alone: bool,
    /// What becomes of the next steps; those after them work at once.
    pub(super) faults: VecDeque<Fault>,
    pending: Vec<Pending>,
    seconds: u64,
    sequence: u64,
}

impl Play {
    pub(super) fn new(pod: DesiredPod) -> Self {
        let (model, mind) = (Model::default(), Mind::new(PodHistory::default()));
        let (faults, pending) = (VecDeque::new(), Vec::new());
        Self { model, mind, pod, wish: Wish::Run, alone: true, faults, pending, seconds: 1_000, sequence: 1 }
    }

    fn now(&self) -> Now {
        let boot = BootTime { boot_id: "b".into(), millis: self.seconds * 1_000 };
        let wall = Timestamp::from_second(1_000_000 + i64::try_from(self.seconds).unwrap()).unwrap();
        Now { boot, wall }
    }

    /// The agent dies and starts again: nobody waits for the calls under way any more.
    pub(super) fn restart(&mut self) {
        self.mind = Mind::new(self.mind.history.clone());
        self.pending.iter_mut().for_each(|pending| pending.awaited = false);
    }

    /// One pass: observes, plans, does the steps. Time goes on by what the plan waits for.
    pub(super) fn pass(&mut self) -> Plan {
        self.sequence += 1;
        self.go_on();
        let (seen, now) = (self.model.observed(), self.now());
        self.mind.observe(self.sequence);
        self.mind.forget_overtaken(seen.as_ref());
        let (pod, wish) = (self.pod.clone(), self.wish.clone());
        let around = Around {
            wish: &wish,
            pod: Some(&pod),
            seen: seen.as_ref(),
            alone: self.alone,
            network_ready: true,
            backoff_cap: Duration::from_secs(300),
            now: &now,
        };
        let plan = loop {
            let plan = self.mind.plan(around);
            assert_eq!(plan, self.mind.plan(around), "planning twice differs");
            if plan.notes.is_empty() {
                break plan;
            }
            assert!(plan.steps.is_empty(), "notes and steps at once");
            plan.notes.iter().for_each(|note| self.mind.remember(note));
        };
        self.assert_sound(&plan);
        for step in &plan.steps {
            self.announce(step, &around);
            self.mind.begin(step);
        }
        let again = self.mind.plan(around);
        assert!(
            again.steps.is_empty() && again.notes.is_empty(),
            "steps under way are planned again: {again:?}"
        );
        for step in &plan.steps {
            if let Some(result) = self.perform(step) {
                self.mind.settle(step, &result, self.sequence, &Pace::default(), &now);
            }
        }
        self.seconds += plan.due().map_or(0, |due| due.as_secs().max(1));
        self.assert_single();
        plan
    }

    /// What the runtime was still at goes on, and is done in the end.
    fn go_on(&mut self) {
        self.pending.iter_mut().for_each(|pending| pending.passes = pending.passes.saturating_sub(1));
        let over = |pending: &Pending| pending.passes == 0;
        let (done, pending): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending).into_iter().partition(over);
        self.pending = pending;
        for Pending { step, awaited, .. } in done {
            let result = self.model.apply(&step, &self.mind.history);
            if awaited {
                self.mind.settle(&step, &result, self.sequence - 1, &Pace::default(), &self.now());
            }
        }
    }

    /// What the runtime makes of a step; nothing if it does not answer yet.
    fn perform(&mut self, step: &Step) -> Option<Result<Done, Failure>> {
        if step.creates() && self.pending.iter().any(|pending| pending.step.key() == step.key()) {
            // A name is taken from the moment that its create begins.
            return Some(Err(Failure { in_doubt: true, reserved: true, ..refused() }));
        }
        let history = &self.mind.history;
        let lost = Failure { in_doubt: step.creates(), ..refused() };
        match self.faults.pop_front() {
            None => Some(self.model.apply(step, history)),
            Some(Fault::Refused) => Some(Err(refused())),
            Some(Fault::Lost { effect }) => {
                let effect = effect.then(|| self.model.apply(step, history));
                Some(Err(effect.and_then(Result::err).unwrap_or(lost)))
            }
            Some(Fault::Late(passes)) if step.creates() => {
                self.pending.push(Pending { passes, step: step.clone(), awaited: false });
                Some(Err(lost))
            }
            Some(Fault::Slow(passes)) if step.creates() => {
                self.pending.push(Pending { passes, step: step.clone(), awaited: true });
                None
            }
            Some(Fault::Half { in_doubt }) if matches!(step, Step::StartContainer { .. }) => {
                let made = self.model.half(step);
                Some(made.and_then(|_| Err(Failure { in_doubt, made: true, ..refused() })))
            }
            Some(Fault::Late(_) | Fault::Slow(_) | Fault::Half { .. }) => Some(Err(refused())),
        }
    }

    /// What no plan may ask for, whatever has happened.
    fn assert_sound(&self, plan: &Plan) {
        let keys: BTreeSet<Key> = plan.steps.iter().map(Step::key).collect();
        assert_eq!(keys.len(), plan.steps.len(), "two steps of one key: {:?}", plan.steps);
        let creates = plan.steps.iter().filter(|step| step.creates()).count();
        assert!(creates <= 1, "two creates: {:?}", plan.steps);
        assert!(self.alone || creates == 0, "the older pod is not gone yet: {:?}", plan.steps);
        let awaited = |step: &Step| {
            self.pending.iter().any(|pending| pending.awaited && pending.step.key() == step.key())
        };
        assert!(!plan.steps.iter().any(awaited), "a call under way is made again: {:?}", plan.steps);
        if self.wish == Wish::Run && self.mind.history.termination.is_none() {
            let unwanted = |step: &Step| !self.ends_what_is_wanted(step);
            assert!(plan.steps.iter().all(unwanted), "ends what is wanted: {:?}", plan.steps);
        }
    }

    /// Whether a step ends the newest sandbox while it is up, or the newest instance of a container in it.
    fn ends_what_is_wanted(&self, step: &Step) -> bool {
        let Some(seen) = self.model.observed() else { return false };
        let newest = seen.newest_sandbox().filter(|newest| newest.record.state == SandboxState::Ready);
        let Some(newest) = newest.map(|newest| &newest.record.id) else { return false };
        match step {
            Step::StopSandbox { id } | Step::RemoveSandbox { id } => id == newest,
            Step::StopContainer { name, id, .. } | Step::RemoveContainer { name, id, .. } => seen
                .newest_container(name)
                .is_some_and(|last| last.record.id == *id && last.record.sandbox_id == *newest),
            _ => false,
        }
    }

    fn announce(&mut self, step: &Step, around: &Around<'_>) {
        match step {
            Step::RunSandbox { attempt } => self.mind.remember(&What::SandboxAttempt(*attempt)),
            Step::StartContainer { name, attempt, .. } => {
                let backoff = self.mind.backoff_of_start(name, *attempt, around);
                let (name, image) = (name.clone(), "i".to_owned());
                self.mind.remember(&What::ContainerAttempt { name: name.clone(), attempt: *attempt, image });
                if backoff.is_some() {
                    self.mind.remember(&What::Backoff { name, backoff });
                }
            }
            _ => {}
        }
    }

    fn assert_single(&self) {
        let running = |name: &str| {
            let all = self.model.containers.iter();
            all.filter(|c| c.record.name == name && c.record.state == ContainerState::Running).count()
        };
        for name in ["a", "b", "c"] {
            assert!(running(name) <= 1, "two of {name} run");
        }
    }

    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Self, &Plan) -> bool) {
        for _ in 0..400 {
            let plan = self.pass();
            if done(self, &plan) {
                return;
            }
        }
        panic!("not within 400 passes: {what}; the last plan was {:?}", self.pass());
    }

    pub(super) fn running(&self) -> usize {
        self.model.containers.iter().filter(|c| c.record.state == ContainerState::Running).count()
    }

    /// The faults are over; what the runtime is still at comes to its end.
    pub(super) fn mend(&mut self) {
        self.faults.clear();
        self.until("nothing is under way", |play, _| play.pending.is_empty());
    }

    pub(super) fn leave(&mut self) {
        self.wish = Wish::Gone(TerminationCause::Removed);
        self.until("vanished", |_, plan| plan.rest == Rest::Vanished);
        assert!(self.model.sandboxes.is_empty() && self.model.containers.is_empty() && !self.model.traces);
    }
}
