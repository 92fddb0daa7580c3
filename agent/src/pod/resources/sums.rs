//! What a container and a pod ask for and may use. Pure (`k8s.io/component-helpers/resource/helpers.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::hugepages;
use crate::quantity::Quantity;

/// CPU in thousandths of a processor, all else in whole units, by the resource's name.
pub type Amounts = BTreeMap<String, i64>;

fn amount(list: Option<&BTreeMap<String, Text>>, resource: &str) -> Option<Quantity> {
    Quantity::parse(&list?.get(resource)?.0).ok()
}

pub(super) fn limit(needs: Option<&ResourceRequirements>, resource: &str) -> Option<Quantity> {
    amount(needs?.limits.as_ref(), resource)
}

/// A limit without a request is also the request.
pub(super) fn request(needs: Option<&ResourceRequirements>, resource: &str) -> Option<Quantity> {
    amount(needs?.requests.as_ref(), resource).or_else(|| limit(needs, resource))
}

pub(super) fn milli(quantity: Option<Quantity>) -> i64 {
    quantity.map_or(0, |quantity| quantity.milli().unwrap_or(i64::MAX)).max(0)
}

pub(super) fn whole(quantity: Option<Quantity>) -> i64 {
    quantity.map_or(0, |quantity| quantity.value()).max(0)
}

/// A quantity in the unit of its resource.
pub(super) fn amount_of(resource: &str, quantity: Option<Quantity>) -> i64 {
    if resource == "cpu" { milli(quantity) } else { whole(quantity) }
}

/// What may be asked for by a pod as a whole.
fn is_of_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with(hugepages::LIST)
}

/// Requirements of the pod as a whole, if it has such that count.
#[must_use]
pub fn of_the_whole(spec: &PodSpec) -> Option<&ResourceRequirements> {
    let level = spec.resources.as_ref()?;
    names(Some(level)).any(|name| is_of_pods(name)).then_some(level)
}

fn names(needs: Option<&ResourceRequirements>) -> impl Iterator<Item = &String> {
    let lists = needs.map(|needs| [needs.requests.as_ref(), needs.limits.as_ref()]).into_iter().flatten();
    lists.flatten().flat_map(BTreeMap::keys)
}

/// What a container asks of its node.
#[must_use]
pub fn requests(container: &Container) -> Amounts {
    let needs = container.resources.as_ref();
    names(needs).map(|name| (name.clone(), amount_of(name, request(needs, name)))).collect()
}

/// What a container may use.
#[must_use]
pub fn limits(container: &Container) -> Amounts {
    listed(container.resources.as_ref().and_then(|needs| needs.limits.as_ref()))
}

/// The sum of the containers, or the most that is needed while an init container runs if that is more. Init containers
/// that are restarted for ever run beside all that come after them.
fn of_containers(spec: &PodSpec, of: fn(&Container) -> Amounts) -> Amounts {
    let mut all = Amounts::new();
    for container in &spec.containers {
        add(&mut all, of(container));
    }
    let (mut beside, mut most) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut now = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut all, now.clone());
            add(&mut beside, now);
            now = beside.clone();
        } else {
            add(&mut now, beside.clone());
        }
        raise(&mut most, now);
    }
    raise(&mut all, most);
    all
}

/// What the containers ask for together.
#[must_use]
pub fn requests_of_containers(spec: &PodSpec) -> Amounts {
    of_containers(spec, requests)
}

/// A list of quantities as amounts.
#[must_use]
pub fn listed(list: Option<&BTreeMap<String, Text>>) -> Amounts {
    let names = list.into_iter().flatten().map(|(name, _)| name);
    names.map(|name| (name.clone(), amount_of(name, amount(list, name)))).collect()
}

fn add(sum: &mut Amounts, more: Amounts) {
    for (name, amount) in more {
        let known = sum.entry(name).or_default();
        *known = known.saturating_add(amount);
    }
}

fn raise(most: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let known = most.entry(name).or_default();
        *known = amount.max(*known);
    }
}

/// What the pod asks for without its overhead. What it asks for as a whole stands for the sum of its containers; where it
/// names a limit only, that sum is the request, or the limit if no container asks.
#[must_use]
pub fn requests_of_pod(spec: &PodSpec) -> Amounts {
    let mut all = requests_of_containers(spec);
    let level = of_the_whole(spec);
    for name in names(level).filter(|name| is_of_pods(name)) {
        let own = amount(level.and_then(|level| level.requests.as_ref()), name);
        let asked = all.get(name).copied().filter(|sum| *sum > 0 && own.is_none());
        all.insert(name.clone(), asked.unwrap_or_else(|| amount_of(name, request(level, name))));
    }
    all
}

/// What the pod may use without its overhead; what one of its containers is free to use without limit is not in it, as
/// long as no other limits it.
#[must_use]
pub fn limits_of_pod(spec: &PodSpec) -> Amounts {
    let mut all = of_containers(spec, limits);
    let level = of_the_whole(spec);
    let listed = level.and_then(|level| level.limits.as_ref()).into_iter().flatten();
    for (name, _) in listed.filter(|(name, _)| is_of_pods(name)) {
        all.insert(name.clone(), amount_of(name, limit(level, name)));
    }
    all
}

/// What running the pod costs beside its containers.
#[must_use]
pub fn overhead(spec: &PodSpec) -> Amounts {
    listed(spec.overhead.as_ref())
}

/// What the pod asks for in all.
#[must_use]
pub fn requests_in_all(spec: &PodSpec) -> Amounts {
    let mut all = requests_of_pod(spec);
    add(&mut all, overhead(spec));
    all
}

/// What the pod may use in all. Overhead raises limits, it makes none.
#[must_use]
pub fn limits_in_all(spec: &PodSpec) -> Amounts {
    let mut all = limits_of_pod(spec);
    let more = overhead(spec).into_iter().filter(|(name, _)| all.contains_key(name)).collect();
    add(&mut all, more);
    all
}

/// Whether all of the pod's processes are limited in a resource: each container is, or the pod as a whole.
#[must_use]
pub fn is_limited(spec: &PodSpec, resource: &str) -> bool {
    let limited = |needs| whole(limit(needs, resource)) > 0;
    let init = spec.init_containers.iter().flatten();
    limited(of_the_whole(spec))
        || spec.containers.iter().chain(init).all(|container| limited(container.resources.as_ref()))
}

/// Memory that the pod as a whole asks for beyond its containers, in equal parts for each of them.
pub(super) fn spare_memory(spec: &PodSpec) -> i64 {
    if of_the_whole(spec).is_none() {
        return 0;
    }
    let memory = |amounts: Amounts| amounts.get("memory").copied().unwrap_or(0);
    let spare = memory(requests_of_pod(spec)).saturating_sub(memory(requests_of_containers(spec)));
    let containers = spec.containers.len().saturating_add(spec.init_containers.as_ref().map_or(0, Vec::len));
    spare.max(0) / i64::try_from(containers.max(1)).unwrap_or(i64::MAX)
}
