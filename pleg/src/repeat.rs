//! Decides when a look that an exit hint asked for is made again, because the container still ran. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use pinnace_cri::id::{ContainerId, PodUid};
use tokio::time::Instant;

/// Waits between looks: a runtime shows an exit some 40 ms after it announced it, or right after it announced that it
/// took note of it. A look costs a millisecond.
const WAITS: [Duration; 7] = [
    Duration::from_millis(5),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(15),
    Duration::from_millis(15),
    Duration::from_millis(40),
    Duration::from_millis(80),
];

/// The announced exits that were not seen yet; no more than one per container of the pods that are known.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    exits: BTreeMap<PodUid, BTreeMap<Option<ContainerId>, Waiting>>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Looks that were repeated.
    done: usize,
    /// When the next is due; none while one is to come anyway.
    due: Option<Instant>,
}

impl Repeats {
    /// An exit of the container, or of one of the pod's, was announced and a look will follow.
    pub(crate) fn announced(&mut self, uid: &PodUid, container: Option<ContainerId>) {
        self.exits.entry(uid.clone()).or_default().insert(container, Waiting { done: 0, due: None });
    }

    /// A look at the pod was taken in at `now`; `runs` says whether a container still runs.
    pub(crate) fn looked(&mut self, uid: &PodUid, now: Instant, runs: impl Fn(Option<&ContainerId>) -> bool) {
        let Some(exits) = self.exits.get_mut(uid) else { return };
        exits.retain(|container, waiting| {
            let Some(wait) = WAITS.get(waiting.done).filter(|_| runs(container.as_ref())) else {
                return false;
            };
            if waiting.due.is_none() {
                waiting.due = Some(now.checked_add(*wait).unwrap_or(now));
            }
            true
        });
        if exits.is_empty() {
            self.exits.remove(uid);
        }
    }

    /// The pods to look at again at `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<PodUid> {
        let mut due = Vec::new();
        for (uid, exits) in &mut self.exits {
            let mut any = false;
            for waiting in exits.values_mut().filter(|waiting| waiting.due.is_some_and(|due| due <= now)) {
                *waiting = Waiting { done: waiting.done.saturating_add(1), due: None };
                any = true;
            }
            if any {
                due.push(uid.clone());
            }
        }
        due
    }

    /// When the next look is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.exits.values().flat_map(BTreeMap::values).filter_map(|waiting| waiting.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_again_soon_and_then_less_often_while_it_runs() {
        let (uid, mut now) = (PodUid::new("a").unwrap(), Instant::now());
        let mut repeats = Repeats::default();
        repeats.announced(&uid, None);
        let mut waits = Vec::new();
        loop {
            repeats.looked(&uid, now, |_| true);
            let Some(due) = repeats.next() else { break };
            waits.push((due - now).as_millis());
            now = due;
            assert_eq!(repeats.take_due(now), std::slice::from_ref(&uid));
        }
        assert_eq!(waits, [5, 5, 10, 15, 15, 40, 80]);
    }

    #[test]
    fn stops_once_it_no_longer_runs() {
        let (uid, now) = (PodUid::new("a").unwrap(), Instant::now());
        let mut repeats = Repeats::default();
        repeats.announced(&uid, None);
        repeats.looked(&uid, now, |_| false);
        assert_eq!(repeats.next(), None);
    }
}
