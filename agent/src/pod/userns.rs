//! User namespaces of pods: a block of ids of the host for each, never shared, kept on disk while the pod's directory is
//! there. Asked for by the making of sandboxes and containers; writes `pods/<uid>/userns`, synced before a runtime hears
//! of the block. What the node gave before this start is read when the first block is asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::PodSpec;
use pinnace_cri::id::PodUid;
use pinnace_cri::v1::{IdMapping, NamespaceMode, UserNamespace};
use tokio::sync::watch;

use crate::chain::Chain;
use crate::disk::Disk;
use crate::pod::paths::Dirs;
use crate::pod::security;
use crate::runtime::watch::{RuntimeState, Said};

pub mod blocks;
pub mod record;

use blocks::{Block, Blocks, Range};

/// Where the ids of users are given away, and those of groups.
const SUBORDINATE: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
/// Most bytes that are read of such a file.
const MAX_SUBORDINATE: u64 = 1 << 20;
/// Most bytes of a pod's record.
const MAX_RECORD: u64 = 1 << 16;

/// Why a pod has no user namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsernsError {
    /// The runtime has none; the kubelet's words.
    #[error("can't set `spec.hostUsers: false`, {who} does not support user namespaces")]
    Unsupported {
        /// The runtime, or a handler of it.
        who: String,
    },
    /// It is not known yet what the runtime has.
    #[error("the runtime has not told yet whether it supports user namespaces")]
    NotAsked,
    /// The ids that this node may give are not usable.
    #[error("the ids of user `kubelet` in /etc/subuid and /etc/subgid cannot be used: {0}")]
    Range(String),
    /// What a pod was given before is not readable; its block could be given twice.
    #[error("failed to read {path}: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No block is left.
    #[error("could not find an empty slot to allocate a user namespace")]
    Exhausted,
    /// The block could not be made sure of.
    #[error("failed to save the user namespace: {0}")]
    Save(String),
}

/// The giver of user namespaces. Cheap to clone; clones are one.
#[derive(Debug, Clone)]
pub struct Userns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    dirs: Dirs,
    runtime: watch::Receiver<RuntimeState>,
    /// Ids for each pod, a multiple of 65536.
    length: u32,
    /// None until the first block is asked for.
    given: Mutex<Option<Given>>,
}

#[derive(Debug)]
struct Given {
    blocks: Blocks,
    /// Pods whose block is on disk. One whose saving failed keeps its block: the file may be there all the same.
    saved: BTreeSet<PodUid>,
}

/// Whether a handler of the runtime has user namespaces; none stands for any of them. Pure.
fn is_offered(said: Option<&Said>, handler: Option<&str>) -> Result<(), UsernsError> {
    let said = said.ok_or(UsernsError::NotAsked)?;
    let meant = |name: &str| handler.is_none_or(|handler| handler == name);
    if said.handlers.iter().any(|known| meant(&known.name) && known.user_namespaces) {
        return Ok(());
    }
    let who = match handler {
        None | Some("") => "runtime".to_owned(),
        Some(name) => format!("RuntimeClass handler {name:?}"),
    };
    Err(UsernsError::Unsupported { who })
}

fn message(block: Block) -> UserNamespace {
    let run = IdMapping { host_id: block.first, container_id: 0, length: block.length };
    UserNamespace { mode: NamespaceMode::Pod.into(), uids: vec![run], gids: vec![run] }
}

impl Userns {
    /// A giver of `length` ids per pod. Reads nothing yet.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dirs: Dirs, runtime: watch::Receiver<RuntimeState>, length: u32) -> Self {
        Self(Arc::new(Inner { disk, dirs, runtime, length, given: Mutex::new(None) }))
    }

    /// Whether a pod's new sandbox can be made by this handler. One without user namespaces would not refuse the message,
    /// but pass over what it does not know.
    pub fn check(&self, spec: &PodSpec, handler: &str) -> Result<(), UsernsError> {
        if spec.host_users != Some(false) {
            return Ok(());
        }
        is_offered(self.0.runtime.borrow().said.as_ref(), Some(handler))
    }

    /// The user namespace of a pod, the same each time until it is released. Its directory must be there.
    pub async fn of(&self, uid: &PodUid, spec: &PodSpec) -> Result<UserNamespace, UsernsError> {
        if spec.host_users != Some(false) {
            return Ok(security::of_the_host());
        }
        // The sandbox's own handler was asked when it was made; its class need not be there any more.
        is_offered(self.0.runtime.borrow().said.as_ref(), None)?;
        let (inner, uid) = (Arc::clone(&self.0), uid.clone());
        let given = tokio::task::spawn_blocking(move || inner.give(&uid)).await;
        given.map_err(|error| UsernsError::Save(Chain(&error).to_string()))?.map(message)
    }

    /// Takes a pod's block back, once its directory is gone.
    pub fn release(&self, uid: &PodUid) {
        if let Some(given) = self.0.lock().as_mut() {
            given.blocks.release(uid);
            given.saved.remove(uid);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Option<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, uid: &PodUid) -> PathBuf {
        self.dirs.pod(uid).join("userns")
    }

    /// Waits for the disk: for a blocking thread.
    fn give(&self, uid: &PodUid) -> Result<Block, UsernsError> {
        let mut known = self.lock();
        let mut given = match known.take() {
            Some(given) => given,
            None => self.recover()?,
        };
        let block = self.give_from(&mut given, uid);
        *known = Some(given);
        block
    }

    fn give_from(&self, given: &mut Given, uid: &PodUid) -> Result<Block, UsernsError> {
        let known = given.blocks.of(uid);
        let block = known.or_else(|| given.blocks.allocate(uid)).ok_or(UsernsError::Exhausted)?;
        if given.saved.contains(uid) {
            return Ok(block);
        }
        let saved = self.disk.replace(&self.record(uid), record::text(block).as_bytes());
        saved.map_err(|error| UsernsError::Save(Chain(&error).to_string()))?;
        given.saved.insert(uid.clone());
        Ok(block)
    }

    /// What pods of this node were given before. One record that cannot be read stops all giving: its block may be in use.
    fn recover(&self) -> Result<Given, UsernsError> {
        let [users, groups] = SUBORDINATE.map(|file| self.subordinate(file));
        let range = Range::of_kubelet(&users?, &groups?, self.length).map_err(UsernsError::Range)?;
        let mut given = Given { blocks: Blocks::new(range), saved: BTreeSet::new() };
        let pods = self.dirs.root.join("pods");
        let failed = |path: &Path, reason: String| UsernsError::Record { path: path.to_owned(), reason };
        let found = self.disk.list(&pods).map_err(|error| failed(&pods, Chain(&error).to_string()))?;
        let name = |path: &PathBuf| PodUid::new(path.file_name()?.to_str()?).ok();
        for uid in found.iter().filter_map(name) {
            let path = self.record(&uid);
            match self.disk.read(&path, MAX_RECORD) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => {
                    let block = record::parse(&text).map_err(|reason| failed(&path, reason))?;
                    given.saved.insert(uid.clone());
                    given.blocks.keep(uid, block);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path, Chain(&error).to_string())),
            }
        }
        Ok(given)
    }

    fn subordinate(&self, file: &str) -> Result<String, UsernsError> {
        match self.disk.read(Path::new(file), MAX_SUBORDINATE) {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(UsernsError::Range(format!("{file}: {}", Chain(&error)))),
        }
    }
}

#[cfg(test)]
mod tests;
