//! What admission and pod status read of the node's object: labels, taints, room and addresses. Two small loops over
//! pure readings; woken by the object; end with the stop token.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::node::NodeHandle;
use crate::node::capacity::Resources;
use crate::node::host_watch::HostFacts;
use crate::pod::admit::Place;
use crate::quantity::Quantity;

/// What pods are held against. Pure. Without an object what the node was started with counts, and labels are not known.
#[must_use]
pub fn place(
    start: &Place,
    node: Option<&Node>,
    resources: Option<&Resources>,
    host: Option<&HostFacts>,
) -> Place {
    let mut place = Place { is_known: node.is_some(), ..start.clone() };
    place.ips = ips(node);
    if place.ips.is_empty() {
        // An object that was not seen yet will have them.
        place.ips = host.and_then(|host| host.addresses.clone().ok()).unwrap_or_default();
    }
    if let Some(node) = node {
        place.labels = node.metadata.labels.clone().unwrap_or_default();
        place.taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    }
    if let Some(resources) = resources {
        place.allocatable = room(resources);
        place.room.clone_from(&place.allocatable);
    }
    place
}

/// What there is for pods: CPU in thousandths, all else in whole units.
pub(crate) fn room(resources: &Resources) -> BTreeMap<String, i64> {
    let amount = |(name, amount): (&String, &Text)| {
        let amount = Quantity::parse(&amount.0).ok()?;
        Some((name.clone(), if name == "cpu" { amount.milli()? } else { amount.value() }))
    };
    resources.allocatable.iter().filter_map(amount).collect()
}

/// The node's own addresses, the primary one first, one of each family at most. Pure.
#[must_use]
pub fn ips(node: Option<&Node>) -> Vec<IpAddr> {
    let addresses = node.and_then(|node| node.status.as_ref()?.addresses.as_ref());
    let internal = addresses.into_iter().flatten().filter(|address| address.type_ == "InternalIP");
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in internal.filter_map(|address| address.address.parse::<IpAddr>().ok()) {
        if !ips.iter().any(|known| known.is_ipv4() == ip.is_ipv4()) {
            ips.push(ip);
        }
    }
    ips
}

/// Keeps `out` what the object says.
pub async fn keep(mut node: NodeHandle, out: watch::Sender<Arc<Place>>, stop: CancellationToken) {
    let start = Arc::clone(&out.borrow());
    loop {
        let object = node.node.borrow_and_update().clone();
        let resources = node.resources.borrow_and_update().clone();
        let host = node.host.borrow_and_update().clone();
        tell(&out, place(&start, object.as_deref(), resources.as_deref(), host.as_deref()));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = node.node.changed() => if changed.is_err() { return stop.cancelled().await },
            changed = node.resources.changed() => if changed.is_err() { return stop.cancelled().await },
            changed = node.host.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

/// Tells of the place if it changed.
pub(crate) fn tell(out: &watch::Sender<Arc<Place>>, new: Place) {
    out.send_if_modified(|last| {
        let changed = **last != new;
        if changed {
            *last = Arc::new(new);
        }
        changed
    });
}

/// Keeps `out` the addresses that the object says. One that has none yet, or is gone, takes none away.
pub async fn addresses(
    mut node: watch::Receiver<Option<Arc<Node>>>,
    out: watch::Sender<Vec<IpAddr>>,
    stop: CancellationToken,
) {
    loop {
        let new = ips(node.borrow_and_update().as_deref());
        out.send_if_modified(|last| {
            !new.is_empty() && *last != new && {
                *last = new;
                true
            }
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = node.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::machine::Machine;

    fn node(value: serde_json::Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn without_an_object_labels_are_not_known() {
        let start = Place::bare("n", 5);
        let place = place(&start, None, None, None);
        assert!(!place.is_known);
        assert_eq!((place.labels, place.allocatable), (start.labels, start.allocatable));
    }

    #[test]
    fn labels_taints_and_room_are_the_objects() {
        let node = node(json!({ "metadata": { "labels": { "a": "b" } },
            "spec": { "taints": [{ "key": "k", "effect": "NoExecute" }] } }));
        let amounts: BTreeMap<String, _> =
            serde_json::from_value(json!({ "cpu": "1500m", "memory": "1Ki", "pods": "7" })).unwrap();
        let resources = Resources { allocatable: amounts, ..Resources::default() };
        let place = place(&Place::bare("n", 5), Some(&node), Some(&resources), None);
        assert!(place.is_known && place.taints.len() == 1 && place.labels.contains_key("a"));
        let room = |name: &str| place.allocatable.get(name).copied();
        assert_eq!((room("cpu"), room("memory"), room("pods")), (Some(1500), Some(1024), Some(7)));
    }

    #[test]
    fn addresses_are_the_machines_until_there_is_an_object() {
        let ip: IpAddr = "10.0.0.7".parse().unwrap();
        let machine = Machine { cpus: 2, memory: 1 << 30, ..Machine::default() };
        let host = HostFacts { machine, addresses: Ok(vec![ip]) };
        let start = Place::bare("n", 5);
        assert_eq!(place(&start, None, None, Some(&host)).ips, [ip]);
        let object =
            node(json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }] } }));
        let told = place(&start, Some(&object), None, Some(&host)).ips;
        assert_eq!(told, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn one_address_of_each_family_in_the_objects_order() {
        let address = |kind: &str, address: &str| json!({ "type": kind, "address": address });
        let node = node(
            json!({ "status": { "addresses": [address("Hostname", "n"), address("InternalIP", "10.0.0.1"),
            address("InternalIP", "10.0.0.2"), address("InternalIP", "fd00::1")] } }),
        );
        assert_eq!(ips(Some(&node)), ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    }
}
