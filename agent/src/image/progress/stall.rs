//! Whether a pull gets on: (what is being written, which of it is surely this pull's, now) → a text, or to give up. Pure.
//!
//! The runtime names no pull with what it writes. This pull's is what its manifests name, and what appeared or grew
//! since it began: in doubt another pull's, and then a pull counts as going on that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pinnace_cri::content::Ingest;
use tokio::time::Instant;

/// Longest time without a byte while something is being written.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest time in which nothing is known to happen.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// What is known of a pull.
#[derive(Debug)]
pub(super) struct Watch {
    /// When something was last known to happen.
    moved: Instant,
    /// What was being written when it began: others' until it grows.
    before: Option<BTreeMap<String, u64>>,
    /// What is taken for this pull's, by key.
    ours: BTreeMap<String, u64>,
    /// Bytes of what is complete.
    complete: u64,
}

/// How a pull is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may be getting on; how far it is, for people.
    Going(String),
    /// It is not, for this reason.
    GiveUp(String),
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { moved: now, before: None, ours: BTreeMap::new(), complete: 0 }
    }

    /// Whether something is written that may be this pull's or not.
    pub(super) fn has_doubts(&self, ingests: &[Ingest]) -> bool {
        let Some(before) = &self.before else { return false };
        ingests.iter().any(|ingest| {
            before.contains_key(&ingest.key) || self.ours.get(&ingest.key) == Some(&ingest.offset)
        })
    }

    /// Takes note of what is being written; `named` are digests that this pull's manifests name.
    pub(super) fn look(&mut self, now: Instant, ingests: &[Ingest], named: &BTreeSet<String>) -> State {
        let first = self.before.is_none();
        let before = self.before.get_or_insert_with(|| {
            ingests.iter().map(|ingest| (ingest.key.clone(), ingest.offset)).collect()
        });
        let is_named = |key: &str| {
            let digest = key.split_once('-').map_or(key, |(_, digest)| digest);
            named.contains(digest)
        };
        // Layers are asked for once the manifest is read: then it names all that there is.
        let named_only = ingests.iter().any(|ingest| is_named(&ingest.key));
        if named_only {
            self.ours.retain(|key, _| is_named(key));
        }
        let mut open = BTreeMap::new();
        let (mut moved, mut total) = (first, 0_u64);
        for ingest in ingests {
            let (old, known) = (before.get(&ingest.key), self.ours.get(&ingest.key));
            let grew = known.or(old).is_some_and(|offset| *offset != ingest.offset);
            let is_ours =
                if named_only { is_named(&ingest.key) } else { known.is_some() || old.is_none() || grew };
            if !is_ours {
                continue;
            }
            moved |= grew || known.or(old).is_none();
            total = total.saturating_add(ingest.total.max(ingest.offset));
            open.insert(ingest.key.clone(), ingest.offset);
        }
        for (key, offset) in &self.ours {
            if !open.contains_key(key) {
                moved = true;
                self.complete = self.complete.saturating_add(*offset);
            }
        }
        self.ours = open;
        if moved {
            self.moved = now;
        }
        self.verdict(now, total)
    }

    fn verdict(&self, now: Instant, total: u64) -> State {
        let still = now.saturating_duration_since(self.moved);
        if !self.ours.is_empty() && still >= SILENCE {
            let seconds = still.as_secs();
            let why = format!("no bytes came from the registry for {seconds} s, the pull is tried again");
            return State::GiveUp(why);
        }
        if still >= PATIENCE {
            return State::GiveUp(too_long(still));
        }
        let come = self.ours.values().fold(self.complete, |sum, offset| sum.saturating_add(*offset));
        let text = match self.ours.len() {
            0 if come == 0 => "no layer is being received yet".to_owned(),
            0 => format!("{} received, nothing is being received at this moment", size(come)),
            layers => {
                let of = self.complete.saturating_add(total);
                let now = format!("{} of {} received, {layers} under way", size(come), size(of));
                if still < Duration::from_secs(10) {
                    now
                } else {
                    format!("{now}, none for {} s", still.as_secs())
                }
            }
        };
        State::Going(text)
    }

    /// The runtime did not say.
    pub(super) fn look_failed(&mut self, now: Instant) -> State {
        let still = now.saturating_duration_since(self.moved);
        if still >= PATIENCE {
            return State::GiveUp(too_long(still));
        }
        State::Going("how far it is is not known: the runtime does not tell".to_owned())
    }
}

fn too_long(still: Duration) -> String {
    format!("the pull got nowhere for {} min, it is tried again", still.as_secs() / 60)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ingest(key: &str, offset: u64) -> Ingest {
        Ingest { key: format!("layer-sha256:{key}"), offset, total: 100 << 20 }
    }

    fn none() -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn gives_up(state: &State) -> bool {
        matches!(state, State::GiveUp(_))
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_layer_that_stands_still_for_a_minute_is_given_up() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        watch.look(start, &[], &none());
        let state = watch.look(at(start, 5), &[ingest("a", 3 << 20)], &none());
        assert_eq!(state, State::Going("3.0 MiB of 100.0 MiB received, 1 under way".to_owned()));
        let state = watch.look(at(start, 64), &[ingest("a", 3 << 20)], &none());
        assert!(!gives_up(&state), "{state:?}");
        let state = watch.look(at(start, 65), &[ingest("a", 3 << 20)], &none());
        assert!(gives_up(&state), "{state:?}");
    }

    #[test]
    fn b54_a_slow_one_is_not_nor_is_one_that_unpacks() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        for look in 0..1000 {
            let state = watch.look(at(start, look * 50), &[ingest("a", look), ingest("b", 7)], &none());
            assert!(!gives_up(&state), "look {look}: {state:?}");
        }
        for minute in 1..=29 {
            let state = watch.look(at(start, 50_000 + minute * 60), &[], &none());
            assert!(!gives_up(&state), "minute {minute}: {state:?}");
        }
        assert!(gives_up(&watch.look(at(start, 50_000 + 31 * 60), &[], &none())));
    }

    #[test]
    fn what_another_pull_left_is_not_this_ones_unless_a_manifest_names_it() {
        let start = Instant::now();
        let left = [ingest("left", 7)];
        let mut watch = Watch::new(start);
        watch.look(start, &left, &none());
        assert!(watch.has_doubts(&left));
        assert!(!gives_up(&watch.look(at(start, 600), &left, &none())));
        let mut watch = Watch::new(start);
        let named = BTreeSet::from(["sha256:left".to_owned()]);
        watch.look(start, &left, &named);
        assert!(gives_up(&watch.look(at(start, 60), &left, &named)));
    }

    #[test]
    fn another_pull_that_goes_on_does_not_hide_one_that_stands_still() {
        let start = Instant::now();
        let named = BTreeSet::from(["sha256:mine".to_owned()]);
        let mut watch = Watch::new(start);
        watch.look(start, &[], &none());
        watch.look(at(start, 5), &[ingest("mine", 1), ingest("other", 1)], &none());
        for look in 2..13 {
            let ingests = [ingest("mine", 1), ingest("other", look)];
            assert!(watch.has_doubts(&ingests));
            assert!(!gives_up(&watch.look(at(start, look * 5), &ingests, &named)), "look {look}");
        }
        assert!(gives_up(&watch.look(at(start, 65), &[ingest("mine", 1), ingest("other", 99)], &named)));
    }

    proptest! {
        /// As long as one of its layers grows within each minute, a pull goes on, whatever others do.
        #[test]
        fn b54_what_grows_is_never_given_up(
            looks in prop::collection::vec((1..59_u64, prop::collection::vec((0..4_u8, 0..3_u64), 0..4)), 1..40),
        ) {
            let start = Instant::now();
            let (mut watch, mut now, mut grown) = (Watch::new(start), start, 0);
            watch.look(now, &[ingest("mine", 0)], &none());
            for (pause, others) in looks {
                now += Duration::from_secs(pause);
                grown += 1;
                let mut ingests = vec![ingest("mine", grown)];
                ingests.extend(others.iter().map(|(key, offset)| ingest(&key.to_string(), *offset)));
                let state = watch.look(now, &ingests, &none());
                prop_assert!(!gives_up(&state), "{:?}", state);
            }
        }
    }
}
