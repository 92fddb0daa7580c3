//! What admission and pod status read of the node's object: labels, taints, room and addresses. Two small loops over
//! pure readings; woken by the object; end with the stop token.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::node::NodeHandle;
use crate::node::capacity::Resources;
use crate::pod::admit::Place;
use crate::quantity::Quantity;

/// What pods are held against. Pure. Without an object what the node was started with counts, and labels are not known.
#[must_use]
pub fn place(start: &Place, node: Option<&Node>, resources: Option<&Resources>) -> Place {
    let mut place = Place { is_known: node.is_some(), ..start.clone() };
    if let Some(node) = node {
        place.labels = node.metadata.labels.clone().unwrap_or_default();
        place.taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    }
    if let Some(resources) = resources {
        place.allocatable = resources
            .allocatable
            .iter()
            .filter_map(|(name, amount)| {
                let amount = Quantity::parse(&amount.0).ok()?;
                Some((name.clone(), if name == "cpu" { amount.milli()? } else { amount.value() }))
            })
            .collect::<BTreeMap<_, _>>();
    }
    place
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
        let new = place(&start, object.as_deref(), resources.as_deref());
        out.send_if_modified(|last| {
            let changed = **last != new;
            if changed {
                *last = Arc::new(new);
            }
            changed
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = node.node.changed() => if changed.is_err() { return stop.cancelled().await },
            changed = node.resources.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
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

    fn node(value: serde_json::Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn without_an_object_labels_are_not_known() {
        let start = Place::bare("n", 5);
        let place = place(&start, None, None);
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
        let place = place(&Place::bare("n", 5), Some(&node), Some(&resources));
        assert!(place.is_known && place.taints.len() == 1 && place.labels.contains_key("a"));
        let room = |name: &str| place.allocatable.get(name).copied();
        assert_eq!((room("cpu"), room("memory"), room("pods")), (Some(1500), Some(1024), Some(7)));
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
