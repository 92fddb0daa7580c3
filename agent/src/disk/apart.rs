//! Work on file systems that may never answer: NFS without its server, FUSE without its process. A thread that waits
//! for one cannot be stopped, so such work has threads of its own, and the few of them that hang are counted.
//!
//! ```text
//!  work on a path ── the agent's own file system, or one in memory ──▶ a blocking thread, as everything else
//!                 └─ any other ──▶ the lane of its mount: one thread at a time
//!                                   └─ no answer within the deadline: an error, and so is every further piece of work
//!                                      on that mount, at once, until the thread comes back
//! ```
//!
//! What the agent itself lies on is no case of its own: if that hangs, so does the journal.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;

use super::Disk;

/// How long a file system may take for one piece of work. A disk that must spin up takes some 10 s.
const DEADLINE: Duration = Duration::from_secs(20);
/// Mounts that may hang before work on further ones is refused: bounds the threads.
const MAX_LANES: usize = 16;
/// Pieces of such work at a time, of all mounts together. Each is waited for on a thread of the pool, which has 512 and must
/// not run out of them while many mounts begin to hang at once.
const MAX_WAITS: usize = 64;
/// File systems that live in this machine's memory.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "hugetlbfs"];

/// Where such work is done. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Apart {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    /// A directory of the agent's own file system.
    home: PathBuf,
    deadline: Duration,
    lanes: Mutex<BTreeMap<PathBuf, Arc<Lane>>>,
    waits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Lane {
    turn: Arc<Semaphore>,
    /// Since when the work that did not answer in time is under way.
    hanging: Mutex<Option<Instant>>,
}

/// Why work was not done. If it hangs, it may still be done some day.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    /// The file system does not answer.
    #[error("{0}")]
    NoAnswer(NoAnswer),
    /// Work on too many others hangs.
    #[error("work on {MAX_LANES} file systems that do not answer is under way already")]
    TooMany,
    /// Something else of the machine.
    #[error("failed to work on {path}")]
    Failed {
        /// What was worked on.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// A file system that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// Its mount point; the path itself where that is on the agent's own file system by its name.
    pub mount: PathBuf,
    /// For how long.
    pub waited: Duration,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the file system at {} did not answer within {} s",
            self.mount.display(),
            self.waited.as_secs()
        )
    }
}

impl Apart {
    /// For work on this disk; `home` is a directory of the agent's own, which need not be there yet.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, home: PathBuf) -> Self {
        Self::with_deadline(disk, home, DEADLINE)
    }

    /// With another deadline.
    #[must_use]
    pub fn with_deadline(disk: Arc<dyn Disk>, home: PathBuf, deadline: Duration) -> Self {
        let waits = Arc::new(Semaphore::new(MAX_WAITS));
        Self { shared: Arc::new(Shared { disk, home, deadline, lanes: Mutex::default(), waits }) }
    }

    /// Does work that concerns `path`, and nothing outside of its file system but what always answers.
    pub async fn on<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&dyn Disk) -> T + Send + 'static,
    ) -> Result<T, ApartError> {
        let failed = |source| ApartError::Failed { path: path.to_owned(), source };
        let place = self.place(path).await.map_err(failed)?;
        let Some(mount) = place else {
            let disk = Arc::clone(&self.shared.disk);
            return joined(spawn_blocking(move || work(disk.as_ref())).await).map_err(failed);
        };
        self.in_lane(mount, work).await
    }

    /// Does work of which nobody can say beforehand what it meets, in a lane of this name of its own.
    pub async fn alone<T: Send + 'static>(
        &self,
        name: &Path,
        work: impl FnOnce(&dyn Disk) -> T + Send + 'static,
    ) -> Result<T, ApartError> {
        self.in_lane(name.to_owned(), work).await
    }

    async fn in_lane<T: Send + 'static>(
        &self,
        mount: PathBuf,
        work: impl FnOnce(&dyn Disk) -> T + Send + 'static,
    ) -> Result<T, ApartError> {
        let lane = self.lane(&mount)?;
        let failed = |source| ApartError::Failed { path: mount.clone(), source };
        let no_answer = |waited| ApartError::NoAnswer(NoAnswer { mount: mount.clone(), waited });
        let hanging = *lane.hanging();
        if let Some(since) = hanging {
            return Err(no_answer(since.elapsed()));
        }
        let deadline = self.shared.deadline;
        let turn = tokio::time::timeout(deadline, Arc::clone(&lane.turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(no_answer(deadline)) };
        let wait = Arc::clone(&self.shared.waits).acquire_owned();
        // Whoever has one now gives it back within the deadline.
        let Ok(Ok(wait)) = tokio::time::timeout(deadline, wait).await else {
            return Err(ApartError::TooMany);
        };
        let disk = Arc::clone(&self.shared.disk);
        // The wait too is a thread's: a paused clock of tests stands still for it. It ends with the deadline.
        let waited = spawn_blocking(move || {
            let _wait = wait;
            lane.run(turn, deadline, move || work(disk.as_ref()))
        })
        .await;
        let answer = joined(waited).and_then(|answer| answer).map_err(failed)?;
        answer.ok_or_else(|| no_answer(deadline))
    }

    /// The lane that a path belongs to; none for what the agent's own file system or memory answers.
    async fn place(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let (disk, path, home) = (Arc::clone(&self.shared.disk), path.to_owned(), self.shared.home.clone());
        let found = spawn_blocking(move || {
            let (mount, own) = (disk.mount_of(&path)?, disk.mount_of(&home)?);
            let known = mount.path == own.path || IN_MEMORY.contains(&mount.kind.as_str());
            Ok(match (known, path.starts_with(&home)) {
                (true, true) => None,
                // A link on the way may lead elsewhere.
                (true, false) => Some(path),
                (false, _) => Some(mount.path),
            })
        });
        joined(found.await).and_then(|found| found)
    }

    fn lane(&self, mount: &Path) -> Result<Arc<Lane>, ApartError> {
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(mount) {
            return Ok(Arc::clone(lane));
        }
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        let hanging = lanes.values().filter(|lane| lane.hanging().is_some()).count();
        if hanging >= MAX_LANES {
            return Err(ApartError::TooMany);
        }
        let lane = Arc::new(Lane { turn: Arc::new(Semaphore::new(1)), hanging: Mutex::default() });
        lanes.insert(mount.to_owned(), Arc::clone(&lane));
        Ok(lane)
    }
}

impl Lane {
    fn hanging(&self) -> MutexGuard<'_, Option<Instant>> {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work on a thread of its own and waits for it up to the deadline; none if it hangs. The turn is kept
    /// until it comes back.
    fn run<T: Send + 'static>(
        self: Arc<Self>,
        turn: OwnedSemaphorePermit,
        deadline: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Option<T>> {
        let (answer, answered) = sync_channel(1);
        let began = Instant::now();
        let lane = Arc::clone(&self);
        let thread = thread::Builder::new().name("volume".to_owned());
        thread.spawn(move || lane.to_its_end(turn, &answer, work))?;
        match answered.recv_timeout(deadline) {
            Ok(value) => return Ok(Some(value)),
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the work panicked")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let mut hanging = self.hanging();
        // It may have come back in this very moment: then nobody would take the mark away.
        match answered.try_recv() {
            Ok(value) => Ok(Some(value)),
            Err(_) => {
                *hanging = Some(began);
                Ok(None)
            }
        }
    }

    fn to_its_end<T>(&self, turn: OwnedSemaphorePermit, answer: &SyncSender<T>, work: impl FnOnce() -> T) {
        // Also if the work panics.
        let _end = End { lane: self, _turn: turn };
        let value = work();
        let _hanging = self.hanging();
        // Nobody waits for it any more if it comes late.
        let _late = answer.try_send(value);
    }
}

/// What the end of a piece of work brings about.
struct End<'a> {
    lane: &'a Lane,
    _turn: OwnedSemaphorePermit,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.lane.hanging() = None;
    }
}

fn joined<T>(result: Result<T, JoinError>) -> io::Result<T> {
    result.map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
