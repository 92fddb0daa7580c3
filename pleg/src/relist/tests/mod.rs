//! The loop against the runtime in memory, on a paused clock.

mod absence;
mod aims;
mod faults;
mod objects;
mod waits;

use pinnace_cri::container::ContainerState;
use tokio::task::JoinSet;

use super::*;
use crate::diff::Change;
use crate::fake::{Fake, ListFault, cid, container, sandbox, uid};
use crate::health::{RELIST_THRESHOLD, Stream, verdict};
use crate::seam::Listing;
use pinnace_cri::sandbox::SandboxState;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Both loops over one fake; they stop when this is dropped.
struct Rig {
    sequence: Sequence,
    handles: Handles,
    _loops: JoinSet<()>,
}

impl Rig {
    fn start(fake: &Arc<Fake>) -> Self {
        Self::with(fake, Config { event_capacity: 100_000, ..Config::default() })
    }

    fn with(fake: &Arc<Fake>, config: Config) -> Self {
        let sequence = Sequence::new();
        let (relist, hints, handles) = new(Arc::clone(fake), config, sequence.clone());
        let mut loops = JoinSet::new();
        loops.spawn(relist.run(CancellationToken::new()));
        loops.spawn(hints.run(CancellationToken::new()));
        Self { sequence, handles, _loops: loops }
    }

    /// Waits until the snapshot is as wanted; how long that took.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Duration {
        let start = Instant::now();
        let seen = self.handles.snapshots.wait_for(|snapshot| wanted(snapshot));
        tokio::time::timeout(60 * SECOND, seen).await.expect(what).expect("the loop ended");
        start.elapsed()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.handles.snapshots.borrow())
    }

    fn verdict(&self) -> Result<(), String> {
        verdict(&self.handles.health.borrow(), Instant::now())
    }

    fn stream(&self) -> Stream {
        self.handles.health.borrow().stream
    }

    fn events(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.handles.events.try_recv().ok()).map(|event| event.change).collect()
    }
}

fn state(snapshot: &Snapshot, pod: &str) -> Option<ContainerState> {
    Some(snapshot.pod(&uid(pod))?.newest_container("c")?.record.state)
}

fn exited(snapshot: &Snapshot, pod: &str) -> bool {
    state(snapshot, pod) == Some(ContainerState::Exited)
}

fn fleet(count: usize, has_events: bool) -> (Arc<Fake>, Vec<String>) {
    let fake = Fake::new(has_events);
    let pods: Vec<_> = (0..count).map(|number| format!("p{number:03}")).collect();
    pods.iter().for_each(|pod| fake.run_pod(pod));
    (fake, pods)
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[(took.len() * 99).div_ceil(100) - 1]
}
