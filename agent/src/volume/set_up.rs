//! Sets up the volumes of pods and keeps what their renewal needs. One piece of work per pod at a time: a set-up, a
//! renewal and a teardown of one pod never overlap, and nothing is written once its teardown has begun.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Now};
use crate::disk::Disk;
use crate::disk::apart::Apart;
use crate::events::EventLog;
use crate::objects::Objects;
use crate::pod::paths::Dirs;
use crate::source::desired::DesiredPod;
use crate::volume::allocatable::Allocatable;
use crate::volume::live::Live;
use crate::volume::refresh::TokenRefresher;
use crate::volume::tear_down;

/// Volumes of all pods. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Volumes {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) objects: Objects,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) apart: Apart,
    pub(super) dirs: Dirs,
    pub(super) clock: Clock,
    pub(super) allocatable: Allocatable,
    events: EventLog,
    /// Pods whose set-up was begun and whose teardown was not: as many as the node runs.
    live: Mutex<BTreeMap<PodUid, Arc<Live>>>,
    /// A pod was added, or has something new to show.
    added: Notify,
}

/// Why a pod's volumes are not set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The pod is to go.
    #[error("the pod is to go")]
    Leaving,
    /// The gate let something pass that is not built.
    #[error("volume {0:?} is of a kind that is not built yet")]
    Unbuilt(String),
    /// Volumes that failed, each with its message in the kubelet's words.
    #[error("{}", .0.join("; "))]
    Failed(Vec<String>),
}

/// Whether what an earlier run of the agent left may be taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It may.
    SetUp,
    /// Everything is written as it is now.
    Renew,
}

impl Volumes {
    /// Volumes on this disk, with these objects in them.
    #[must_use]
    pub fn new(
        objects: Objects,
        disk: Arc<dyn Disk>,
        dirs: Dirs,
        clock: Clock,
        events: EventLog,
        allocatable: Allocatable,
    ) -> Self {
        let (live, added) = (Mutex::default(), Notify::new());
        let apart = Apart::new(Arc::clone(&disk), dirs.root.clone());
        let shared = Shared { objects, disk, apart, dirs, clock, allocatable, events, live, added };
        Self { shared: Arc::new(shared) }
    }

    /// For work on what may lie on a file system that does not answer.
    #[must_use]
    pub fn apart(&self) -> &Apart {
        &self.shared.apart
    }

    /// The loop that renews what is in volumes. Run one of them.
    #[must_use]
    pub fn refresher(&self) -> TokenRefresher {
        TokenRefresher::new(self.clone())
    }

    /// Sees that all volumes of a pod are mounted and whole. Those that an earlier run of the agent left whole are kept
    /// as they are, without asking the API server. Each failed volume is an event of the pod.
    pub async fn set_up(&self, pod: &Arc<DesiredPod>, leaving: &CancellationToken) -> Result<(), SetUpError> {
        let live = self.enter(pod);
        let result = tokio::select! {
            biased;
            () = leaving.cancelled() => Err(SetUpError::Leaving),
            () = live.leaving.cancelled() => Err(SetUpError::Leaving),
            result = Box::pin(self.bring_all(&live, Mode::SetUp)) => result,
        };
        if let Err(SetUpError::Failed(messages)) = &result {
            let wall = self.shared.clock.now().wall;
            messages.iter().for_each(|message| {
                self.shared.events.warning(&pod.full_name(), "FailedMount", message, wall);
            });
        }
        self.shared.added.notify_one();
        result
    }

    /// Takes a pod's volumes down and forgets its tokens. A pod that was never set up is no error.
    pub async fn tear_down(&self, uid: &PodUid) -> io::Result<()> {
        let live = self.lock().remove(uid);
        let mut held = None;
        if let Some(live) = live {
            live.leaving.cancel();
            held = Some(Arc::clone(&live.work).lock_owned().await);
        }
        let pod = self.shared.dirs.pod(uid);
        let (disk, dir) = (Arc::clone(&self.shared.disk), pod.clone());
        let plain = tokio::task::spawn_blocking(move || {
            let done = tear_down::unmount_plain(disk.as_ref(), &dir);
            (done, held)
        });
        let (done, held) = plain.await.map_err(io::Error::other)?;
        if done? {
            return Ok(());
        }
        let dir = pod.clone();
        let unmounted = self.shared.apart.alone(&pod, move |disk| {
            let result = tear_down::unmount(disk, &dir);
            drop(held);
            result
        });
        unmounted.await.map_err(io::Error::other)?
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PodUid, Arc<Live>>> {
        self.shared.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, pod: &Arc<DesiredPod>) -> Arc<Live> {
        let live = Arc::clone(self.lock().entry(pod.uid.clone()).or_insert_with(|| Arc::new(Live::new(pod))));
        live.take(pod);
        live
    }

    /// The pod as its source has it now. What its volumes show of it is written anew if it is other than before.
    pub fn update(&self, pod: &Arc<DesiredPod>) {
        let live = self.lock().get(&pod.uid).cloned();
        if live.is_some_and(|live| live.take(pod)) {
            self.changed(&pod.uid);
        }
    }

    /// Something that the pod's volumes are made from changed: all its files are written anew, soon. A pod without
    /// volumes is no error.
    pub fn changed(&self, uid: &PodUid) {
        let Some(live) = self.lock().get(uid).cloned() else { return };
        live.ask();
        self.shared.added.notify_one();
    }

    /// Pods whose files are to be written anew now.
    pub(super) fn due(&self, now: &Now) -> Vec<PodUid> {
        let live = self.lock();
        live.iter()
            .filter(|(_, live)| live.left(now) == Some(Duration::ZERO))
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// How long until some pod's are.
    pub(super) fn next_due(&self, now: &Now) -> Option<Duration> {
        self.lock().values().filter_map(|live| live.left(now)).min()
    }

    /// Ends when there may be something new to wait for.
    pub(super) async fn added(&self) {
        self.shared.added.notified().await;
    }

    pub(super) fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Writes a pod's files as they are now, with new tokens where they are due.
    pub(super) async fn renew(&self, uid: &PodUid) -> Result<(), SetUpError> {
        let Some(live) = self.lock().get(uid).cloned() else { return Ok(()) };
        tokio::select! {
            biased;
            () = live.leaving.cancelled() => Ok(()),
            result = Box::pin(self.bring_all(&live, Mode::Renew)) => result,
        }
    }
}

#[cfg(test)]
mod tests;
