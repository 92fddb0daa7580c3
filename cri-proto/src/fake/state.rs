//! Everything that the fake runtime holds, and the changes that it can undergo.
//!
//! Each method is one step that either happens whole or not at all; waiting is done elsewhere. Messages are
//! worded as containerd's where its clients look at them.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::clock::Clock;
use super::events::Announcer;
use super::ident::Ids;
use super::image::Images;
use super::net::Addresses;
use super::options::{Options, Switches};
use super::record::{AsOf, Container, Mark, Sandbox, Snapshot};
use super::select::Subject;
use crate::v1::PodSandboxState;

/// Removed objects that a stale list can still show; older ones are forgotten.
const GRAVES: usize = 4_096;

#[derive(Debug)]
pub(super) struct State {
    pub(super) sandboxes: BTreeMap<String, Sandbox>,
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) dead_sandboxes: VecDeque<Sandbox>,
    pub(super) dead_containers: VecDeque<Container>,
    pub(super) images: Images,
    /// Reserved names of sandboxes and containers, with the id that holds each.
    pub(super) names: BTreeMap<String, String>,
    pub(super) ids: Ids,
    pub(super) clock: Clock,
    pub(super) addresses: Addresses,
    pub(super) switches: Switches,
    pub(super) announcer: Announcer,
    seq: u64,
    /// The number of changes, for those who wait for one.
    changed: watch::Sender<u64>,
}

impl State {
    pub(super) fn new(options: &Options, announcer: Announcer) -> Self {
        let clock = Clock::new(options.wall_base);
        Self {
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            dead_sandboxes: VecDeque::new(),
            dead_containers: VecDeque::new(),
            images: Images::seeded(&options.images),
            names: BTreeMap::new(),
            ids: Ids::new(options.seed),
            clock,
            addresses: Addresses::new(options.pod_subnet),
            switches: Switches::default(),
            announcer,
            seq: 0,
            changed: watch::Sender::new(0),
        }
    }

    /// Notes a change and says when it was.
    pub(super) fn mark(&mut self) -> Mark {
        self.seq = self.seq.saturating_add(1);
        self.changed.send_replace(self.seq);
        Mark { seq: self.seq, at: Instant::now() }
    }

    /// How many changes there were.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wall nanoseconds now.
    pub(super) fn wall(&self) -> i64 {
        self.clock.wall(Instant::now())
    }

    /// Holds `name` for `id`, or says who holds it.
    pub(super) fn reserve(&mut self, kind: &str, name: &str, id: &str) -> Result<(), Status> {
        match self.names.get(name) {
            Some(holder) if holder != id => Err(Status::unknown(format!(
                "failed to reserve {kind} name \"{name}\": name \"{name}\" is reserved for \"{holder}\""
            ))),
            _ => {
                self.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Gives up every name that `id` holds.
    pub(super) fn release(&mut self, id: &str) {
        self.names.retain(|_, holder| holder != id);
    }

    /// The sandbox whose id is, or begins with, `id`.
    pub(super) fn sandbox(&self, id: &str) -> Result<&Sandbox, Status> {
        lookup(&self.sandboxes, id).ok_or_else(|| {
            Status::not_found(format!("an error occurred when try to find sandbox \"{id}\": not found"))
        })
    }

    /// The container whose id is, or begins with, `id`.
    pub(super) fn container(&self, id: &str) -> Result<&Container, Status> {
        lookup(&self.containers, id).ok_or_else(|| {
            Status::not_found(format!("an error occurred when try to find container \"{id}\": not found"))
        })
    }

    /// The sandbox, if it is ready.
    pub(super) fn ready_sandbox(&self, id: &str) -> Result<&Sandbox, Status> {
        let sandbox = self.sandbox(id)?;
        if sandbox.state != PodSandboxState::SandboxReady {
            return Err(Status::unknown(format!("sandbox container \"{}\" is not running", sandbox.id)));
        }
        Ok(sandbox)
    }

    /// What a call on this sandbox or container id is about.
    pub(super) fn subject(&self, id: &str) -> Subject {
        if let Ok(container) = self.container(id) {
            return container.subject();
        }
        match self.sandbox(id) {
            Ok(sandbox) => sandbox.subject(),
            Err(_) => Subject { container_id: Some(id.to_owned()), ..Subject::default() },
        }
    }

    /// Ids of the containers in a sandbox.
    pub(super) fn containers_in(&self, sandbox: &str) -> Vec<String> {
        self.containers.values().filter(|c| c.sandbox_id == sandbox).map(|c| c.id.clone()).collect()
    }

    /// Sandboxes that were there at that time.
    pub(super) fn sandboxes_at(&self, as_of: AsOf) -> Vec<&Sandbox> {
        let dead = self.dead_sandboxes.iter().filter(|sandbox| !as_of.has(sandbox.removed));
        let mut found: Vec<_> =
            self.sandboxes.values().chain(dead).filter(|sandbox| as_of.has(Some(sandbox.born))).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// Containers that were there at that time.
    pub(super) fn containers_at(&self, as_of: AsOf) -> Vec<&Container> {
        let dead = self.dead_containers.iter().filter(|container| !as_of.has(container.removed));
        let mut found: Vec<_> = self
            .containers
            .values()
            .chain(dead)
            .filter(|container| as_of.has(Some(container.born)))
            .collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    pub(super) fn bury_sandbox(&mut self, mut sandbox: Sandbox) {
        sandbox.removed = Some(self.mark());
        self.dead_sandboxes.push_back(sandbox);
        if self.dead_sandboxes.len() > GRAVES {
            self.dead_sandboxes.pop_front();
        }
    }

    pub(super) fn bury_container(&mut self, mut container: Container) {
        container.removed = Some(self.mark());
        self.dead_containers.push_back(container);
        if self.dead_containers.len() > GRAVES {
            self.dead_containers.pop_front();
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { sandboxes: self.sandboxes.clone(), containers: self.containers.clone() }
    }
}

/// Finds by whole id, else by a prefix that fits one only, as containerd does.
fn lookup<'a, T>(map: &'a BTreeMap<String, T>, id: &str) -> Option<&'a T> {
    if id.is_empty() {
        return None;
    }
    if let Some(found) = map.get(id) {
        return Some(found);
    }
    let mut fits = map.range(id.to_owned()..).take_while(|(key, _)| key.starts_with(id));
    match (fits.next(), fits.next()) {
        (Some((_, found)), None) => Some(found),
        _ => None,
    }
}
