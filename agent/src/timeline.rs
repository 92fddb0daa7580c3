//! What happened to one pod lately: the record behind `explain`. Pure; whoever acts on the pod fills it.
//!
//! Bounded twice, in entries and in bytes, because each pod of a node has one: 110 pods at 8 KiB are under 1 MiB.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::excerpt::excerpt;
use crate::view::{StepView, TimelineView};

/// Entries kept.
const MAX_ENTRIES: usize = 50;
/// Bytes of all that is kept, counted as by [`cost`].
const MAX_BYTES: usize = 8 << 10;
/// Longest text of what was done.
const MAX_WHAT: usize = 256;
/// Longest error: a runtime's message names an image and a path and still fits.
const MAX_ERROR: usize = 1_024;

/// The latest transitions of a pod, its step and its last error.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    entries: VecDeque<TimelineView>,
    /// Of `entries`.
    bytes: usize,
    step: Option<StepView>,
    last_error: Option<TimelineView>,
}

impl Timeline {
    /// Adds a transition; the oldest give way. `took` is for calls. An error becomes the last error; the next
    /// success of the same `what` overcomes it.
    pub fn push(&mut self, at: Timestamp, what: &str, took: Option<Duration>, error: Option<&str>) {
        let entry = TimelineView {
            at,
            what: excerpt(what, MAX_WHAT),
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            error: error.map(|error| excerpt(error, MAX_ERROR)),
        };
        if entry.error.is_some() {
            self.last_error = Some(entry.clone());
        } else if self.last_error.as_ref().is_some_and(|last| last.what == entry.what) {
            self.last_error = None;
        }
        self.bytes = self.bytes.saturating_add(cost(&entry));
        self.entries.push_back(entry);
        self.make_room();
    }

    /// Says what the pod is in and waits for; none when there is nothing to do. A step that goes on keeps its
    /// `since`.
    pub fn set_step(&mut self, step: Option<StepView>) {
        let step = step.map(|step| StepView {
            step: excerpt(&step.step, MAX_WHAT),
            waiting_for: excerpt(&step.waiting_for, MAX_ERROR),
            ..step
        });
        let since = self.step.as_ref().zip(step.as_ref());
        let goes_on = since.filter(|(old, new)| old.step == new.step).map(|(old, _)| old.since);
        self.step = step.map(|step| StepView { since: goes_on.unwrap_or(step.since), ..step });
        self.make_room();
    }

    /// Says that the last error no longer holds the pod back.
    pub fn overcome(&mut self) {
        self.last_error = None;
    }

    /// The step that it is in.
    #[must_use]
    pub fn step(&self) -> Option<&StepView> {
        self.step.as_ref()
    }

    /// The last error, if it has not been overcome.
    #[must_use]
    pub fn last_error(&self) -> Option<&TimelineView> {
        self.last_error.as_ref()
    }

    /// The latest entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<TimelineView> {
        self.entries.iter().cloned().collect()
    }

    fn make_room(&mut self) {
        let step = self.step.as_ref().map_or(0, |step| {
            size_of::<StepView>().saturating_add(step.step.len()).saturating_add(step.waiting_for.len())
        });
        let fixed = self.last_error.as_ref().map_or(0, cost).saturating_add(step);
        while self.entries.len() > MAX_ENTRIES || self.bytes.saturating_add(fixed) > MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(cost(&oldest));
        }
    }
}

fn cost(entry: &TimelineView) -> usize {
    let texts = entry.what.len().saturating_add(entry.error.as_ref().map_or(0, String::len));
    size_of::<TimelineView>().saturating_add(texts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn step(name: &str, since: i64) -> StepView {
        StepView {
            step: name.to_owned(),
            waiting_for: "the runtime's answer".to_owned(),
            since: second(since),
            next_try: None,
        }
    }

    #[test]
    fn the_last_error_stays_until_the_same_thing_succeeds() {
        let mut timeline = Timeline::default();
        timeline.push(second(1), "RunPodSandbox", Some(Duration::from_millis(1_500)), Some("no network"));
        timeline.push(second(2), "image status", None, None);
        let error = timeline.last_error().expect("another success does not overcome it");
        assert_eq!(
            (error.at, error.took_ms, error.error.as_deref()),
            (second(1), Some(1_500), Some("no network"))
        );
        timeline.push(second(3), "RunPodSandbox", None, None);
        assert_eq!(timeline.last_error(), None);
        timeline.push(second(4), "StopContainer", None, Some("refused"));
        timeline.overcome();
        assert_eq!(timeline.last_error(), None);
        assert_eq!(timeline.entries().len(), 4);
    }

    #[test]
    fn a_step_that_goes_on_keeps_its_since() {
        let mut timeline = Timeline::default();
        timeline.set_step(Some(step("pull", 1)));
        timeline.set_step(Some(step("pull", 5)));
        assert_eq!(timeline.step().map(|step| step.since), Some(second(1)));
        timeline.set_step(Some(step("start", 6)));
        assert_eq!(timeline.step().map(|step| step.since), Some(second(6)));
        timeline.set_step(None);
        assert_eq!(timeline.step(), None);
    }

    #[test]
    fn the_oldest_entries_give_way() {
        let mut timeline = Timeline::default();
        for n in 0..80 {
            timeline.push(second(n), "x", None, None);
        }
        let entries = timeline.entries();
        assert_eq!((entries.len(), entries[0].at, entries[49].at), (50, second(30), second(79)));
    }

    proptest! {
        #[test]
        fn never_more_than_its_bounds(lengths in prop::collection::vec((0..400_usize, prop::option::of(0..1_500_usize)), 0..80)) {
            let mut timeline = Timeline::default();
            for (what, error) in lengths {
                let (what, error) = ("ä".repeat(what), error.map(|length| "é".repeat(length)));
                timeline.push(second(0), &what, None, error.as_deref());
                timeline.set_step(Some(step(&what, 0)));
                let json = serde_json::to_string(&timeline.entries()).unwrap();
                prop_assert!(timeline.entries().len() <= MAX_ENTRIES && json.len() <= 2 * MAX_BYTES);
                let counted: usize = timeline.entries().iter().map(cost).sum();
                prop_assert_eq!(counted, timeline.bytes);
                prop_assert!(counted <= MAX_BYTES);
                prop_assert!(!timeline.entries().is_empty(), "the newest always fits");
            }
        }
    }
}
