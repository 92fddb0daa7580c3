//! What of its node and of its sandbox a container is told. Waits for nothing that the container does not ask for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use crate::pod::act::Actor;
use crate::pod::admit::Place;
use crate::pod::api_status::sorted;
use crate::pod::prepare::Instance;

/// How long a container that asks for it waits for what the node finds out about itself: milliseconds after a start.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where a container is.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The node.
    pub(crate) place: Arc<Place>,
    /// Addresses of the pod, the node's primary family first: the node's own in the node's network.
    pub(crate) pod_ips: Vec<IpAddr>,
}

/// What surrounds an instance.
pub(crate) async fn of(actor: &Actor, instance: Instance<'_>) -> Surroundings {
    let host_network = instance.spec.host_network == Some(true);
    let mut place = actor.place.borrow().clone();
    if place.ips.is_empty() && (host_network || asks(instance.container)) {
        let mut places = actor.place.clone();
        let known = tokio::time::timeout(PATIENCE, places.wait_for(|place| !place.ips.is_empty())).await;
        if let Ok(Ok(known)) = known {
            place = Arc::clone(&known);
        }
    }
    let pod_ips = if host_network { place.ips.clone() } else { sorted(instance.sandbox_ips, &place.ips) };
    Surroundings { place, pod_ips }
}

/// Whether a variable needs what only the node knows.
fn asks(container: &Container) -> bool {
    let variables = container.env.iter().flatten();
    variables.filter_map(|variable| variable.value_from.as_ref()).any(|from| {
        let of_status = from.field_ref.as_ref().is_some_and(|field| field.field_path.starts_with("status."));
        of_status || from.resource_field_ref.is_some()
    })
}
