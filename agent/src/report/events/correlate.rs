//! Which event is written next, and when. Pure: occurrences and answers in, writes and waits out; moments are
//! milliseconds of the boot clock.
//!
//! Equal events are one series, and a series has one write at a time, as has its object: so what is written of one pod
//! keeps its order. A count is never lost to a write that failed, since each write carries the whole of it.

mod outage;
mod series;
mod starts;
mod store;

use std::collections::BTreeSet;
use std::time::Duration;

use outage::Outage;
use series::{Key, Series};
use starts::Starts;
use store::{Class, Store};

use super::budget::Bucket;
use super::recent::Recent;
use super::similar::{COMBINED, Similar};
use crate::events::{Kind, Object, Occurrence};

pub(super) use series::{Record, Verb, Write};

/// Least time between two writes of one series.
const REPEAT_EVERY: u64 = 60_000;
/// After so long a normal event that waits gives way to a later one of the same pod and container.
const SUMMARISE_AFTER: u64 = 20_000;
/// After so long a normal event that waits is dropped.
const SHED_AFTER: u64 = 60_000;
/// Least time between two looks for them.
const SHED_EVERY: u64 = 500;
/// An event that the API server refused is tried again after so long, and so often.
const REFUSED_PAUSE: u64 = 30_000;
const MAX_REFUSALS: u32 = 3;
/// Repeats of one object and type at once, and their rate after that (`defaultSpamBurst`, `defaultSpamQPS` of
/// `tools/record/events_cache.go` of client-go). There they cost events, here only time.
const SPAM_BURST: f64 = 25.0;
const SPAM_PER_SECOND: f64 = 1.0 / 300.0;
/// Objects whose repeats are counted: both types of 220 pods with four containers each.
const MAX_SPAMMERS: usize = 2_000;

/// The rates that the configuration allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    /// Writes per second; 0 is no limit.
    pub(super) qps: f64,
    /// Writes above that rate at once.
    pub(super) burst: f64,
}

/// What became of events so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes that the API server took.
    pub written: u64,
    /// Normal events that were dropped to stay within the budget or the memory.
    pub shed: u64,
    /// Warnings that were dropped because there were too many series at once.
    pub lost_warnings: u64,
    /// Events that the API server does not want, such as those of a namespace that goes away.
    pub rejected: u64,
    /// Writes that failed and are tried again.
    pub failed: u64,
    /// Series that wait for a write.
    pub pending: usize,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the API.
    Written,
    /// An event of that name is there already.
    Exists,
    /// The event that was to be changed is gone.
    Gone,
    /// The API server does not want it, now or later.
    Rejected,
    /// The API server does not want it now.
    Refused,
    /// The API server could not be reached or could not answer. The write may have worked.
    Failed {
        /// The pause that it asks for.
        pause: Option<Duration>,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// This write.
    Write(Box<Write>),
    /// Nothing for so long; none if only an event or an answer can change that.
    Wait(Option<Duration>),
}

/// The series, and what may be written of them.
#[derive(Debug)]
pub(super) struct Correlator {
    similar: Similar,
    store: Store,
    spam: Recent<(Object, Kind), Bucket>,
    /// For warnings that are new, and for nothing else.
    first: Bucket,
    /// For everything.
    shared: Bucket,
    /// For normal events, besides the shared one.
    normal: Bucket,
    outage: Outage,
    /// Objects of which something is being written.
    busy: BTreeSet<Object>,
    shed_again: u64,
    starts: Starts,
    tally: Tally,
}

fn full_spam_bucket() -> Bucket {
    Bucket::new(SPAM_BURST, SPAM_PER_SECOND)
}

impl Correlator {
    /// `seed` sets nodes apart, so that they do not all try again at once.
    pub(super) fn new(rates: Rates, seed: u64) -> Self {
        let Rates { qps, burst } = rates;
        let limited = |share: f64, of_burst: f64| {
            if qps > 0.0 { Bucket::new(burst * of_burst, qps * share) } else { Bucket::unlimited() }
        };
        Self {
            similar: Similar::new(),
            store: Store::default(),
            spam: Recent::new(MAX_SPAMMERS),
            first: limited(0.2, 0.2),
            shared: limited(0.8, 0.8),
            // A full node that starts is told in full; a node that churns for minutes is not.
            normal: limited(1.0 / 6.0, 4.0),
            outage: Outage::new(seed),
            busy: BTreeSet::new(),
            shed_again: 0,
            starts: Starts::default(),
            tally: Tally::default(),
        }
    }

    /// Whether pods are being started.
    pub(super) fn starting(&mut self, starting: bool, now: u64) {
        self.starts.set(starting, now);
    }

    /// Nothing waits for starts any more.
    pub(super) fn forget_starts(&mut self) {
        self.starts = Starts::default();
    }

    /// What became of events so far.
    pub(super) fn tally(&self) -> Tally {
        Tally { pending: self.store.pending(), ..self.tally }
    }

    /// Events that were lost before they came here.
    pub(super) fn overflowed(&mut self, normal: u64, warnings: u64) {
        self.tally.shed = self.tally.shed.saturating_add(normal);
        self.tally.lost_warnings = self.tally.lost_warnings.saturating_add(warnings);
    }

    /// Something happened.
    pub(super) fn observe(&mut self, event: Occurrence, now: u64) {
        let combined = self.similar.combines(&event, now);
        let key = Key::of(&event, combined);
        let message = if combined { format!("{COMBINED}{}", event.message) } else { event.message };
        if let Some(id) = self.store.find(&key) {
            self.store.change(id, |series| series.repeat(message, event.at, now));
            return;
        }
        if let Some(lost) = self.store.make_room(key.kind) {
            self.lose(lost.key.kind, lost.unwritten());
        }
        if !self.store.is_full() {
            self.store.add(Series::new(key, message, event.at, now));
        } else {
            self.lose(key.kind, 1);
        }
    }

    fn lose(&mut self, kind: Kind, events: u32) {
        let counter = match kind {
            Kind::Normal => &mut self.tally.shed,
            Kind::Warning => &mut self.tally.lost_warnings,
        };
        *counter = counter.saturating_add(events.into());
    }

    /// The next write, which is begun by this call, or how long to wait for it.
    pub(super) fn next(&mut self, now: u64) -> Next {
        self.shed(now);
        if let Some(pause) = self.outage.pause(now, !self.busy.is_empty()) {
            return Next::Wait(pause);
        }
        match self.choose(now) {
            Ok(id) => self.begin(id, now),
            Err(pause) => Next::Wait(pause),
        }
    }

    /// Warnings that are new first when writes are scarce, else what was recorded first; then repeats.
    fn choose(&mut self, now: u64) -> Result<u64, Option<Duration>> {
        let mut pause = None;
        let warning = self.ready(Class::NewWarning, now, &mut pause);
        let normal = self.ready(Class::NewNormal, now, &mut pause);
        let chosen = match (warning, normal) {
            (Some(warning), Some(normal)) if normal < warning && !self.shared.is_low(now) => Some(normal),
            (Some(warning), _) => Some(warning),
            (None, normal) => normal,
        };
        match chosen {
            Some(id) => Ok(id),
            None => self.ready(Class::Repeat, now, &mut pause).ok_or(pause),
        }
    }

    /// The first of a class whose object is not busy, if its budget allows; else `pause` is at most the time until then.
    fn ready(&mut self, class: Class, now: u64, pause: &mut Option<Duration>) -> Option<u64> {
        let (due, id) = self.store.first(class, |series| !self.busy.contains(&series.key.object.whole()))?;
        let yielded = match (class, self.store.get(id)) {
            (Class::NewNormal, Some(series)) => self.starts.pause(series.since, now),
            _ => 0,
        };
        let until_due = Duration::from_millis(due.saturating_sub(now).max(yielded));
        let wait = until_due.max(self.budget(id, now));
        if wait.is_zero() {
            return Some(id);
        }
        *pause = Some(pause.map_or(wait, |known| known.min(wait)));
        None
    }

    /// Time until the budgets allow a write of this series.
    fn budget(&mut self, id: u64, now: u64) -> Duration {
        let Some(series) = self.store.get(id) else { return Duration::ZERO };
        let (kind, class) = (series.key.kind, series.class());
        let shared = self.shared.ready_in(now);
        match (class, kind) {
            (Some(Class::NewWarning), _) => self.first.ready_in(now).min(shared),
            (_, Kind::Normal) => shared.max(self.normal.ready_in(now)),
            (_, Kind::Warning) => shared,
        }
    }

    fn begin(&mut self, id: u64, now: u64) -> Next {
        let Some(series) = self.store.get(id) else { return Next::Wait(None) };
        let (kind, class, object) = (series.key.kind, series.class(), series.key.object.clone());
        let own = class == Some(Class::NewWarning) && self.first.ready_in(now).is_zero();
        if own {
            self.first.take()
        } else {
            self.shared.take()
        }
        if kind == Kind::Normal {
            self.normal.take();
        }
        if class == Some(Class::Repeat) {
            let spammer = (object.clone(), kind);
            self.spam.entry(&spammer, full_spam_bucket).take();
        }
        self.busy.insert(object.whole());
        let write = self.store.change(id, |series| series.begin(id));
        write.map_or(Next::Wait(None), |write| Next::Write(Box::new(write)))
    }

    /// A write that [`Correlator::next`] began was answered.
    pub(super) fn done(&mut self, write: &Write, outcome: Outcome, now: u64) {
        self.busy.remove(&write.record.object.whole());
        match outcome {
            Outcome::Failed { pause } => {
                self.tally.failed = self.tally.failed.saturating_add(1);
                self.outage.failed(now, pause);
            }
            _ => self.outage.over(),
        }
        match outcome {
            Outcome::Written => self.tally.written = self.tally.written.saturating_add(1),
            Outcome::Rejected => self.tally.rejected = self.tally.rejected.saturating_add(1),
            _ => {}
        }
        let quiet = self.quiet(write, now);
        let refused = self.store.change(write.id, |series| {
            series.settle(write, outcome, now, quiet);
            series.refusals
        });
        if refused.is_some_and(|refusals| refusals > MAX_REFUSALS) {
            self.tally.rejected = self.tally.rejected.saturating_add(1);
            self.store.change(write.id, Series::give_up);
        }
    }

    /// How long the next repeat waits after this write: at least as long as repeats of its object must.
    fn quiet(&mut self, write: &Write, now: u64) -> u64 {
        let spammer = (write.record.object.clone(), write.record.kind);
        let spam = self.spam.entry(&spammer, full_spam_bucket).ready_in(now);
        u64::try_from(spam.as_millis()).unwrap_or(u64::MAX).max(REPEAT_EVERY)
    }

    /// Normal events that wait too long give way: first to a later one of the same container, at last altogether.
    fn shed(&mut self, now: u64) {
        let oldest = self.store.oldest_normal();
        let waits_long = oldest.is_some_and(|since| now.saturating_sub(since) >= SUMMARISE_AFTER);
        if !waits_long || now < self.shed_again {
            return;
        }
        self.shed_again = now.saturating_add(SHED_EVERY);
        for id in self.store.superseded(SUMMARISE_AFTER, now) {
            if let Some(series) = self.store.remove(id) {
                self.lose(series.key.kind, series.unwritten());
            }
        }
    }

    /// Forgets what the API server has forgotten too.
    pub(super) fn tidy(&mut self, now: u64) {
        self.similar.tidy(now);
        self.store.tidy(now);
        self.spam.retain(|bucket| !bucket.is_full(now));
    }
}

#[cfg(test)]
mod tests;
