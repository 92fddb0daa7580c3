//! One series: equal events, or similar ones that are combined. Pure.

use jiff::Timestamp;

use super::store::Class;
use super::{Outcome, REFUSED_PAUSE, SHED_AFTER};
use crate::events::{Kind, Object, Occurrence};

/// What makes two events one series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: Object,
    pub(super) kind: Kind,
    pub(super) reason: String,
    /// None for the combined series of the object, type and reason.
    pub(super) message: Option<String>,
}

impl Key {
    pub(super) fn of(event: &Occurrence, combined: bool) -> Self {
        Self {
            object: if combined { event.object.whole() } else { event.object.clone() },
            kind: event.kind,
            reason: event.reason.clone(),
            message: (!combined).then(|| event.message.clone()),
        }
    }
}

/// What is written of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Record {
    pub(in super::super) object: Object,
    pub(in super::super) kind: Kind,
    pub(in super::super) reason: String,
    pub(in super::super) message: String,
    pub(in super::super) first: Timestamp,
    pub(in super::super) last: Timestamp,
    pub(in super::super) count: u32,
    /// Makes the event's name: nanoseconds since 1970, no two alike.
    pub(in super::super) number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Verb {
    Create,
    Patch,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Write {
    /// The series.
    pub(super) id: u64,
    pub(in super::super) verb: Verb,
    pub(in super::super) record: Record,
}

#[derive(Debug)]
pub(super) struct Series {
    pub(super) key: Key,
    message: String,
    first: Timestamp,
    last: Timestamp,
    count: u32,
    /// Makes the event's name; given by the store.
    pub(super) number: u64,
    /// The event is in the API.
    made: bool,
    /// What the API was told last, or was not to be told.
    told: u32,
    writing: bool,
    /// A write that makes the event may have worked.
    in_doubt: bool,
    pub(super) refusals: u32,
    /// No write before this moment.
    pub(super) not_before: u64,
    pub(super) since: u64,
    pub(super) touched: u64,
}

impl Series {
    pub(super) fn new(key: Key, message: String, at: Timestamp, now: u64) -> Self {
        Self {
            key,
            message,
            first: at,
            last: at,
            count: 1,
            number: 0,
            made: false,
            told: 0,
            writing: false,
            in_doubt: false,
            refusals: 0,
            not_before: 0,
            since: now,
            touched: now,
        }
    }

    /// It happened again.
    pub(super) fn repeat(&mut self, message: String, at: Timestamp, now: u64) {
        self.message = message;
        self.last = self.last.max(at);
        self.count = self.count.saturating_add(1);
        self.touched = now;
    }

    /// Where it waits for a write; none if it does not.
    pub(super) fn class(&self) -> Option<Class> {
        if self.writing || self.count == self.told {
            return None;
        }
        Some(match self.key.kind {
            _ if self.made || self.told > 0 || self.refusals > 0 => Class::Repeat,
            Kind::Normal => Class::NewNormal,
            Kind::Warning => Class::NewWarning,
        })
    }

    pub(super) fn first_seen(&self) -> Timestamp {
        self.first
    }

    /// Events that the API was not told of.
    pub(super) fn unwritten(&self) -> u32 {
        self.count.saturating_sub(self.told)
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing
    }

    /// The write that is now under way.
    pub(super) fn begin(&mut self, id: u64) -> Write {
        self.writing = true;
        let record = Record {
            object: self.key.object.clone(),
            kind: self.key.kind,
            reason: self.key.reason.clone(),
            message: self.message.clone(),
            first: self.first,
            last: self.last,
            count: self.count,
            number: self.number,
        };
        Write { id, verb: if self.made { Verb::Patch } else { Verb::Create }, record }
    }

    /// It was answered. The next repeat of what is written waits for `quiet`.
    pub(super) fn settle(&mut self, write: &Write, outcome: Outcome, now: u64, quiet: u64) {
        self.writing = false;
        match outcome {
            Outcome::Written => {
                self.made = true;
                self.in_doubt = false;
                self.refusals = 0;
                self.told = write.record.count;
                self.not_before = now.saturating_add(quiet);
            }
            // Ours, from a write whose answer was lost: what it said is not known, so it is told again at once.
            Outcome::Exists if self.in_doubt => {
                self.made = true;
                self.in_doubt = false;
                self.not_before = now;
            }
            // Another's of the same name.
            Outcome::Exists => self.number = self.number.saturating_add(1),
            Outcome::Gone => {
                self.made = false;
                self.told = 0;
                self.since = now;
            }
            Outcome::Rejected => {
                self.told = write.record.count;
                self.not_before = now.saturating_add(quiet);
            }
            Outcome::Refused => {
                self.refusals = self.refusals.saturating_add(1);
                self.not_before = now.saturating_add(REFUSED_PAUSE);
            }
            Outcome::Failed { .. } => self.in_doubt |= write.verb == Verb::Create,
        }
    }

    /// The API server does not want it.
    pub(super) fn give_up(&mut self) {
        self.told = self.count;
        self.refusals = 0;
    }

    /// How little it matters, least first: what is written, then normal events, then counts, then new warnings.
    pub(super) fn worth(&self) -> u8 {
        match self.class() {
            _ if self.writing => 4,
            None => 0,
            Some(Class::NewNormal) => 1,
            Some(Class::Repeat) => 2,
            Some(Class::NewWarning) => 3,
        }
    }

    /// Whether a new normal event has waited too long.
    pub(super) fn is_stale(&self, now: u64) -> bool {
        now.saturating_sub(self.since) >= SHED_AFTER
    }
}
