//! Calls under way towards the runtime, each a task with a deadline; a hung one costs a slot for two seconds only.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::draft::{Inspection, Status, Target};
use crate::seam::{Listed, Listing, Runtime, Unanswered};
use crate::slots::{Kind, Slots};

/// An answer, or why there is none.
#[derive(Debug)]
pub(crate) enum Answer {
    List(Result<Listed, Unanswered>),
    Look(PodUid, Result<Listing, Unanswered>),
    Status(Inspection, Result<Status, Unanswered>),
}

/// A call that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Begin of the observation.
    pub(crate) begin: u64,
    pub(crate) answer: Answer,
    slot: Option<u64>,
}

/// The calls under way.
pub(crate) struct Calls<R> {
    runtime: Arc<R>,
    tasks: JoinSet<Ended>,
    slots: Slots,
    list_since: Option<Instant>,
}

impl<R: Runtime> Calls<R> {
    pub(crate) fn new(runtime: Arc<R>) -> Self {
        Self { runtime, tasks: JoinSet::new(), slots: Slots::default(), list_since: None }
    }

    /// Whether a complete list is under way.
    pub(crate) fn lists(&self) -> bool {
        self.list_since.is_some()
    }

    /// How many calls of the kind may start.
    pub(crate) fn free(&self, kind: Kind, now: Instant) -> usize {
        self.slots.free(kind, now)
    }

    /// When a slow call frees its slot.
    pub(crate) fn next_lent(&self, now: Instant) -> Option<Instant> {
        self.slots.next_lent(now)
    }

    /// Start of the oldest call under way.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.slots.oldest().into_iter().chain(self.list_since).min()
    }

    /// Starts a complete list, which takes no slot: there is only one.
    pub(crate) fn list(&mut self, begin: u64, deadline: Duration, now: Instant) {
        self.list_since = Some(now);
        let runtime = Arc::clone(&self.runtime);
        self.tasks.spawn(async move {
            let answer = Answer::List(bounded("list", deadline, runtime.list()).await);
            Ended { begin, answer, slot: None }
        });
    }

    /// Starts a look at one pod.
    pub(crate) fn look(&mut self, uid: PodUid, begin: u64, deadline: Duration, now: Instant) {
        let (runtime, slot) = (Arc::clone(&self.runtime), Some(self.slots.start(Kind::Look, now)));
        self.tasks.spawn(async move {
            let listed = bounded("list of one pod", deadline, runtime.list_pod(&uid)).await;
            Ended { begin, answer: Answer::Look(uid, listed), slot }
        });
    }

    /// Starts the inspection of one object.
    pub(crate) fn inspect(&mut self, what: Inspection, begin: u64, deadline: Duration, now: Instant) {
        let (runtime, slot) = (Arc::clone(&self.runtime), Some(self.slots.start(what.kind, now)));
        self.tasks.spawn(async move {
            let status = match &what.target {
                Target::Sandbox(id) => bounded("status", deadline, runtime.sandbox_status(id))
                    .await
                    .map(|status| Status::Sandbox(status.map(Arc::new))),
                Target::Container(id) => bounded("status", deadline, runtime.container_status(id))
                    .await
                    .map(|status| Status::Container(status.map(Arc::new))),
            };
            Ended { begin, answer: Answer::Status(what, status), slot }
        });
    }

    /// Waits for the next call to end; for ever while none is under way. Safe to drop and call again.
    pub(crate) async fn ended(&mut self) -> Ended {
        match self.tasks.join_next().await {
            Some(Ok(ended)) => self.note(ended),
            // A panic in a client is one of this process: it ends loudly instead of losing the answer in silence.
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Tasks are cancelled only when this is dropped.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// The next call that has ended already.
    pub(crate) fn try_ended(&mut self) -> Option<Ended> {
        match self.tasks.try_join_next()? {
            Ok(ended) => Some(self.note(ended)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }

    fn note(&mut self, ended: Ended) -> Ended {
        match ended.slot {
            Some(slot) => self.slots.end(slot),
            None => self.list_since = None,
        }
        ended
    }
}

async fn bounded<T>(
    what: &str,
    deadline: Duration,
    call: impl Future<Output = Result<T, Unanswered>>,
) -> Result<T, Unanswered> {
    timeout(deadline, call)
        .await
        .unwrap_or_else(|_| Err(Unanswered(format!("no answer to the {what} within {deadline:?}").into())))
}
