//! The loop that brings entries to disk.
//!
//! Owns the files. Woken by the queue's due time, which every new entry may bring forward. Writes the two files and
//! the journal's condition. Ends when told to, after a last write; whoever records later than that is refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::history::Histories;
use super::queue::{Batch, Journal, Shared, Work};
use super::store::{Found, JournalError, Store};
use crate::disk::Disk;
use crate::wait::at;

/// First wait after a failed write; also the least while somebody waits for an answer.
const MIN_RETRY: Duration = Duration::from_secs(1);
/// Longest wait after a failed write.
const MAX_RETRY: Duration = Duration::from_secs(30);
/// A write that takes longer shows in the condition.
const SLOW: Duration = Duration::from_secs(10);

/// A journal that was read, with everything that goes on from there.
pub struct Opened {
    /// Adds entries.
    pub journal: Journal,
    /// Must run for anything to be written.
    pub writer: Writer,
    /// What earlier runs recorded.
    pub histories: Histories,
    /// What was wrong with the files, for log and events.
    pub reports: Vec<String>,
}

/// Brings entries to disk.
pub struct Writer {
    shared: Arc<Shared>,
    /// Absent only while a blocking thread writes.
    store: Option<Store>,
    condition: watch::Sender<Option<String>>,
    failing: Option<Failing>,
}

/// Since a write failed, until one succeeds.
#[derive(Debug, Clone, Copy)]
struct Failing {
    last_try: Instant,
    delay: Duration,
}

pub(super) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Opened {
    let Found { store, histories, reports } = Store::open(disk, dir);
    let shared = Arc::new(Shared::new(histories.clone()));
    let (condition, seen) = watch::channel(None);
    let journal = Journal::new(Arc::clone(&shared), seen);
    let writer = Writer { shared, store: Some(store), condition, failing: None };
    Opened { journal, writer, histories, reports }
}

impl Writer {
    /// Runs until told to stop, then writes what is left. Stop it after everyone who records.
    pub async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = at(due) => self.write().await,
                () = shared.changed.notified() => {}
            }
        }
        self.finish().await;
    }

    /// When to write next. While writes fail, a waiting caller brings the next try forward, but not below
    /// [`MIN_RETRY`].
    fn due(&self) -> Option<Instant> {
        let queue = self.shared.lock();
        let Some(failing) = self.failing else { return queue.due() };
        let delay = if queue.has_waiters() { MIN_RETRY } else { failing.delay };
        Some(failing.last_try + delay)
    }

    async fn write(&mut self) {
        let Some(mut store) = self.store.take() else { return };
        let Batch { work, waiters } = self.shared.lock().take(store.wants_rewrite());
        let mut writing = tokio::task::spawn_blocking(move || {
            let result = match &work {
                Work::Append(entries) if entries.is_empty() => Ok(()),
                Work::Append(entries) => store.append(entries),
                Work::Rewrite(histories) => store.rewrite(histories),
            };
            (store, work, result)
        });
        let written = match timeout(SLOW, &mut writing).await {
            Ok(written) => written,
            Err(_elapsed) => {
                self.complain("the disk gives no answer".to_owned());
                writing.await
            }
        };
        let (store, work, result) = match written {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_runtime_is_going) => return,
        };
        for waiter in waiters {
            let _caller_gave_up = waiter.send(result.clone());
        }
        match result {
            Ok(()) => self.succeeded(&store),
            Err(error) => self.failed(work, &error),
        }
        self.store = Some(store);
    }

    fn succeeded(&mut self, store: &Store) {
        self.failing = None;
        if self.condition.send_if_modified(|condition| condition.take().is_some()) {
            info!("journal is written again");
        }
        if store.wants_rewrite() {
            self.shared.lock().hurry(Instant::now());
        }
    }

    fn failed(&mut self, work: Work, error: &JournalError) {
        let delay = self.failing.map_or(MIN_RETRY, |failing| failing.delay.saturating_mul(2).min(MAX_RETRY));
        self.failing = Some(Failing { last_try: Instant::now(), delay });
        self.shared.lock().put_back(work);
        self.complain(error.with_source());
    }

    /// Logs only what was not the case before.
    fn complain(&self, message: String) {
        let news = self.condition.borrow().as_ref() != Some(&message);
        if news {
            warn!(error = %message, "journal is not written, entries are kept in memory and tried again");
            self.condition.send_replace(Some(message));
        }
    }

    /// The last write, tried once: a disk that fails now is not waited for.
    async fn finish(&mut self) {
        self.shared.lock().close();
        self.write().await;
        let lost = self.shared.lock().unwritten();
        if lost > 0 {
            error!(entries = lost, "journal entries are lost");
        }
    }
}
