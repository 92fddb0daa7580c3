//! What a pod's worker holds between passes: the history and what is under way. Pure but for its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pinnace_cri::container::ContainerState;
use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_pleg::snapshot::PodObserved;

use crate::clock::{Now, Stamp};
use crate::journal::history::{Backoff, PodHistory, What};
use crate::pod::backoff::{self, Restart};
use crate::pod::job::{Done, Failure};
use crate::pod::plan::{Image, Input, Retry, VolumesState, Wish};
use crate::pod::step::{Key, Step};
use crate::source::desired::DesiredPod;
use crate::wait::doubled;

/// How failed steps are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Delay after the first failure of a step; doubles with each.
    pub retry: Duration,
    /// Longest delay of a step. Short enough that a pod goes on within 30 s of a fault's end.
    pub retry_cap: Duration,
    /// Delay after the runtime first called the name of a create reserved. What a client that died had begun is
    /// finished or rolled back within seconds.
    pub reserved: Duration,
    /// Delay after each further refusal: the create under way is a slow one, and its end shows without being asked
    /// for. 4 min, twice what any create may take before its client gives up on it.
    pub reserved_again: Duration,
    /// The same for image pulls: 10 s to 300 s as the kubelet's.
    pub pull: Duration,
    /// Longest delay of an image pull.
    pub pull_cap: Duration,
    /// The same for setting up volumes: 500 ms as the kubelet's (`pkg/util/goroutinemap/exponentialbackoff`).
    pub volumes: Duration,
    /// Longest delay of setting up volumes: 10 s, where the kubelet's is 2 min 2 s. Mostly it is the API server that was
    /// away, or an object that was made late, and a pod should not wait for minutes after that.
    pub volumes_cap: Duration,
    /// Longest crash-loop delay.
    pub backoff_cap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(1),
            retry_cap: Duration::from_secs(20),
            reserved: Duration::from_secs(10),
            reserved_again: Duration::from_secs(240),
            pull: Duration::from_secs(10),
            pull_cap: Duration::from_secs(300),
            volumes: Duration::from_millis(500),
            volumes_cap: Duration::from_secs(10),
            backoff_cap: crate::pod::backoff::CAP,
        }
    }
}

/// Delay of what failed for want of an object, once there is word of one: whoever writes several objects, or one again
/// and again, does not make the pod try more often.
const AFTER_WORD: Duration = Duration::from_millis(250);

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failed {
    at: Stamp,
    delay: Duration,
    failures: u32,
    failure: Failure,
}

/// The worker's state.
#[derive(Debug, Clone, Default)]
pub struct Mind {
    /// What the journal remembers of the pod, and what was added since.
    pub history: PodHistory,
    images: BTreeMap<String, Image>,
    volumes: VolumesState,
    stopped: BTreeSet<SandboxId>,
    busy: BTreeSet<Key>,
    failed: BTreeMap<Key, Failed>,
    /// Steps under way during which there was word of an object: they may have read it before.
    overtaken: BTreeSet<Key>,
    /// Words on the pod's objects that were taken note of.
    words: u64,
    /// Steps that succeeded since the last observation that shows every effect.
    unseen: BTreeSet<Key>,
    /// Observations begun after the last action ended: which was the last, and how many.
    seen_at: u64,
    looks: u32,
    /// The sequence when the last action ended.
    acted_at: u64,
    traces_gone: bool,
    /// An earlier pass had a fresh observation: what is new now has just happened.
    watching: bool,
}

/// What a pass knows beside the worker's state.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// What the sources want.
    pub wish: &'a Wish,
    /// The spec.
    pub pod: Option<&'a DesiredPod>,
    /// What the runtime holds.
    pub seen: Option<&'a PodObserved>,
    /// No older pod of the same name is left.
    pub alone: bool,
    /// The runtime's network is up.
    pub network_ready: bool,
    /// Longest crash-loop delay.
    pub backoff_cap: Duration,
    /// The time.
    pub now: &'a Now,
}

impl Mind {
    /// A worker's first state.
    #[must_use]
    pub fn new(history: PodHistory) -> Self {
        Self { history, ..Self::default() }
    }

    /// The delay to remember when this instance is started now, if it is a restart.
    #[must_use]
    pub fn backoff_of_start(&self, name: &str, attempt: u32, around: &Around<'_>) -> Option<Backoff> {
        let history = self.history.containers.get(name)?;
        let (exit, ended) = (history.last_exit.as_ref()?, history.exit_seen.as_ref()?);
        // Decided already if this attempt was asked for before.
        if history.attempt >= Some(attempt) || exit.attempt >= attempt {
            return None;
        }
        match backoff::decide(history.backoff.as_ref(), ended, around.backoff_cap, around.now) {
            Restart::Now(next) => Some(next),
            Restart::After { .. } => None,
        }
    }

    /// Takes note of how fresh the observation is.
    pub fn observe(&mut self, freshness: u64) {
        self.watching |= self.is_fresh();
        if freshness > self.acted_at && freshness > self.seen_at {
            self.seen_at = freshness;
            self.looks = self.looks.saturating_add(1);
            self.unseen.clear();
        }
    }

    /// Takes note of how many words there were on what the pod refers to. What failed for want of that is tried again
    /// soon, and what is under way as soon as it has failed.
    pub fn hear(&mut self, words: u64) {
        if std::mem::replace(&mut self.words, words) == words {
            return;
        }
        self.overtaken.clone_from(&self.busy);
        for failed in self.failed.values_mut().filter(|failed| failed.failure.awaits_objects) {
            failed.delay = failed.delay.min(AFTER_WORD);
        }
    }

    /// Only an observation with a greater freshness tells anything new.
    #[must_use]
    pub fn seen_until(&self) -> u64 {
        self.acted_at.max(self.seen_at)
    }

    /// Whether the observation shows the effect of every action so far.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.looks > 0
    }

    /// Whether something waits for a second look, since one alone proves no absence.
    #[must_use]
    pub fn wants_looks(&self) -> bool {
        self.looks < 2 && self.failed.values().any(|failed| failed.failure.in_doubt)
    }

    /// Plans on this state.
    pub fn plan(&self, around: Around<'_>) -> crate::pod::plan::Plan {
        let retry = self.retries(around.now);
        crate::pod::plan::plan(&Input {
            wish: around.wish,
            pod: around.pod,
            history: &self.history,
            seen: around.seen,
            fresh: self.is_fresh(),
            looks: self.looks,
            watching: self.watching,
            images: &self.images,
            volumes: self.volumes,
            stopped: &self.stopped,
            busy: &self.busy,
            unseen: &self.unseen,
            retry: &retry,
            traces_gone: self.traces_gone,
            alone: around.alone,
            network_ready: around.network_ready,
            backoff_cap: around.backoff_cap,
            now: around.now,
        })
    }

    /// Failed steps with what is left of their delays.
    #[must_use]
    pub fn retries(&self, now: &Now) -> BTreeMap<Key, Retry> {
        self.failed.iter().map(|(key, failed)| (key.clone(), failed.retry(now))).collect()
    }

    /// Adds to the history.
    pub fn remember(&mut self, what: &What) {
        self.history.apply(what);
    }

    /// A step is under way.
    pub fn begin(&mut self, step: &Step) {
        self.busy.insert(step.key());
    }

    /// Steps under way.
    #[must_use]
    pub fn busy(&self) -> &BTreeSet<Key> {
        &self.busy
    }

    /// A step ended. `acted_at` is the sequence at that moment: only observations begun later show its effect.
    pub fn settle(
        &mut self,
        step: &Step,
        result: &Result<Done, Failure>,
        acted_at: u64,
        pace: &Pace,
        now: &Now,
    ) {
        let key = step.key();
        self.busy.remove(&key);
        let overtaken = self.overtaken.remove(&key);
        if step.shows_in_runtime() {
            self.acted_at = self.acted_at.max(acted_at);
            self.looks = 0;
        }
        match result {
            Ok(done) => {
                if must_vanish(step) {
                    self.fail(key.clone(), still_there(), pace, now);
                } else {
                    self.failed.remove(&key);
                }
                if step.shows_in_runtime() {
                    self.unseen.insert(key);
                }
                self.achieved(done);
            }
            Err(failure) => {
                // Whatever it was, the image may be gone, and a pod that pulls always pulls for each try.
                if let Step::StartContainer { name, .. } = step {
                    self.images.remove(name);
                }
                self.fail(key.clone(), failure.clone(), pace, now);
                let failed = self.failed.get_mut(&key).filter(|_| overtaken && failure.awaits_objects);
                failed.into_iter().for_each(|failed| failed.delay = failed.delay.min(AFTER_WORD));
            }
        }
    }

    fn fail(&mut self, key: Key, failure: Failure, pace: &Pace, now: &Now) {
        let last = self.failed.get(&key);
        let again = last.is_some_and(|failed| failed.failure.reserved);
        let failures = last.map_or(0, |failed| failed.failures).saturating_add(1);
        let delay = match (failure.reserved, again) {
            (true, false) => pace.reserved,
            (true, true) => pace.reserved_again,
            (false, _) => pace.delay(&key, failures),
        };
        self.failed.insert(key, Failed { at: now.stamp(), delay, failures, failure });
    }

    fn achieved(&mut self, done: &Done) {
        match done {
            Done::Changed => {}
            Done::SandboxStopped(id) => {
                self.stopped.insert(id.clone());
            }
            Done::Image { name, attempt, image_ref } => {
                let image = Image::Ready { attempt: *attempt, image_ref: image_ref.clone() };
                self.images.insert(name.clone(), image);
            }
            Done::VolumesReady => self.volumes = VolumesState::Ready,
            Done::VolumesGone => self.volumes = VolumesState::Gone,
            Done::TracesGone => self.traces_gone = true,
        }
    }

    /// Forgets failures that the observation has overtaken: what was in doubt has shown itself.
    pub fn forget_overtaken(&mut self, seen: Option<&PodObserved>) {
        self.failed.retain(|key, _| is_there(key, seen));
        let Some(seen) = seen else { return };
        let sandbox = seen.sandboxes.iter().map(|sandbox| sandbox.record.attempt).max();
        if sandbox.is_some() && sandbox >= self.history.sandbox_attempt {
            self.failed.remove(&Key::Sandbox);
        }
        for container in &seen.containers {
            let asked = self.history.containers.get(&container.record.name).and_then(|known| known.attempt);
            let key = Key::Start(container.record.name.clone());
            let waiting = container.record.state == ContainerState::Created;
            // An instance that a failed start left as it was answers nothing: its next try keeps its delay.
            let overtaken = |failed: &Failed| failed.failure.in_doubt && !(failed.failure.made && waiting);
            if self.failed.get(&key).is_some_and(overtaken) && Some(container.record.attempt) >= asked {
                self.failed.remove(&key);
            }
        }
        let listed: BTreeSet<&SandboxId> = seen.sandboxes.iter().map(|sandbox| &sandbox.record.id).collect();
        self.stopped.retain(|id| listed.contains(id));
    }
}

/// Steps whose success shows in what they worked on being gone or ended. If it is planned again all the same, the
/// runtime said "done" or "not found" of something that it still lists: the next try waits as after a failure.
fn must_vanish(step: &Step) -> bool {
    matches!(step, Step::StopContainer { .. } | Step::RemoveContainer { .. } | Step::RemoveSandbox { .. })
}

fn still_there() -> Failure {
    Failure::plain("", "the runtime said that it was done, and still shows it".to_owned())
}

/// False for what is known of an object that is gone.
fn is_there(key: &Key, seen: Option<&PodObserved>) -> bool {
    let sandbox =
        |id: &SandboxId| seen.is_some_and(|seen| seen.sandboxes.iter().any(|known| known.record.id == *id));
    let container = |id: &ContainerId| {
        seen.is_some_and(|seen| seen.containers.iter().any(|known| known.record.id == *id))
    };
    match key {
        Key::SandboxEnd(id) => sandbox(id),
        Key::Stop(id) | Key::Hurry(id, _) | Key::Remove(id) => container(id),
        Key::Sandbox | Key::Image(_) | Key::Volumes | Key::VolumesEnd | Key::Start(_) | Key::Traces => true,
    }
}

impl Failed {
    fn retry(&self, now: &Now) -> Retry {
        Retry {
            failures: self.failures,
            left: self.delay.saturating_sub(now.since(&self.at, self.delay)),
            in_doubt: self.failure.in_doubt,
            reason: self.failure.reason.to_owned(),
            message: self.failure.message.clone(),
        }
    }
}

impl Pace {
    /// Delay after so many failures in a row, of which the last was no reserved name.
    #[must_use]
    pub fn delay(&self, key: &Key, failures: u32) -> Duration {
        let (first, cap) = match key {
            Key::Image(_) => (self.pull, self.pull_cap),
            Key::Volumes => (self.volumes, self.volumes_cap),
            _ => (self.retry, self.retry_cap),
        };
        doubled(first, failures, cap)
    }
}

#[cfg(test)]
mod tests;
