//! The node's own record of events: what `pinnace events` shows, with or without an API server.
//!
//! Equal events are one series with a count. When there are too many series, normal ones give way before warnings,
//! and the one that was quiet longest first; an object that floods displaces its own. Where there is an API server,
//! each event also goes to [`Feed`], whose reader writes it there.

mod feed;
mod object;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use feed::Feeder;

use crate::excerpt::excerpt;
use crate::view::EventView;

pub use feed::{Feed, Occurrence, Overflow};
pub use object::{Object, field_path};

/// Series kept: nine per pod of a full node. A series is some 300 bytes, at most 1.5 KiB.
const MAX_SERIES: usize = 1_000;
/// Series of one object, so that one broken pod cannot push out the others' events.
const MAX_PER_OBJECT: usize = 100;
/// Longest message, as in the events API.
const MAX_MESSAGE: usize = 1_024;
/// Longest reason, as in the events API.
const MAX_REASON: usize = 128;

/// Type of an event. Ordered so that normal events give way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Something went as it should.
    Normal,
    /// Something needs attention.
    Warning,
}

impl Kind {
    /// As the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    object: Object,
    kind: Kind,
    reason: String,
    message: String,
}

#[derive(Debug, Clone)]
struct Series {
    first: Timestamp,
    last: Timestamp,
    count: u32,
    /// Number of the latest event: wall time may step, this does not.
    latest: u64,
}

/// Records and lists events. Cheap to clone; all clones are one record.
#[derive(Debug, Clone, Default)]
pub struct EventLog {
    ring: Arc<Mutex<Ring>>,
    feeder: Option<Feeder>,
}

#[derive(Debug, Default)]
struct Ring {
    series: BTreeMap<Key, Series>,
    next: u64,
}

impl EventLog {
    /// A record that also feeds a writer.
    #[must_use]
    pub fn feeding() -> (Self, Feed) {
        let (feeder, feed) = feed::feed();
        (Self { ring: Arc::default(), feeder: Some(feeder) }, feed)
    }

    /// Records that something went as it should. `reason` is a word of the kubelet's such as `Started`. A text for
    /// the object is read as [`Object`] says.
    pub fn normal(&self, object: impl Into<Object>, reason: &str, message: &str, now: Timestamp) {
        self.record(key(Kind::Normal, object.into(), reason, message), now);
    }

    /// Records that something needs attention.
    pub fn warning(&self, object: impl Into<Object>, reason: &str, message: &str, now: Timestamp) {
        self.record(key(Kind::Warning, object.into(), reason, message), now);
    }

    fn record(&self, key: Key, now: Timestamp) {
        if let Some(feeder) = &self.feeder {
            feeder.send(occurrence(&key, now));
        }
        self.lock().record(key, now);
    }

    /// Every series, the latest last.
    #[must_use]
    pub fn list(&self) -> Vec<EventView> {
        let ring = self.lock();
        let mut series: Vec<_> = ring.series.iter().collect();
        series.sort_unstable_by_key(|(_, series)| series.latest);
        series.into_iter().map(|(key, series)| view(key, series)).collect()
    }

    /// A panic elsewhere while the lock was held cannot leave a half-written series.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn record(&mut self, key: Key, now: Timestamp) {
        let latest = self.next;
        self.next = latest.saturating_add(1);
        if let Some(series) = self.series.get_mut(&key) {
            series.count = series.count.saturating_add(1);
            series.last = now;
            series.latest = latest;
            return;
        }
        self.make_room_for(&key.object);
        self.series.insert(key, Series { first: now, last: now, count: 1, latest });
    }

    fn make_room_for(&mut self, object: &Object) {
        let of_object = self.series.keys().filter(|key| key.object.is_of(object)).count();
        let victim = if of_object >= MAX_PER_OBJECT {
            self.least(|key| key.object.is_of(object))
        } else if self.series.len() >= MAX_SERIES {
            self.least(|_| true)
        } else {
            None
        };
        if let Some(victim) = victim {
            self.series.remove(&victim);
        }
    }

    fn least(&self, among: impl Fn(&Key) -> bool) -> Option<Key> {
        let candidates = self.series.iter().filter(|(key, _)| among(key));
        candidates.min_by_key(|(key, series)| (key.kind, series.latest)).map(|(key, _)| key.clone())
    }
}

fn key(kind: Kind, object: Object, reason: &str, message: &str) -> Key {
    Key {
        object: object.bounded(),
        kind,
        reason: excerpt(reason, MAX_REASON),
        message: excerpt(message, MAX_MESSAGE),
    }
}

fn occurrence(key: &Key, at: Timestamp) -> Occurrence {
    let Key { object, kind, reason, message } = key.clone();
    Occurrence { object, kind, reason, message, at }
}

fn view(key: &Key, series: &Series) -> EventView {
    EventView {
        first: series.first,
        last: series.last,
        count: series.count,
        kind: key.kind.as_str().to_owned(),
        reason: key.reason.clone(),
        object: key.object.to_string(),
        message: key.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn equal_events_are_one_series_with_an_exact_count() {
        let log = EventLog::default();
        for n in 0..1_000 {
            log.clone().warning("default/web", "FailedSync", "no network", second(n));
        }
        log.normal("default/web", "Started", "Started container main", second(1_000));
        let events = log.list();
        let seen: Vec<_> = events.iter().map(|event| (event.reason.as_str(), event.count)).collect();
        assert_eq!(seen, [("FailedSync", 1_000), ("Started", 1)]);
        assert_eq!((events[0].first, events[0].last), (second(0), second(999)));
    }

    #[test]
    fn a_flood_of_one_object_leaves_the_others_alone() {
        let log = EventLog::default();
        log.normal("default/quiet", "Started", "", second(0));
        for n in 0..5_000 {
            log.warning("default/loud", "Failed", &format!("attempt {n}"), second(n));
        }
        let events = log.list();
        assert_eq!(events.len(), 1 + MAX_PER_OBJECT);
        assert_eq!(events[0].object, "default/quiet");
    }

    #[test]
    fn normals_give_way_before_warnings_and_the_quiet_before_the_recent() {
        let log = EventLog::default();
        for n in 0..400 {
            log.warning(&format!("default/w{n}"), "Failed", "", second(0));
        }
        for n in 0..2_000 {
            log.normal(&format!("default/n{n}"), "Started", "", second(1));
        }
        let events = log.list();
        assert_eq!(events.len(), MAX_SERIES);
        assert_eq!(events.iter().filter(|event| event.kind == "Warning").count(), 400);
        assert_eq!(events[400].object, "default/n1400");
    }

    #[test]
    fn messages_are_one_bounded_line() {
        let log = EventLog::default();
        log.warning("node", "Bad", &format!("a\nb\u{1b}[2J{}", "x".repeat(5_000)), second(0));
        let message = &log.list()[0].message;
        assert!(message.len() <= MAX_MESSAGE && message.starts_with("a b [2Jx") && message.ends_with('…'));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn bounded_and_first_warnings_are_kept_while_there_is_a_normal_one(
            events in prop::collection::vec((any::<bool>(), 0..1_500_u32), 0..2_500)
        ) {
            let log = EventLog::default();
            let mut warned = std::collections::BTreeSet::new();
            for (warning, object) in events {
                let object = format!("default/{object}");
                if warning {
                    log.warning(&object, "Failed", "", second(0));
                    warned.insert(object);
                } else {
                    log.normal(&object, "Started", "", second(0));
                }
            }
            let list = log.list();
            prop_assert!(list.len() <= MAX_SERIES);
            let kept = list.iter().filter(|event| event.kind == "Warning").count();
            prop_assert_eq!(kept, warned.len().min(MAX_SERIES));
        }
    }
}
