//! Which events are told apart by their message, and which are combined because too many messages differ. Pure.
//!
//! As the kubelet's (`tools/record/events_cache.go` of client-go): of one object, type and reason the tenth message that
//! differs within ten minutes begins a combined series. Unlike there, a message that has a series keeps it.

use std::collections::BTreeSet;

use super::recent::Recent;
use crate::events::{Kind, Object, Occurrence};

/// Messages that are told apart, one less than `defaultAggregateMaxEvents`.
const MAX_TOLD_APART: usize = 9;
/// After so many milliseconds without an event of the group it begins anew (`defaultAggregateIntervalInSeconds`).
const WINDOW: u64 = 600_000;
/// Groups that are remembered: nine reasons for each of 220 objects. A group has at most nine messages.
const MAX_GROUPS: usize = 2_000;
/// Put before the latest message of a combined series (`EventAggregatorByReasonMessageFunc`).
pub(super) const COMBINED: &str = "(combined from similar events): ";

type GroupKey = (Object, Kind, String);

#[derive(Debug, Default)]
struct Group {
    messages: BTreeSet<String>,
    last: u64,
}

/// What was seen lately.
#[derive(Debug)]
pub(super) struct Similar {
    groups: Recent<GroupKey, Group>,
}

impl Similar {
    pub(super) fn new() -> Self {
        Self { groups: Recent::new(MAX_GROUPS) }
    }

    /// Whether this event belongs to the combined series of its group. `now` is in milliseconds of the boot clock.
    pub(super) fn combines(&mut self, event: &Occurrence, now: u64) -> bool {
        let key = (event.object.whole(), event.kind, event.reason.clone());
        let group = self.groups.entry(&key, Group::default);
        if now.saturating_sub(group.last) > WINDOW {
            group.messages.clear();
        }
        group.last = now;
        if group.messages.contains(&event.message) {
            return false;
        }
        if group.messages.len() >= MAX_TOLD_APART {
            return true;
        }
        group.messages.insert(event.message.clone());
        false
    }

    /// Forgets groups whose window is over.
    pub(super) fn tidy(&mut self, now: u64) {
        self.groups.retain(|group| now.saturating_sub(group.last) <= WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn event(message: &str) -> Occurrence {
        Occurrence {
            object: Object::from("ns/web"),
            kind: Kind::Warning,
            reason: "Unhealthy".into(),
            message: message.into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_tenth_message_is_combined_and_the_nine_keep_their_series() {
        let mut similar = Similar::new();
        for n in 1..=9 {
            assert!(!similar.combines(&event(&format!("m{n}")), n));
        }
        assert!(similar.combines(&event("m10"), 10));
        assert!(similar.combines(&event("m11"), 11));
        assert!(!similar.combines(&event("m3"), 12));
        assert!(!similar.combines(&event("m99"), 12 + WINDOW + 1), "the window is over");
    }

    #[test]
    fn groups_are_of_one_pod_type_and_reason() {
        let mut similar = Similar::new();
        for n in 0..20 {
            similar.combines(&event(&n.to_string()), 0);
        }
        let mut other = event("x");
        other.reason = "Failed".into();
        assert!(!similar.combines(&other, 0));
        other = event("x");
        other.object = Object::from("ns/other");
        assert!(!similar.combines(&other, 0));
        similar.tidy(WINDOW + 1);
        assert!(!similar.combines(&event("x"), WINDOW + 1));
    }
}
