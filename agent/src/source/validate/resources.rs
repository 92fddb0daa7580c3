//! What may be wrong with requests and limits.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{Faults, names};
use crate::pod::resources::{HUGEPAGES, sums};
use crate::quantity::Quantity;

pub(super) fn requirements(at: &str, requirements: &ResourceRequirements, faults: &mut Faults) {
    let limits = quantities(&format!("{at}.limits"), requirements.limits.as_ref(), faults);
    let requests = quantities(&format!("{at}.requests"), requirements.requests.as_ref(), faults);
    for (name, request) in &requests {
        let field = format!("{at}.requests[{name}]");
        match limits.get(name) {
            Some(limit) if request > limit => faults.add(field, "is more than the limit"),
            // What cannot be shared out in parts cannot be lent beyond the request either.
            Some(limit) if !overcommitted(name) && request != limit => {
                faults.add(field, "must equal the limit")
            }
            None if !overcommitted(name) => faults.add(field, "needs a limit of the same amount"),
            _ => {}
        }
    }
    let named = |name: &str| limits.contains_key(name) || requests.contains_key(name);
    let mut all = limits.keys().chain(requests.keys());
    if all.any(|name| name.starts_with(HUGEPAGES)) && !named("cpu") && !named("memory") {
        faults.add(at, "huge pages need cpu or memory beside them");
    }
}

/// Requirements of the pod as a whole, against those of its containers.
pub(super) fn of_the_whole(spec: &PodSpec, whole: &ResourceRequirements, faults: &mut Faults) {
    const AT: &str = "spec.resources";
    requirements(AT, whole, faults);
    let lists = [&whole.limits, &whole.requests].into_iter().flatten();
    for name in lists.flat_map(BTreeMap::keys) {
        let known = ["cpu", "memory"].contains(&name.as_str()) || name.starts_with(HUGEPAGES);
        faults.add_if(!known, AT, format!("{name} cannot be asked for by a pod as a whole"));
    }
    let least = sums::requests_of_containers(spec);
    for (name, amount) in sums::listed(whole.requests.as_ref()) {
        let more = least.get(&name).is_some_and(|sum| *sum > amount);
        faults.add_if(more, format!("{AT}.requests[{name}]"), "is less than its containers ask for together");
    }
    for (name, amount) in sums::listed(whole.limits.as_ref()) {
        let beyond = |limits: sums::Amounts| limits.get(&name).is_some_and(|limit| *limit > amount);
        let any = spec.containers.iter().any(|container| beyond(sums::limits(container)));
        faults.add_if(any, format!("{AT}.limits[{name}]"), "is less than the limit of a container");
    }
}

/// What running the pod costs beside its containers.
pub(super) fn overhead(overhead: Option<&BTreeMap<String, Text>>, faults: &mut Faults) {
    quantities("spec.overhead", overhead, faults);
}

fn overcommitted(name: &str) -> bool {
    native(name) && !name.starts_with(HUGEPAGES)
}

/// Resources of Kubernetes itself, in contrast to those that devices bring.
fn native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn quantities<'a>(
    at: &str,
    list: Option<&'a BTreeMap<String, Text>>,
    faults: &mut Faults,
) -> BTreeMap<&'a str, Quantity> {
    let mut read = BTreeMap::new();
    for (name, Text(text)) in list.into_iter().flatten() {
        let field = format!("{at}[{name}]");
        faults.check(field.as_str(), resource_name(name));
        match Quantity::parse(text) {
            Err(error) => {
                faults.add(field, format!("{:?}: {error}", text.chars().take(64).collect::<String>()))
            }
            Ok(quantity) if quantity.sign() == Ordering::Less => {
                faults.add(field, format!("is {text}, expected at least 0"));
            }
            Ok(quantity) => {
                let parts = !quantity.is_whole() && whole_only(name);
                faults.add_if(parts, field, format!("is {text}, expected a whole number"));
                read.insert(name.as_str(), quantity);
            }
        }
    }
    read
}

fn whole_only(name: &str) -> bool {
    !native(name) || name.starts_with(HUGEPAGES)
}

/// A name without a prefix must be one that Kubernetes knows.
fn resource_name(name: &str) -> Result<(), String> {
    names::qualified(name)?;
    let known = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with(HUGEPAGES);
    if known || name.contains('/') {
        return Ok(());
    }
    Err("is not a resource: expected cpu, memory, ephemeral-storage, hugepages-SIZE or domain/name"
        .to_owned())
}
