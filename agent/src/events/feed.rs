//! Events on their way from those who record them to the loop that writes them to the API.
//!
//! A sender never waits. The loop takes everything at once whenever it is woken, so a full queue means that the process
//! has had no time for it: then normal events give way first and what is lost is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Kind, Object};

/// Events of one kind in the queue: a full node's pods all starting at once make some 500. An event is some 300 bytes.
const MAX_QUEUED: usize = 2_000;

/// Something that happened once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// What it is about.
    pub object: Object,
    /// Whether it is as it should be.
    pub kind: Kind,
    /// A word of the kubelet's, such as `Started`.
    pub reason: String,
    /// What people read.
    pub message: String,
    /// When, by the wall clock.
    pub at: Timestamp,
}

/// What could not be queued since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Normal events.
    pub normal: u64,
    /// Warnings.
    pub warnings: u64,
}

/// The reader's end. One loop reads it.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// The senders' end, shared by every clone of the event log.
#[derive(Debug, Clone)]
pub(super) struct Feeder {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Occurrence>,
    warnings: usize,
    overflow: Overflow,
}

/// Both ends.
pub(super) fn feed() -> (Feeder, Feed) {
    let shared = Arc::new(Shared::default());
    (Feeder { shared: Arc::clone(&shared) }, Feed { shared })
}

impl Feeder {
    /// Queues an event without waiting.
    pub(super) fn send(&self, event: Occurrence) {
        self.shared.lock().push(event);
        self.shared.filled.notify_one();
    }
}

impl Feed {
    /// Everything that is queued, the oldest first, and what was lost before it.
    pub fn take(&self) -> (VecDeque<Occurrence>, Overflow) {
        let mut queue = self.shared.lock();
        queue.warnings = 0;
        (std::mem::take(&mut queue.events), std::mem::take(&mut queue.overflow))
    }

    /// Waits until something was queued since the last wait. Cancel-safe.
    pub async fn filled(&self) {
        self.shared.filled.notified().await;
    }
}

impl Shared {
    /// A panic elsewhere while the lock was held leaves at worst one event out.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, event: Occurrence) {
        let normals = self.events.len().saturating_sub(self.warnings);
        match event.kind {
            Kind::Normal if normals >= MAX_QUEUED => {
                self.overflow.normal = self.overflow.normal.saturating_add(1);
                return;
            }
            Kind::Warning if self.warnings >= MAX_QUEUED => {
                self.overflow.warnings = self.overflow.warnings.saturating_add(1);
                return;
            }
            Kind::Normal => {}
            Kind::Warning => self.warnings = self.warnings.saturating_add(1),
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_normals_never_costs_a_warning_and_the_loss_is_counted() {
        let (feeder, feed) = feed();
        let event = |kind| Occurrence {
            object: Object::node(""),
            kind,
            reason: "R".into(),
            message: String::new(),
            at: Timestamp::UNIX_EPOCH,
        };
        for _ in 0..MAX_QUEUED + 7 {
            feeder.send(event(Kind::Normal));
        }
        feeder.send(event(Kind::Warning));
        let (events, overflow) = feed.take();
        assert_eq!(events.len(), MAX_QUEUED + 1);
        assert_eq!(events.back().unwrap().kind, Kind::Warning);
        assert_eq!(overflow, Overflow { normal: 7, warnings: 0 });
        assert_eq!(feed.take(), (VecDeque::new(), Overflow::default()));
    }
}
