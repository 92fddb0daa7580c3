//! Every task of the agent has a name and an owner: this is the only place that spawns.
//!
//! | kind | when it panics | at stop |
//! |---|---|---|
//! | core loop | the process ends, and the init system starts it again | sees the stop token |
//! | last loop | the same | sees its token once all others have ended |
//! | pod worker | whoever holds its [`Task`] is told, and quarantines that pod | sees its own token |
//! | call | whoever holds its [`Task`] is told | runs to its end, within the drain |
//!
//! Dropping a [`Task`] stops nothing: a mutating call to the runtime that was begun is never dropped half-way.

mod task;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use task::caught;
pub use task::{Task, WorkerPanic};

/// How long tasks may take to end once told to.
///
/// With [`LAST_DRAIN`] it stays below the five seconds within which the agent is to end.
pub const DRAIN: Duration = Duration::from_secs(3);
/// How long the last loops may take after that: a sync of the journal.
pub const LAST_DRAIN: Duration = Duration::from_secs(1);

/// Why the process must end, or did not end as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperviseError {
    /// A core loop panicked.
    #[error("core loop {} panicked: {}", .0.name, .0.message)]
    CorePanicked(WorkerPanic),
    /// A core loop returned before it was told to stop.
    #[error("core loop {0} ended by itself")]
    CoreEnded(Arc<str>),
    /// Tasks did not end in time. Harmless for pods: the next start finds what they left.
    #[error("{} tasks did not end in time: {}", .0.len(), .0.join(", "))]
    Unfinished(Vec<Arc<str>>),
}

/// Spawns tasks. Cheap to clone; every clone spawns into the same set.
#[derive(Debug, Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

/// Waits for the end of everything. One per process.
#[derive(Debug)]
pub struct Supervision {
    shared: Arc<Shared>,
    /// The first loss of a core loop; more than one says nothing new.
    lost: mpsc::Receiver<SuperviseError>,
}

#[derive(Debug)]
struct Shared {
    stop: CancellationToken,
    last_stop: CancellationToken,
    tasks: TaskTracker,
    last_tasks: TaskTracker,
    running: Mutex<Running>,
    lost: mpsc::Sender<SuperviseError>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    names: BTreeMap<u64, (Kind, Arc<str>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Core,
    Last,
    Pod,
    Call,
}

/// Takes a task off the list when it ends in whatever way.
struct Listed {
    shared: Arc<Shared>,
    number: u64,
}

impl Supervisor {
    /// A supervisor of tasks that end when `stop` is cancelled, and the means to wait for that.
    #[must_use]
    pub fn new(stop: CancellationToken) -> (Self, Supervision) {
        // One message is enough: the first core loop that is lost ends the process.
        let (lost, seen) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            stop,
            last_stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            last_tasks: TaskTracker::new(),
            running: Mutex::default(),
            lost,
        });
        (Self { shared: Arc::clone(&shared) }, Supervision { shared, lost: seen })
    }

    /// Tells core loops to stop.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// Runs a loop without which the agent is not whole. It ends only when the stop token says so.
    pub fn spawn_core(&self, name: impl Into<Arc<str>>, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shared.stop.clone();
        self.spawn_guarded(Kind::Core, name.into(), stop, task);
    }

    /// Runs a loop that others need to the end, such as the journal's writer. Its token is cancelled once every
    /// task of the other kinds has ended.
    pub fn spawn_last<F>(&self, name: impl Into<Arc<str>>, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.shared.last_stop.clone();
        self.spawn_guarded(Kind::Last, name.into(), stop.clone(), task(stop));
    }

    /// Runs the worker of one pod.
    pub fn spawn_pod<T>(
        &self,
        name: impl Into<Arc<str>>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Task<T>
    where
        T: Send + 'static,
    {
        self.spawn_owned(Kind::Pod, name.into(), task)
    }

    /// Runs a call that must reach its answer or its own deadline whoever still waits for it.
    pub fn spawn_call<T>(
        &self,
        name: impl Into<Arc<str>>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Task<T>
    where
        T: Send + 'static,
    {
        self.spawn_owned(Kind::Call, name.into(), task)
    }

    /// Calls that have no answer yet.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.shared.lock().names.values().filter(|(kind, _)| *kind == Kind::Call).count()
    }

    /// Names of the tasks that run, in the order of their start.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<str>> {
        self.shared.running()
    }

    fn spawn_guarded(
        &self,
        kind: Kind,
        name: Arc<str>,
        stop: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        let task = Box::pin(task);
        self.spawn(kind, Arc::clone(&name), async move {
            let loss = match caught(&name, task).await {
                Err(panic) => SuperviseError::CorePanicked(panic),
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => SuperviseError::CoreEnded(name),
            };
            let _another_was_first = shared.lost.try_send(loss);
        });
    }

    fn spawn_owned<T: Send + 'static>(
        &self,
        kind: Kind,
        name: Arc<str>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let (sender, result) = oneshot::channel();
        // Boxed before it is wrapped: each wrapper would hold a large task twice.
        let task = Box::pin(task);
        self.spawn(kind, Arc::clone(&name), {
            let name = Arc::clone(&name);
            async move {
                let ended = caught(&name, task).await;
                if let Err(panic) = &ended {
                    error!(task = %panic.name, message = %panic.message, "task panicked");
                }
                let _owner_is_gone = sender.send(ended);
            }
        });
        Task { name, result }
    }

    #[expect(clippy::disallowed_methods, reason = "the only place that spawns")]
    fn spawn(&self, kind: Kind, name: Arc<str>, task: impl Future<Output = ()> + Send + 'static) {
        let listed = Listed { number: self.shared.list(kind, name), shared: Arc::clone(&self.shared) };
        let tracker = if kind == Kind::Last { &self.shared.last_tasks } else { &self.shared.tasks };
        drop(tokio::spawn(tracker.track_future(async move {
            task.await;
            drop(listed);
        })));
    }
}

impl Supervision {
    /// Returns when everything has ended after a stop, or as soon as that is certain not to happen in time.
    /// The loss of a core loop is a stop too, and the error that is returned.
    pub async fn wait(mut self) -> Result<(), SuperviseError> {
        let stop = self.shared.stop.clone();
        let lost = tokio::select! {
            biased;
            Some(lost) = self.lost.recv() => Some(lost),
            () = stop.cancelled() => None,
        };
        if let Some(lost) = &lost {
            error!(error = %lost, "stopping");
        }
        let unfinished = self.drain().await;
        // A loop that broke while stopping is no less lost.
        match lost.or_else(|| self.lost.try_recv().ok()) {
            Some(lost) => Err(lost),
            None if unfinished.is_empty() => Ok(()),
            None => Err(SuperviseError::Unfinished(unfinished)),
        }
    }

    /// Ends the tasks, the last ones last; returns the names of those that did not end.
    async fn drain(&self) -> Vec<Arc<str>> {
        let shared = &self.shared;
        shared.stop.cancel();
        shared.tasks.close();
        let drained = timeout(DRAIN, shared.tasks.wait()).await.is_ok();
        shared.last_stop.cancel();
        shared.last_tasks.close();
        let last_drained = timeout(LAST_DRAIN, shared.last_tasks.wait()).await.is_ok();
        if drained && last_drained {
            info!("all tasks ended");
            return Vec::new();
        }
        let unfinished = shared.running();
        warn!(tasks = %unfinished.join(", "), "tasks did not end in time");
        unfinished
    }
}

impl Shared {
    /// The names stay usable after a panic: each change is a single insert or remove.
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, kind: Kind, name: Arc<str>) -> u64 {
        let mut running = self.lock();
        let number = running.next;
        running.next = number.wrapping_add(1);
        running.names.insert(number, (kind, name));
        number
    }

    fn running(&self) -> Vec<Arc<str>> {
        self.lock().names.values().map(|(_, name)| Arc::clone(name)).collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.lock().names.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    fn supervised() -> (Supervisor, Supervision, CancellationToken) {
        let stop = CancellationToken::new();
        let (supervisor, supervision) = Supervisor::new(stop.clone());
        (supervisor, supervision, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_core_loop_that_panics_ends_everything_and_is_named() {
        let (supervisor, supervision, stop) = supervised();
        let seen = stop.clone();
        supervisor.spawn_core("relist", async move { seen.cancelled().await });
        supervisor.spawn_core("fleet", async { panic!("out of {}", "order") });
        let error = supervision.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "core loop fleet panicked: out of order");
        assert!(stop.is_cancelled() && supervisor.running().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_core_loop_that_returns_early_is_an_error_and_after_stop_is_none() {
        let (supervisor, supervision, _stop) = supervised();
        supervisor.spawn_core("files", async {});
        assert_eq!(supervision.wait().await, Err(SuperviseError::CoreEnded("files".into())));

        let (supervisor, supervision, stop) = supervised();
        let seen = stop.clone();
        supervisor.spawn_core("files", async move { seen.cancelled().await });
        stop.cancel();
        assert_eq!(supervision.wait().await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_worker_that_panics_is_reported_to_its_owner_only() {
        let (supervisor, supervision, stop) = supervised();
        let bad = supervisor.spawn_pod("pod default/web", async { panic!("no such container") });
        let good = supervisor.spawn_pod("pod default/db", async { 7 });
        let panic: Result<(), _> = bad.await;
        assert_eq!(panic.unwrap_err().to_string(), "task pod default/web panicked: no such container");
        assert_eq!(good.await, Ok(7));
        stop.cancel();
        assert_eq!(supervision.wait().await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_runs_to_its_end_though_nobody_waits_and_stop_was_given() {
        let (supervisor, supervision, stop) = supervised();
        let (answer, mut answered) = oneshot::channel();
        drop(supervisor.spawn_call("RunPodSandbox default/web", async move {
            sleep(DRAIN * 4 / 5).await;
            answer.send(()).unwrap();
        }));
        assert_eq!(supervisor.calls_in_flight(), 1);
        stop.cancel();
        assert_eq!(supervision.wait().await, Ok(()));
        assert_eq!((answered.try_recv(), supervisor.calls_in_flight()), (Ok(()), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_named_when_the_drain_is_over() {
        let (supervisor, supervision, stop) = supervised();
        let _hung = supervisor.spawn_call("StopContainer default/web", std::future::pending::<()>());
        supervisor.spawn_core("stubborn", std::future::pending());
        let began = Instant::now();
        stop.cancel();
        let error = supervision.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "2 tasks did not end in time: StopContainer default/web, stubborn");
        assert!(began.elapsed() <= DRAIN + LAST_DRAIN, "took {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn last_loops_see_their_stop_after_all_others_ended() {
        let (supervisor, supervision, stop) = supervised();
        let (order, mut seen) = mpsc::channel(4);
        let last = order.clone();
        supervisor.spawn_last("journal", |stop| async move {
            stop.cancelled().await;
            last.send("journal").await.unwrap();
        });
        let _call = supervisor.spawn_call("slow", async move {
            sleep(Duration::from_secs(3)).await;
            order.send("call").await.unwrap();
        });
        stop.cancel();
        assert_eq!(supervision.wait().await, Ok(()));
        assert_eq!((seen.recv().await, seen.recv().await), (Some("call"), Some("journal")));
    }

    #[tokio::test(start_paused = true)]
    async fn losing_the_last_loop_early_is_an_error() {
        let (supervisor, supervision, _stop) = supervised();
        supervisor.spawn_last("journal", |_stop| async {});
        assert_eq!(supervision.wait().await, Err(SuperviseError::CoreEnded("journal".into())));
    }
}
