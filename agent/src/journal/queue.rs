//! What is not on disk yet, and the handle by which everyone adds to it. Nothing here blocks or touches a file.
//!
//! Every entry is applied to the histories at once and waits in order to be appended. When the disk is stuck and
//! too many wait, they are given up as entries: the histories contain them, and the next write is a snapshot.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::history::{Class, Entry, Histories, apply};
use super::store::JournalError;
use super::writer::{Opened, open};
use crate::disk::{Disk, MemoryDisk};

/// Entries that may wait. About 40 per pod of a full node of 110; an entry is well under 1 KiB beside its shared spec.
const MAX_PENDING: usize = 4_096;
/// Grouping of writes that someone waits for (at most 5 ms).
const GROUP: Duration = Duration::from_millis(2);
/// Batches of class `Soon`.
const SOON: Duration = Duration::from_millis(100);
/// Batches of class `Lazy`.
const LAZY: Duration = Duration::from_secs(10);
/// How long a caller waits for a sync before it must decide without: an ordinary disk needs milliseconds.
const SYNC_DEADLINE: Duration = Duration::from_secs(10);

type Answer = Result<(), JournalError>;

/// Adds to the journal. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    condition: watch::Receiver<Option<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// The queue's due time came closer.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    histories: Histories,
    pending: Vec<Entry>,
    /// Entries were given up; the histories have them.
    overflowed: bool,
    waiters: Vec<oneshot::Sender<Answer>>,
    due: Option<Instant>,
    closed: bool,
}

/// What one write takes along.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) work: Work,
    pub(super) waiters: Vec<oneshot::Sender<Answer>>,
}

/// The two ways of writing.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Append these.
    Append(Vec<Entry>),
    /// Replace both files by this.
    Rewrite(Histories),
}

impl Journal {
    pub(super) fn new(shared: Arc<Shared>, condition: watch::Receiver<Option<String>>) -> Self {
        Self { shared, condition }
    }

    /// Reads the journal in `dir`. Blocks on files. Nothing found there is an error: damaged files are set aside
    /// and reported, an unwritable disk shows as [`Journal::condition`].
    #[must_use]
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Opened {
        open(disk, dir)
    }

    /// A journal on a disk in memory, for tests of its users. Its writer must run as any other.
    #[must_use]
    pub fn in_memory() -> Opened {
        open(Arc::new(MemoryDisk::default()), "/journal".into())
    }

    /// Adds an entry, to be on disk within the time of its class. Never blocks and never fails: an entry that
    /// cannot be written stays in memory and is tried again. After the writer's end it is lost.
    pub fn record(&self, entry: Entry, class: Class) {
        let wait = match class {
            Class::Lazy => LAZY,
            Class::Soon => SOON,
            Class::BeforeEffect => GROUP,
        };
        self.add(vec![entry], wait, None);
    }

    /// Adds entries and returns once they are on disk. After an error they are still kept and tried again, but
    /// the effect that they announce must be weighed without them.
    pub async fn record_before_effect(&self, entries: Vec<Entry>) -> Result<(), JournalError> {
        let (answer, written) = oneshot::channel();
        self.add(entries, GROUP, Some(answer));
        match timeout(SYNC_DEADLINE, written).await {
            Ok(Ok(result)) => result,
            Ok(Err(_writer_is_gone)) => Err(JournalError::Closed),
            Err(_elapsed) => Err(JournalError::Timeout),
        }
    }

    /// What keeps the journal from being written: the file and the reason. None while it works.
    #[must_use]
    pub fn condition(&self) -> watch::Receiver<Option<String>> {
        self.condition.clone()
    }

    /// Everything that was recorded, on disk or not.
    #[must_use]
    pub fn histories(&self) -> Histories {
        self.shared.lock().histories.clone()
    }

    fn add(&self, entries: Vec<Entry>, wait: Duration, waiter: Option<oneshot::Sender<Answer>>) {
        let due = Instant::now() + wait;
        let sooner = {
            let mut queue = self.shared.lock();
            queue.push(entries);
            if !queue.closed {
                queue.waiters.extend(waiter);
            }
            queue.hurry(due)
        };
        if sooner {
            self.shared.changed.notify_one();
        }
    }
}

impl Shared {
    pub(super) fn new(histories: Histories) -> Self {
        Self { queue: Mutex::new(Queue { histories, ..Queue::default() }), changed: Notify::default() }
    }

    /// A panic while the lock was held leaves no half-done change behind that a reader could trip over.
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            apply(&mut self.histories, &entry);
            if !self.overflowed {
                self.pending.push(entry);
            }
        }
        if self.pending.len() > MAX_PENDING {
            self.overflowed = true;
            self.pending = Vec::new();
        }
    }

    /// Makes the next write due by then; tells whether that is sooner than before.
    pub(super) fn hurry(&mut self, due: Instant) -> bool {
        let sooner = self.due.is_none_or(|known| due < known);
        if sooner {
            self.due = Some(due);
        }
        sooner
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Entries that are only in memory, for a last word when they are lost. At least so many.
    pub(super) fn unwritten(&self) -> usize {
        self.pending.len().max(usize::from(self.overflowed))
    }

    /// No waiter is taken after this.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Takes everything there is, as a rewrite if one is wanted or entries were given up.
    pub(super) fn take(&mut self, rewrite: bool) -> Batch {
        self.due = None;
        let pending = std::mem::take(&mut self.pending);
        let rewrite = std::mem::take(&mut self.overflowed) || rewrite;
        let work = if rewrite { Work::Rewrite(self.histories.clone()) } else { Work::Append(pending) };
        Batch { work, waiters: std::mem::take(&mut self.waiters) }
    }

    /// Puts back what could not be written, before what came since.
    pub(super) fn put_back(&mut self, work: Work) {
        match work {
            Work::Append(mut entries) if !self.overflowed => {
                entries.append(&mut self.pending);
                self.pending = entries;
                if self.pending.len() > MAX_PENDING {
                    self.overflowed = true;
                    self.pending = Vec::new();
                }
            }
            Work::Append(_) => {}
            Work::Rewrite(_) => {
                self.overflowed = true;
                self.pending = Vec::new();
            }
        }
    }
}
