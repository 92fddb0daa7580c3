//! Wires the loops: makes the channels, gives each loop its ends, and forgets them. No loop holds another.
//!
//! ```text
//!  source ──desired──▶ fleet ──orders──▶ worker ──steps──▶ runtime
//!                        ▲                  ▲  └─entries─▶ journal
//!                      events           snapshots
//!                        └──── relist ◀─looks┘◀──hints── event stream
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::client::Client;
use pinnace_cri::id::PodUid;
use pinnace_cri::labels::Ownership;
use pinnace_pleg::relist;
use pinnace_pleg::sequence::Sequence;
use tokio::sync::watch;

use crate::board::Board;
use crate::cgroup::Cgroups;
use crate::cgroup::keeper::Keeper;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::events::EventLog;
use crate::image::records::prune::Prune;
use crate::image::{self, Images};
use crate::journal::{Journal, Opened};
use crate::objects::Objects;
use crate::pod::act::Actor;
use crate::pod::admit::{Place, features};
use crate::pod::card::Cards;
use crate::pod::container::Site;
use crate::pod::fleet::Fleet;
use crate::pod::mind::Pace;
use crate::pod::paths::{self, Dirs};
use crate::pod::slots::{LENT_FOR, Slots};
use crate::pod::userns::Userns;
use crate::pod::worker::Tools;
use crate::runtime::class::RuntimeClasses;
use crate::runtime::seam::Seam;
use crate::runtime::watch::{RuntimeState, RuntimeWatch};
use crate::source::desired::Desired;
use crate::supervise::Supervisor;
use crate::volume::{Allocatable, Volumes, changes};

/// Creates that count at a time for each CPU: the runtime's throughput on two of them is reached at four
/// (`RunPodSandbox` with CNI: 12.4 pods a second at two at once, 15.1 at four, 15.3 at eight).
const CREATES_PER_CPU: usize = 2;
/// The share of it with which a burst begins.
const CREATES_AT_FIRST: usize = 4;
/// Bounds of it. What holds up the runtime on large machines are locks, not CPUs.
const CREATES: std::ops::RangeInclusive<usize> = 4..=16;
/// Teardowns that count at a time; their throughput is reached at four and they must never wait for creates.
const TEARDOWNS: usize = 8;
/// Creates under way, hung ones included.
const CREATES_IN_FLIGHT: usize = 32;
/// Set-ups of a pod's volumes that count at a time: enough to be ahead of the creates, and no more, since the API
/// server's work for the last pod of many would delay the first.
const SET_UPS: usize = 4;
/// Set-ups under way, hung ones included: each holds next to nothing.
const SET_UPS_IN_FLIGHT: usize = 512;
/// Teardowns under way. Larger than for creates, since a stop rightly takes its whole grace: a node full of pods
/// that ignore TERM must not wait in groups.
const TEARDOWNS_IN_FLIGHT: usize = 256;

/// What the loops are made from.
#[derive(Debug)]
pub struct Parts {
    /// Name of the node.
    pub node: String,
    /// What of the runtime is this node's.
    pub ownership: Ownership,
    /// The runtime.
    pub client: Client,
    /// The runtime's address, for messages.
    pub endpoint: String,
    /// The agent's own files.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clock: Clock,
    /// Where files are.
    pub dirs: Dirs,
    /// The node as it enters messages.
    pub site: Site,
    /// How failed steps are tried again.
    pub pace: Pace,
    /// How patient the relist loop is.
    pub relist: relist::Config,
    /// Period of the runtime's own check.
    pub runtime_period: Duration,
    /// How images are got.
    pub images: image::Settings,
    /// Where events go.
    pub events: EventLog,
    /// ConfigMaps and Secrets that pods refer to.
    pub objects: Objects,
    /// Runtime classes that pods name.
    pub classes: RuntimeClasses,
    /// Cgroups of pods.
    pub cgroups: Cgroups,
    /// What of the node pods are held against before they are admitted, but for what the runtime says of itself.
    pub place: watch::Receiver<Arc<Place>>,
    /// Ids in each pod's user namespace, a multiple of 65536.
    pub ids_per_pod: u32,
    /// CPUs of the machine: by them goes how much the runtime is asked for at a time.
    pub cpus: usize,
}

fn creates(cpus: usize) -> Slots {
    let width = cpus.saturating_mul(CREATES_PER_CPU).clamp(*CREATES.start(), *CREATES.end());
    Slots::growing(width / CREATES_AT_FIRST, width, CREATES_IN_FLIGHT, LENT_FOR)
}

/// Starts every loop that works on pods. The source of `desired` is the caller's.
#[must_use]
pub fn start(
    parts: Parts,
    opened: Opened,
    desired: watch::Receiver<Arc<Desired>>,
    supervisor: &Supervisor,
) -> Board {
    let stop = supervisor.stop_token();
    let Opened { journal, writer, histories, reports } = opened;
    for report in reports {
        tracing::warn!(report, "the journal was damaged");
    }
    let condition = journal.condition();
    supervisor.spawn_last("journal", |last| writer.run(last));

    let sequence = Sequence::new();
    let seam = Arc::new(Seam::new(parts.client.clone(), parts.ownership.clone()));
    let (relist, hints, handles) = relist::new(seam, parts.relist, sequence.clone());
    supervisor.spawn_core("relist", relist.run(stop.clone()));
    spawn_hints(supervisor, hints);

    let (runtime, runtime_state) =
        RuntimeWatch::new(parts.client.clone(), parts.endpoint.clone(), parts.runtime_period);
    supervisor.spawn_core("runtime watch", runtime.run(stop.clone()));

    let cards = Arc::new(Cards::default());
    let keeper = Keeper::new(parts.cgroups.clone(), parts.client.clone(), Arc::clone(&cards));
    supervisor.spawn_core("cgroups", keeper.run(stop.clone()));
    let on_disk = pods_on_disk(parts.disk.as_ref(), &parts.dirs);
    let (node, pace, place) = (parts.node.clone(), parts.pace, parts.place.clone());
    let actor = actor(parts, journal, &runtime_state, supervisor);
    let (dirs, events, cgroups) = (actor.dirs.clone(), actor.events.clone(), actor.cgroups.clone());
    let (images, pulled) = (actor.images.clone(), Arc::clone(&actor.pulled));
    let starts = actor.creates.in_use();
    let place = features::keep(place, runtime_state.clone(), supervisor);
    let shown_place = place.clone();
    let tools = Tools {
        actor: Arc::new(actor),
        supervisor: supervisor.clone(),
        looker: handles.looker,
        sequence,
        pace,
        observed: handles.snapshots.clone(),
        runtime: runtime_state.clone(),
    };
    let fleet =
        Fleet::new(tools, desired.clone(), place, handles.events, histories, on_disk, Arc::clone(&cards));
    supervisor.spawn_core("fleet", fleet.run(stop));

    Board {
        node,
        dirs,
        cards,
        observed: handles.snapshots,
        relist: handles.health,
        runtime: runtime_state,
        place: shown_place,
        desired,
        journal: condition,
        events,
        starts,
        cgroups,
        pulled,
        images,
        objects: None,
        membership: None,
    }
}

/// The hands of all pods, with the loops that keep what they hold.
fn actor(
    parts: Parts,
    journal: Journal,
    runtime: &watch::Receiver<RuntimeState>,
    supervisor: &Supervisor,
) -> Actor {
    let stop = supervisor.stop_token();
    let Parts { client, disk, clock, dirs, site, events, objects, classes, cgroups, place, .. } = parts;
    let images = Images::new(parts.images, &client, objects.clone(), &disk, &dirs, &clock);
    let prune = Prune::new(client.clone(), images.records.clone());
    supervisor.spawn_core("image records", prune.run(stop.clone()));
    let volumes = Volumes::new(
        objects.clone(),
        Arc::clone(&disk),
        dirs.clone(),
        clock.clone(),
        events.clone(),
        Allocatable::new(place.clone(), site.node.memory),
    );
    supervisor.spawn_core("volumes", volumes.refresher().run(stop.clone()));
    let changes = changes::pass_on(objects.clone(), volumes.clone(), stop);
    supervisor.spawn_core("changed objects of volumes", changes);
    let userns = Userns::new(Arc::clone(&disk), dirs.clone(), runtime.clone(), parts.ids_per_pod);
    Actor {
        client,
        disk,
        dirs,
        site,
        journal,
        events,
        clock,
        creates: creates(parts.cpus),
        teardowns: Slots::new(TEARDOWNS, TEARDOWNS_IN_FLIGHT, LENT_FOR),
        set_ups: Slots::new(SET_UPS, SET_UPS_IN_FLIGHT, LENT_FOR),
        images,
        pulled: Arc::default(),
        volumes,
        objects,
        place,
        runtime: runtime.clone(),
        userns,
        classes,
        cgroups,
    }
}

/// Pods that have a directory of their own. A death in the making of a pod leaves one that nothing else tells of.
fn pods_on_disk(disk: &dyn Disk, dirs: &Dirs) -> BTreeSet<PodUid> {
    let found = disk.list(&dirs.root.join("pods")).unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to list the pods' directories, what is left of old ones stays");
        Vec::new()
    });
    found.iter().filter_map(|path| paths::owner(path)).collect()
}

/// The reader of hints ends by itself where the runtime has no event stream; that is no loss.
fn spawn_hints(supervisor: &Supervisor, hints: pinnace_pleg::hint::HintReader<Seam>) {
    let stop = supervisor.stop_token();
    supervisor.spawn_core("hints", async move {
        hints.run(stop.clone()).await;
        stop.cancelled().await;
    });
}
