//! What a start without a kubeconfig has in the place of a node's object: the machine's own word. One loop over a pure
//! reading; woken by the machine's watch; writes the place; ends with the stop token.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::effective::Config;
use crate::config::reserve::Reserved;
use crate::host::machine::ThisHost;
use crate::join::place::{room, tell};
use crate::node::capacity::{self, PodLimits};
use crate::node::host_watch::{HostFacts, HostWatch};
use crate::pod::admit::Place;
use crate::supervise::Supervisor;

/// Starts the loops that keep `out` what the machine says of its addresses and its room.
pub(super) fn tell_place(config: &Config, out: watch::Sender<Arc<Place>>, supervisor: &Supervisor) {
    let (host, name) = (Arc::new(ThisHost::new(&config.root_dir)), config.node_name.clone());
    let (watch, facts) = HostWatch::new(host, name, config.node_ips.clone(), config.node.update_frequency);
    supervisor.spawn_core("machine", watch.run(supervisor.stop_token()));
    let limits = PodLimits { most: config.max_pods, per_core: config.node.pods_per_core };
    let reserved = config.node.reserved.clone();
    supervisor.spawn_core("place", keep(facts, limits, reserved, out, supervisor.stop_token()));
}

/// The place. Pure. What pods are held against stays what it was started with.
fn alone(start: &Place, host: &HostFacts, limits: PodLimits, reserved: &Reserved) -> Place {
    let (resources, _) = capacity::resources(&host.machine, limits, reserved);
    let ips = host.addresses.clone().unwrap_or_default();
    Place { ips, room: room(&resources), ..start.clone() }
}

/// Keeps `out` what the machine says, until `stop`.
async fn keep(
    mut host: watch::Receiver<Option<Arc<HostFacts>>>,
    limits: PodLimits,
    reserved: Reserved,
    out: watch::Sender<Arc<Place>>,
    stop: CancellationToken,
) {
    let start = Arc::clone(&out.borrow());
    loop {
        if let Some(host) = host.borrow_and_update().clone() {
            tell(&out, alone(&start, &host, limits, &reserved));
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = host.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::machine::Machine;

    #[test]
    fn addresses_and_room_are_told_and_nothing_more_is_judged() {
        let machine = Machine { cpus: 2, memory: 1 << 30, ..Machine::default() };
        let host = HostFacts { machine, addresses: Ok(vec![[10, 0, 0, 7].into()]) };
        let (start, limits) = (Place::bare("n", 5), PodLimits { most: 5, per_core: None });
        let alone = alone(&start, &host, limits, &Reserved::default());
        assert_eq!(alone.ips, host.addresses.unwrap());
        assert_eq!((alone.room["cpu"], alone.room["memory"]), (2000, 1 << 30));
        assert_eq!(alone.allocatable, start.allocatable);
    }
}
