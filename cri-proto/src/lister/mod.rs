//! The cheap relist: everything that this node owns, decoded only where it changed.
//!
//! ```text
//! ListPodSandbox ─┐ bytes            hash known ─→ same Arc as last time
//!                 ├────────→ frames ─┤
//! ListContainers ─┘                  hash new ───→ decode, whose is it, is it valid
//! ```
//! A [`Relist`] is the pure half: bytes in, [`Listed`] out. A [`Lister`] puts it behind a client.

mod fetch;
mod frames;
mod record;
mod table;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use self::fetch::{CONTAINERS, SANDBOXES};
use self::table::Table;
use crate::client::Client;
use crate::container::Container;
use crate::error::Error;
use crate::id::PodUid;
use crate::labels::{Ownership, POD_UID};
use crate::sandbox::Sandbox;
use crate::v1;
use crate::wire::{InvalidRecord, Skipped};

/// Sandboxes and containers of this node's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sandboxes, in order of their ids, no id twice.
    pub sandboxes: Vec<Arc<Sandbox>>,
    /// Containers, in order of their ids, no id twice.
    pub containers: Vec<Arc<Container>>,
    /// Records that were left out as invalid. While there are any, what a listing lacks is not proven absent.
    pub skipped: Skipped,
}

/// The answer to a list of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The same records as in the last listing that was handed out, in whatever order.
    Unchanged,
    /// Something differs; records that do not are the same `Arc` as before.
    Changed(Listing),
}

/// What the last lists said: the pure half of a [`Lister`].
#[derive(Debug)]
pub struct Relist {
    owned: Ownership,
    sandboxes: Table<Sandbox>,
    containers: Table<Container>,
}

/// A list answer that is no list.
#[derive(Debug)]
enum Malformed {
    Sandboxes(InvalidRecord),
    Containers(InvalidRecord),
}

impl Relist {
    /// Nothing listed yet: the first answer is always [`Listed::Changed`].
    #[must_use]
    pub fn new(owned: Ownership) -> Self {
        Self { owned, sandboxes: Table::new(), containers: Table::new() }
    }

    /// Takes in the answers of `ListPodSandbox` and `ListContainers` as wire bytes, each in one or more pieces.
    ///
    /// # Errors
    /// If an answer is not even a list; nothing is handed out then, and nothing is lost.
    pub fn absorb(&mut self, sandboxes: &[Bytes], containers: &[Bytes]) -> Result<Listed, InvalidRecord> {
        self.take_in(sandboxes, containers).map_err(|malformed| match malformed {
            Malformed::Sandboxes(why) | Malformed::Containers(why) => why,
        })
    }

    fn take_in(&mut self, sandboxes: &[Bytes], containers: &[Bytes]) -> Result<Listed, Malformed> {
        self.sandboxes.absorb(sandboxes, &self.owned).map_err(Malformed::Sandboxes)?;
        self.containers.absorb(containers, &self.owned).map_err(Malformed::Containers)?;
        if !self.sandboxes.dirty && !self.containers.dirty {
            return Ok(Listed::Unchanged);
        }
        (self.sandboxes.dirty, self.containers.dirty) = (false, false);
        let mut skipped = Skipped::default();
        let sandboxes = self.sandboxes.collect(&mut skipped);
        let containers = self.containers.collect(&mut skipped);
        Ok(Listed::Changed(Listing { sandboxes, containers, skipped }))
    }

    /// Makes the next answer [`Listed::Changed`] whatever it says: the last one did not reach its reader.
    pub fn redeliver(&mut self) {
        self.sandboxes.dirty = true;
    }
}

/// Lists what this node owns, through a client. For one reader: each answer is relative to the one before.
#[derive(Debug)]
pub struct Lister {
    client: Client,
    owned: Ownership,
    relist: Mutex<Relist>,
}

impl Lister {
    /// A lister of what `owned` says is this node's.
    #[must_use]
    pub fn new(client: Client, owned: Ownership) -> Self {
        Self { client, relist: Mutex::new(Relist::new(owned.clone())), owned }
    }

    /// Lists everything. Sandboxes come first, so that a container's sandbox is older than the list it is missed in.
    ///
    /// # Errors
    /// As every call. `is_exhausted` when the list is beyond the message limit and the runtime does not stream lists:
    /// the node is then not empty but unseen.
    pub async fn list(&self) -> Result<Listed, Error> {
        let (sandboxes, containers) = self.client.fetch_lists().await?;
        let taken =
            self.relist.lock().unwrap_or_else(PoisonError::into_inner).take_in(&sandboxes, &containers);
        taken.map_err(|malformed| match malformed {
            Malformed::Sandboxes(why) => SANDBOXES.invalid(why),
            Malformed::Containers(why) => CONTAINERS.invalid(why),
        })
    }

    /// Makes the next [`Lister::list`] answer with everything: the last answer did not reach its reader.
    pub fn redeliver(&self) {
        self.relist.lock().unwrap_or_else(PoisonError::into_inner).redeliver();
    }

    /// Lists one pod's sandboxes and containers, by label. Leaves no trace in what [`Lister::list`] compares with.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn list_pod(&self, uid: &PodUid) -> Result<Listing, Error> {
        self.client.list_pod(uid, &self.owned).await
    }
}

impl Client {
    /// The bytes of `ListPodSandbox` and then of `ListContainers`, undecoded: what a relist costs before any of it is
    /// read. Each has one piece, or several if it had to be streamed.
    ///
    /// # Errors
    /// As [`Lister::list`].
    pub async fn fetch_lists(&self) -> Result<(Vec<Bytes>, Vec<Bytes>), Error> {
        let limit = self.deadlines().inspect;
        let sandboxes = SANDBOXES.fetch(self.transport(), limit).await?;
        Ok((sandboxes, CONTAINERS.fetch(self.transport(), limit).await?))
    }

    /// Lists one pod's sandboxes and containers, by label, as far as they are `owned`.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn list_pod(&self, uid: &PodUid, owned: &Ownership) -> Result<Listing, Error> {
        let selector = || [(POD_UID.to_owned(), uid.to_string())].into();
        let filter = v1::PodSandboxFilter { label_selector: selector(), ..Default::default() };
        let sandboxes = self.list_sandboxes(Some(filter)).await?;
        let filter = v1::ContainerFilter { label_selector: selector(), ..Default::default() };
        let containers = self.list_containers(Some(filter)).await?;
        let mut skipped = sandboxes.skipped;
        skipped.merge(containers.skipped);
        let mut sandboxes = sandboxes.items;
        // A runtime that takes no notice of the selector must not add other pods to this one.
        sandboxes.retain(|sandbox| sandbox.pod_uid == *uid && owned.owns(&sandbox.labels));
        sandboxes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        sandboxes.dedup_by(|a, b| a.id == b.id);
        let mut containers = containers.items;
        containers.retain(|container| container.pod_uid == *uid && owned.owns(&container.labels));
        containers.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        containers.dedup_by(|a, b| a.id == b.id);
        Ok(Listing {
            sandboxes: sandboxes.into_iter().map(Arc::new).collect(),
            containers: containers.into_iter().map(Arc::new).collect(),
            skipped,
        })
    }
}

#[cfg(test)]
mod tests;
