//! The log of all calls: which, about what, when they began, took effect and ended, and how.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Code;

use super::lock::lock;
use super::select::Subject;
use crate::call::Call;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet.
    Open,
    /// With an answer.
    Answered,
    /// With this error.
    Failed(Code, String),
    /// The client went away before an answer.
    Abandoned,
}

/// One call, as the fake saw it.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// Place in the order of all calls, from 1.
    pub seq: u64,
    /// Which call.
    pub call: Call,
    /// What it is about.
    pub subject: Subject,
    /// The request in a few words.
    pub request: String,
    /// When it arrived.
    pub began: Instant,
    /// When its work was done, even if the client never heard of it; none if it was refused or is not done.
    pub took_effect: Option<Instant>,
    /// When the answer was ready, or the client went away.
    pub ended: Option<Instant>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A point in the life of a call at which a tap is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It arrived; nothing is done yet.
    Began,
    /// Its work is done; the answer is not yet on its way.
    TookEffect,
    /// The answer is ready, or the client went away.
    Ended,
}

/// Told of each moment of each call, synchronously.
pub(super) type Tap = Box<dyn Fn(Moment, &CallRecord) + Send>;

/// Calls kept: a day of relists at one per second, and much more than a test makes.
const KEPT: usize = 200_000;

#[derive(Default)]
struct Log {
    records: VecDeque<CallRecord>,
    made: u64,
    tap: Option<Tap>,
}

pub(super) struct Calls {
    log: Mutex<Log>,
    /// Number of moments so far: lets a test wait for a call.
    changed: watch::Sender<u64>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Calls").field("made", &lock(&self.log).made).finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new() -> Self {
        Self { log: Mutex::default(), changed: watch::Sender::new(0) }
    }

    pub(super) fn begin(&self, call: Call, subject: Subject, request: String) -> u64 {
        let mut log = lock(&self.log);
        log.made = log.made.saturating_add(1);
        let record = CallRecord {
            seq: log.made,
            call,
            subject,
            request,
            began: Instant::now(),
            took_effect: None,
            ended: None,
            outcome: Outcome::Open,
        };
        if let Some(tap) = &log.tap {
            tap(Moment::Began, &record);
        }
        if log.records.len() >= KEPT {
            log.records.pop_front();
        }
        log.records.push_back(record);
        let seq = log.made;
        drop(log);
        self.bump();
        seq
    }

    pub(super) fn took_effect(&self, seq: u64) {
        self.update(seq, Moment::TookEffect, |record| record.took_effect = Some(Instant::now()));
    }

    pub(super) fn end(&self, seq: u64, outcome: Outcome) {
        self.update(seq, Moment::Ended, |record| {
            record.ended = Some(Instant::now());
            record.outcome = outcome;
        });
    }

    fn update(&self, seq: u64, moment: Moment, change: impl FnOnce(&mut CallRecord)) {
        let mut log = lock(&self.log);
        let Log { records, tap, .. } = &mut *log;
        if let Some(record) =
            records.binary_search_by_key(&seq, |r| r.seq).ok().and_then(|i| records.get_mut(i))
        {
            change(record);
            if let Some(tap) = tap {
                tap(moment, record);
            }
        }
        drop(log);
        self.bump();
    }

    fn bump(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn all(&self) -> Vec<CallRecord> {
        lock(&self.log).records.iter().cloned().collect()
    }

    pub(super) fn count(&self, wanted: impl Fn(&CallRecord) -> bool) -> usize {
        lock(&self.log).records.iter().filter(|record| wanted(record)).count()
    }

    pub(super) fn forget(&self) {
        lock(&self.log).records.retain(|record| record.outcome == Outcome::Open);
    }

    pub(super) fn set_tap(&self, tap: Option<Tap>) {
        lock(&self.log).tap = tap;
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
