//! Keeps exits that were announced of containers which no list has shown yet. Pure.
//!
//! A container may end before the look that follows its start; and a runtime that serves others announces theirs too.

use std::collections::VecDeque;
use std::time::Duration;

use pinnace_cri::id::ContainerId;
use tokio::time::Instant;

/// How long a container may take from its exit to the first list that shows it; complete lists are at most 5 s apart.
const KEPT: Duration = Duration::from_secs(10);
/// Most that are kept; beyond that the oldest goes, and the lists find what it said.
const MOST: usize = 256;

/// The exits, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unplaced {
    exits: VecDeque<(Instant, ContainerId)>,
}

impl Unplaced {
    /// Keeps one that was announced, or tried in vain, at `now`.
    pub(crate) fn keep(&mut self, id: ContainerId, now: Instant) {
        if self.exits.iter().any(|(_, kept)| *kept == id) {
            return;
        }
        if self.exits.len() >= MOST {
            self.exits.pop_front();
        }
        self.exits.push_back((now, id));
    }

    /// Those that are not too old at `now`, to be tried again: whoever fails to place one keeps it with its age.
    pub(crate) fn fresh(&mut self, now: Instant) -> Vec<ContainerId> {
        self.exits.retain(|(since, _)| now.saturating_duration_since(*since) < KEPT);
        self.exits.iter().map(|(_, id)| id.clone()).collect()
    }

    /// One was placed.
    pub(crate) fn placed(&mut self, id: &ContainerId) {
        self.exits.retain(|(_, kept)| kept != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ContainerId {
        ContainerId::new(&format!("c{number}")).unwrap()
    }

    #[test]
    fn keeps_few_and_not_for_long() {
        let (mut unplaced, now) = (Unplaced::default(), Instant::now());
        (0..=MOST).for_each(|number| unplaced.keep(id(number), now));
        unplaced.keep(id(1), now + KEPT / 2);
        let fresh = unplaced.fresh(now);
        assert_eq!((fresh.len(), &fresh[0]), (MOST, &id(1)), "the oldest went, and none is kept twice");
        unplaced.placed(&id(2));
        assert_eq!(unplaced.fresh(now).len(), MOST - 1);
        assert_eq!(unplaced.fresh(now + KEPT), []);
    }
}
