//! Cgroups of pods on cgroup v2: one of all pods, one of each class, one of each pod, with the limits of each. The
//! runtime puts containers below. Made before a pod's sandbox, set right every minute, removed after the pod's end.
//!
//! With the cgroupfs driver the node makes them. With the systemd driver the runtime's slices carry the kubelet's names,
//! and limits of pods and classes are not set yet. On a host without cgroup v2 there are no pod cgroups.

pub mod amount;
pub mod keeper;
pub mod name;
pub mod tree;
pub mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use tokio::sync::{Notify, watch};

use crate::chain::Chain;
use crate::config::effective::CgroupDriver;
use crate::pod::resources::qos;
use crate::source::desired::DesiredPod;
use amount::Host;
use name::Names;
use tree::{KernelTree, Tree};
use write::{Left, WriteError};

/// Where cgroup v2 is mounted.
pub const MOUNT: &str = "/sys/fs/cgroup";
/// How long a pod's sandbox waits for the runtime's word on the driver.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often, and how far apart, a cgroup is tried to be removed whose processes were killed.
const REMOVALS: (u32, Duration) = (50, Duration::from_millis(20));

/// What the node does about cgroups.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// Nothing: every sandbox is given this parent, which may be empty.
    Nothing(String),
    /// It gives names where the driver needs them, and makes none: the host has no cgroup v2, or is another's.
    Names,
    /// It makes and limits them.
    Whole(Box<Host>),
}

/// What cgroups are made with.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What the node does.
    pub mode: Mode,
    /// The driver of a runtime that does not say which it uses.
    pub driver: CgroupDriver,
    /// `cgroupRoot`: under which cgroup all pods are.
    pub root: String,
    /// Keys of the configuration that cannot be obeyed where the node makes no cgroups.
    pub needed_by: Vec<&'static str>,
}

/// Whether the runtime has said which driver it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Driver {
    /// It need not: nothing depends on it.
    Idle,
    /// Not yet, and why, if it was asked.
    Asked(String),
    /// It has, or the configuration stands for it.
    Known(Names),
    /// It answers with errors.
    Refused(String),
}

/// Why a pod has no cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The driver is not known.
    #[error("the runtime does not tell its cgroup driver: {0}")]
    Driver(String),
    /// The kernel did not do as it was told.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A bug of ours.
    #[error("failed to work on cgroups: {0}")]
    Lost(#[from] tokio::task::JoinError),
    /// Its processes do not end.
    #[error("processes are left in cgroup {0}")]
    Inhabited(String),
}

/// Cgroups of pods. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Cgroups(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    tree: Arc<dyn Tree>,
    driver: watch::Sender<Driver>,
    /// A pod has come: classes weigh something else.
    changed: Notify,
}

impl Default for Cgroups {
    /// Nothing is made and no parent is named.
    fn default() -> Self {
        let mode = Mode::Nothing(String::new());
        let config =
            Config { mode, driver: CgroupDriver::Cgroupfs, root: String::new(), needed_by: Vec::new() };
        Self::new(config, Arc::new(KernelTree::new(Path::new(MOUNT))))
    }
}

impl Cgroups {
    /// Cgroups in `tree`. Nothing is made yet.
    #[must_use]
    pub fn new(config: Config, tree: Arc<dyn Tree>) -> Self {
        let driver = match config.mode {
            Mode::Nothing(_) => Driver::Idle,
            Mode::Names | Mode::Whole(_) => Driver::Asked("it was not asked yet".to_owned()),
        };
        let driver = watch::channel(driver).0;
        Self(Arc::new(Inner { config, tree, driver, changed: Notify::new() }))
    }

    /// Why the agent cannot run with this runtime, if it cannot.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        match &*self.0.driver.borrow() {
            Driver::Refused(problem) => Some(problem.clone()),
            Driver::Idle | Driver::Asked(_) | Driver::Known(_) => None,
        }
    }

    /// Whether pods as a whole have limits here, beside those of their containers.
    #[must_use]
    pub fn limit_pods(&self) -> bool {
        let made = |names: &Names| names.driver() == CgroupDriver::Cgroupfs;
        let known = matches!(&*self.0.driver.borrow(), Driver::Known(names) if made(names));
        known && matches!(self.0.config.mode, Mode::Whole(_))
    }

    /// Sees that a pod's cgroup is there with its limits; the parent to name to the runtime, empty for none.
    pub async fn place(&self, pod: &DesiredPod) -> Result<String, CgroupError> {
        let Some(names) = self.names().await? else { return Ok(self.parent_for_all()) };
        let Some(spec) = &pod.pod.spec else { return Ok(String::new()) };
        let (cgroup, systemd) = (names.pod(qos(spec), &pod.uid), names.driver() == CgroupDriver::Systemd);
        let Mode::Whole(host) = &self.0.config.mode else {
            // The systemd driver cannot do without a slice, which systemd makes and removes.
            return Ok(if systemd { cgroup } else { String::new() });
        };
        if systemd {
            return Ok(cgroup);
        }
        let (tree, place, settings) = (Arc::clone(&self.0.tree), cgroup.clone(), amount::of_pod(spec, host));
        let made = tokio::task::spawn_blocking(move || write::ensure(tree.as_ref(), &place, &settings));
        made.await??;
        self.0.changed.notify_one();
        Ok(cgroup)
    }

    /// The parent that was named when the pod's sandbox was made. Makes nothing.
    pub async fn parent(&self, pod: &DesiredPod) -> Result<String, CgroupError> {
        let Some(names) = self.names().await? else { return Ok(self.parent_for_all()) };
        let systemd = names.driver() == CgroupDriver::Systemd;
        let named = systemd || matches!(self.0.config.mode, Mode::Whole(_));
        let spec = pod.pod.spec.as_ref().filter(|_| named);
        Ok(spec.map(|spec| names.pod(qos(spec), &pod.uid)).unwrap_or_default())
    }

    /// Removes a pod's cgroup, whatever its class was. True if it is gone; with [`Left::Killed`] anything else is an error.
    pub async fn remove(&self, uid: &PodUid, left: Left) -> Result<bool, CgroupError> {
        let Some(names) = self.names().await? else { return Ok(true) };
        if names.driver() == CgroupDriver::Systemd || !matches!(self.0.config.mode, Mode::Whole(_)) {
            return Ok(true);
        }
        let mut all = true;
        for class in keeper::CLASSES {
            all &= self.remove_one(names.pod(class, uid), left).await?;
        }
        Ok(all)
    }

    async fn remove_one(&self, cgroup: String, left: Left) -> Result<bool, CgroupError> {
        for _ in 0..REMOVALS.0 {
            let (tree, place) = (Arc::clone(&self.0.tree), cgroup.clone());
            let gone = tokio::task::spawn_blocking(move || write::remove(tree.as_ref(), &place, left));
            if gone.await?? {
                return Ok(true);
            }
            if left == Left::Stay {
                return Ok(false);
            }
            tokio::time::sleep(REMOVALS.1).await;
        }
        Err(CgroupError::Inhabited(cgroup))
    }

    /// How cgroups are named; none if nothing is named. Waits a little for the runtime's word.
    async fn names(&self) -> Result<Option<Names>, CgroupError> {
        let mut driver = self.0.driver.subscribe();
        let told = driver.wait_for(|driver| !matches!(driver, Driver::Asked(_)));
        // The sender is ours: it cannot be gone.
        let _ = tokio::time::timeout(PATIENCE, told).await;
        match driver.borrow().clone() {
            Driver::Idle => Ok(None),
            Driver::Known(names) => Ok(Some(names)),
            Driver::Asked(problem) | Driver::Refused(problem) => Err(CgroupError::Driver(problem)),
        }
    }

    fn parent_for_all(&self) -> String {
        match &self.0.config.mode {
            Mode::Nothing(parent) => parent.clone(),
            Mode::Names | Mode::Whole(_) => String::new(),
        }
    }
}

/// An error as events tell it.
#[must_use]
pub fn told(error: &CgroupError) -> String {
    Chain(error).to_string()
}

/// A pod that has cgroups.
type Member = Arc<DesiredPod>;

#[cfg(test)]
mod tests;
