//! Sets up the volumes of pods and keeps what their renewal needs. One piece of work per pod at a time: a set-up, a
//! renewal and a teardown of one pod never overlap, and nothing is written once its teardown has begun.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{join, join_all};
use pinnace_cri::id::PodUid;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::clock::{Clock, Now};
use crate::disk::Disk;
use crate::disk::apart::Apart;
use crate::disk::contents::{Contents, Node, Opaque};
use crate::events::EventLog;
use crate::objects::{Data, Kind, Objects, Reference, told};
use crate::pod::paths::Dirs;
use crate::source::desired::DesiredPod;
use crate::volume::atomic_writer::current;
use crate::volume::live::{Live, Work, key};
use crate::volume::owner::Owner;
use crate::volume::payload::{Fetched, Payload, payload};
use crate::volume::plan::{self, ConfigMapSource, Projected, TokenSource};
use crate::volume::refresh::TokenRefresher;
use crate::volume::token::{Need, Token};
use crate::volume::{place, tear_down};

/// Volumes of all pods. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Volumes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Objects,
    disk: Arc<dyn Disk>,
    apart: Apart,
    dirs: Dirs,
    clock: Clock,
    events: EventLog,
    /// Pods whose set-up was begun and whose teardown was not: as many as the node runs.
    live: Mutex<BTreeMap<PodUid, Arc<Live>>>,
    /// A pod was added.
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
enum Mode {
    SetUp,
    Renew,
}

/// A token to write.
#[derive(Debug)]
struct Got {
    token: Token,
    /// Why it is not the new one that was due.
    kept: Option<String>,
}

impl Volumes {
    /// Volumes on this disk, with these objects in them.
    #[must_use]
    pub fn new(objects: Objects, disk: Arc<dyn Disk>, dirs: Dirs, clock: Clock, events: EventLog) -> Self {
        let (live, added) = (Mutex::default(), Notify::new());
        let apart = Apart::new(Arc::clone(&disk), dirs.root.clone());
        Self { shared: Arc::new(Shared { objects, disk, apart, dirs, clock, events, live, added }) }
    }

    /// For work on what may lie on a file system that does not answer.
    #[must_use]
    pub fn apart(&self) -> &Apart {
        &self.shared.apart
    }

    /// The loop that renews tokens. Run one of them.
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
        Arc::clone(self.lock().entry(pod.uid.clone()).or_insert_with(|| Arc::new(Live::new(pod))))
    }

    /// Pods whose tokens are to be looked at now.
    pub(super) fn due(&self, now: &Now) -> Vec<PodUid> {
        let live = self.lock();
        live.iter()
            .filter(|(_, live)| live.left(now) == Some(Duration::ZERO))
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// How long until some pod's tokens are to be looked at.
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

    /// Renews the tokens of a pod that are due, and with them what its ConfigMaps hold.
    pub(super) async fn renew(&self, uid: &PodUid) -> Result<(), SetUpError> {
        let Some(live) = self.lock().get(uid).cloned() else { return Ok(()) };
        tokio::select! {
            biased;
            () = live.leaving.cancelled() => Ok(()),
            result = Box::pin(self.bring_all(&live, Mode::Renew)) => result,
        }
    }

    async fn bring_all(&self, live: &Live, mode: Mode) -> Result<(), SetUpError> {
        let mut work = Arc::clone(&live.work).lock_owned().await;
        let volumes = plan::volumes(&live.pod.pod).map_err(SetUpError::Unbuilt)?;
        let mut failed = Vec::new();
        work.kept.clear();
        for volume in &volumes {
            let brought;
            (work, brought) = self.bring(live, work, volume, mode).await;
            if let Err(why) = brought {
                let name = &volume.name;
                failed.push(format!("MountVolume.SetUp failed for volume {name:?} : {why}"));
            }
        }
        let fell_short = !failed.is_empty() || !work.kept.is_empty();
        work.failures = if fell_short { work.failures.saturating_add(1) } else { 0 };
        // A set-up that failed is tried again by the pod's plan; a pod is renewed once it has been set up.
        if failed.is_empty() || mode == Mode::Renew {
            live.schedule(&work, &volumes, &self.now());
        }
        if mode == Mode::Renew {
            failed.append(&mut work.kept);
        }
        if failed.is_empty() { Ok(()) } else { Err(SetUpError::Failed(failed)) }
    }

    async fn bring(
        &self,
        live: &Live,
        mut work: OwnedMutexGuard<Work>,
        volume: &Projected,
        mode: Mode,
    ) -> (OwnedMutexGuard<Work>, Result<(), String>) {
        let now = self.now();
        match mode {
            Mode::SetUp => match self.adopt(live, &mut work, volume, &now).await {
                Ok(false) => {}
                Ok(true) => return (work, Ok(())),
                Err(why) => return (work, Err(why)),
            },
            Mode::Renew if !work.is_due(live, volume, &now) => return (work, Ok(())),
            Mode::Renew => {}
        }
        let owner = live.pod.pod.spec.as_ref().map(Owner::of).unwrap_or_default();
        let fetched = match self.fetch(live, &mut work, volume, mode).await {
            Ok(fetched) => fetched,
            Err(why) => return (work, Err(one_text(why))),
        };
        match payload(volume, &live.pod.namespace, &fetched, &owner) {
            Ok(payload) => self.write(live, work, volume, payload, owner, mode).await,
            Err(missing) => (work, Err(one_text(missing))),
        }
    }

    /// Takes over what an earlier run left, if it is whole: true.
    async fn adopt(
        &self,
        live: &Live,
        work: &mut Work,
        volume: &Projected,
        now: &Now,
    ) -> Result<bool, String> {
        let (disk, dir) = (Arc::clone(&self.shared.disk), self.dir(live, volume));
        let sought = volume.clone();
        let found = tokio::task::spawn_blocking(move || place::found(disk.as_ref(), &dir, &sought)).await;
        let found = found.map_err(io::Error::other).and_then(|found| found);
        let Some(contents) = found.map_err(|error| Chain(&error).to_string())? else { return Ok(false) };
        for source in volume.tokens() {
            let left = token_in(&contents, source).and_then(|bytes| Token::found(bytes, now));
            if let Some(token) = left {
                work.tokens.entry(key(volume, source)).or_insert(token);
            }
        }
        Ok(true)
    }

    async fn fetch(
        &self,
        live: &Live,
        work: &mut Work,
        volume: &Projected,
        mode: Mode,
    ) -> Result<Fetched, Vec<String>> {
        let known = &*work;
        let tokens = volume.tokens().map(|source| self.token(live, known, volume, source));
        let maps = volume.config_maps().map(|source| self.config_map(live, known, source, mode));
        let (tokens, maps) = join(join_all(tokens), join_all(maps)).await;
        let (mut fetched, mut failed) = (Fetched::default(), Vec::new());
        for (source, result) in volume.tokens().zip(tokens) {
            match result {
                Ok(got) => {
                    fetched.tokens.insert(source.clone(), got.token.bytes.clone());
                    work.tokens.insert(key(volume, source), got.token);
                    work.kept.extend(got.kept);
                }
                Err(why) => failed.push(why),
            }
        }
        for (source, result) in volume.config_maps().zip(maps) {
            match result {
                Ok(map) => {
                    match &map {
                        Some(map) => work.config_maps.insert(source.name.clone(), map.clone()),
                        None => work.config_maps.remove(&source.name),
                    };
                    fetched.config_maps.insert(source.name.clone(), map);
                }
                Err(why) => failed.push(why),
            }
        }
        if failed.is_empty() { Ok(fetched) } else { Err(failed) }
    }

    /// The token that is there while it is good, else a new one; while none is to be had, the old one while it is valid.
    async fn token(
        &self,
        live: &Live,
        work: &Work,
        volume: &Projected,
        source: &TokenSource,
    ) -> Result<Got, String> {
        let known = work.tokens.get(&key(volume, source));
        let need = known.map(|token| (token, token.need(&self.now(), live.jitter())));
        if let Some((token, Need::Nothing(_))) = need {
            return Ok(Got { token: token.clone(), kept: None });
        }
        match (self.request(live, source).await, need) {
            (Ok((bytes, seconds)), _) => {
                Ok(Got { token: Token::received(bytes, seconds, &self.now()), kept: None })
            }
            (Err(error), Some((token, Need::Renewal))) => {
                let why = format!("failed to fetch token: {}; the old one is used on", told(&error));
                Ok(Got { token: token.clone(), kept: Some(why) })
            }
            (Err(error), _) => Err(format!("failed to fetch token: {}", told(&error))),
        }
    }

    async fn request(
        &self,
        live: &Live,
        source: &TokenSource,
    ) -> Result<(Opaque, Option<i64>), crate::objects::FetchError> {
        self.shared.objects.fetch()?.token(&live.pod, source).await
    }

    /// The ConfigMap as it is now. A pod that runs keeps the last known one when it is gone or cannot be asked for.
    async fn config_map(
        &self,
        live: &Live,
        work: &Work,
        source: &ConfigMapSource,
        mode: Mode,
    ) -> Result<Option<Arc<Data>>, String> {
        let last = work.config_maps.get(&source.name).filter(|_| mode == Mode::Renew);
        let (namespace, name) = (live.pod.namespace.clone(), source.name.clone());
        let reference = Reference { kind: Kind::ConfigMap, namespace, name };
        match (self.shared.objects.get(&reference).await, last) {
            (Ok(None), Some(last)) if !source.optional => Ok(Some(last.clone())),
            (Ok(map), _) => Ok(map),
            (Err(_), Some(last)) => Ok(Some(last.clone())),
            (Err(error), None) => Err(format!("failed to get configmap {:?}: {}", source.name, told(&error))),
        }
    }

    /// Writes on a blocking thread, which holds the pod's lock to its end whoever still waits for it.
    async fn write(
        &self,
        live: &Live,
        work: OwnedMutexGuard<Work>,
        volume: &Projected,
        payload: Payload,
        owner: Owner,
        mode: Mode,
    ) -> (OwnedMutexGuard<Work>, Result<(), String>) {
        let (disk, dir, wall) = (Arc::clone(&self.shared.disk), self.dir(live, volume), self.now().wall);
        let written = tokio::task::spawn_blocking(move || {
            let mounted = match mode {
                Mode::SetUp => place::mount(disk.as_ref(), &dir, &owner),
                Mode::Renew => Ok(()),
            };
            let result = mounted.and_then(|()| place::write(disk.as_ref(), &dir, &payload, wall));
            (work, result.map_err(|error| Chain(&error).to_string()))
        });
        match written.await {
            Ok(written) => written,
            // Only a panic in the disk comes here; the lock went with it.
            Err(error) => (Arc::clone(&live.work).lock_owned().await, Err(Chain(&error).to_string())),
        }
    }

    fn dir(&self, live: &Live, volume: &Projected) -> PathBuf {
        self.shared.dirs.projected_volume(&live.pod.uid, &volume.name)
    }
}

fn token_in<'a>(contents: &'a Contents, source: &TokenSource) -> Option<&'a Opaque> {
    match contents.get(&current(contents)?.join(&source.path))? {
        Node::File(bytes, _) => Some(bytes),
        Node::Directory(_) | Node::Link(_) | Node::Other => None,
    }
}

/// Several errors as the kubelet joins them.
fn one_text(mut errors: Vec<String>) -> String {
    match errors.len() {
        1 => errors.remove(0),
        _ => format!("[{}]", errors.join(", ")),
    }
}

#[cfg(test)]
mod tests;
