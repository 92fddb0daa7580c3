//! What a pod may be told about itself: `fieldRef` and `resourceFieldRef`, for variables and for files. Pure.
//!
//! Paths and texts are those of `pkg/fieldpath` and `pkg/api/v1/resource` of Kubernetes 1.36.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceFieldSelector, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::pod::go_quote::quote;
use crate::quantity::Quantity;
use crate::source::desired::DesiredPod;

/// What a pod can be told.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a DesiredPod,
    /// Its addresses, the node's primary family first; empty where they do not matter, as for volumes.
    pub pod_ips: &'a [IpAddr],
    /// Addresses of its node, the primary one first; empty while they are not known.
    pub host_ips: &'a [IpAddr],
}

impl<'a> Facts<'a> {
    /// What holds of a pod wherever it runs: all that a volume may show.
    #[must_use]
    pub fn of(pod: &'a DesiredPod) -> Self {
        Self { pod, pod_ips: &[], host_ips: &[] }
    }
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// No such field can be referred to.
    #[error("unsupported fieldPath: {0}")]
    Path(String),
    /// Only labels and annotations have keys.
    #[error("field label does not support subscript: {0}")]
    Subscript(String),
    /// No such resource can be referred to.
    #[error("unsupported container resource : {0}")]
    Resource(String),
    /// The pod has no such container.
    #[error("container {0} not found")]
    Container(String),
    /// The divisor is not a positive quantity.
    #[error("the divisor {0:?} is not a positive quantity")]
    Divisor(String),
    /// The node has no address yet.
    #[error("host IP unknown")]
    HostIp,
}

/// The value of a field of the pod, such as `metadata.labels['app']` or `status.podIPs`. `metadata.labels` and
/// `metadata.annotations` give the whole map as a `downwardAPI` file shows it.
pub fn of_pod(path: &str, facts: &Facts<'_>) -> Result<String, FieldError> {
    let pod = facts.pod;
    let (labels, annotations) = (&pod.pod.metadata.labels, &pod.pod.metadata.annotations);
    let one = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    if let Some((map, key)) = subscript(path) {
        return match map {
            "metadata.labels" => Ok(one(labels, key)),
            "metadata.annotations" => Ok(one(annotations, key)),
            _ => Err(FieldError::Subscript(path.to_owned())),
        };
    }
    let spec = pod.pod.spec.as_ref();
    let text = |field: Option<&String>| Ok(field.cloned().unwrap_or_default());
    match path {
        "metadata.name" => Ok(pod.name.clone()),
        "metadata.namespace" => Ok(pod.namespace.clone()),
        "metadata.uid" => Ok(pod.uid.to_string()),
        "metadata.labels" => Ok(whole(labels.as_ref())),
        "metadata.annotations" => Ok(whole(annotations.as_ref())),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" => Ok(facts.pod_ips.first().map(ToString::to_string).unwrap_or_default()),
        "status.podIPs" => Ok(joined(facts.pod_ips)),
        "status.hostIP" => facts.host_ips.first().map(ToString::to_string).ok_or(FieldError::HostIp),
        "status.hostIPs" if facts.host_ips.is_empty() => Err(FieldError::HostIp),
        "status.hostIPs" => Ok(joined(facts.host_ips)),
        _ => Err(FieldError::Path(path.to_owned())),
    }
}

/// `map['key']` taken apart; none if the path has not that form.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    (!map.is_empty()).then_some((map, key))
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// One line for each key, sorted, without a newline at the end.
fn whole(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<_> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quote(value))).collect();
    lines.join("\n")
}

/// Resources of which a container without a limit may have all that its pod, or else its node, has. Not huge pages:
/// those are never overcommitted.
const LIMITED_BY_NODE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// The amount of a resource, divided and rounded up. `own` is the container that asks, which counts if the selector
/// names none; `allocatable` is what the node has for pods: CPU in thousandths, all else in whole units.
pub fn of_resource(
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
    spec: &PodSpec,
    allocatable: &BTreeMap<String, i64>,
) -> Result<String, FieldError> {
    let unsupported = || FieldError::Resource(selector.resource.clone());
    let (list, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    if !LIMITED_BY_NODE.contains(&resource) && !resource.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let container = container(selector, own, spec)?;
    let needs = container.resources.as_ref();
    let amount = match list {
        "limits" => limit(needs, resource)
            .or_else(|| LIMITED_BY_NODE.contains(&resource).then(|| around(spec, resource, allocatable))?),
        "requests" => amount(needs.and_then(|needs| needs.requests.as_ref()), resource),
        _ => return Err(unsupported()),
    };
    let divisor = divisor(selector, resource)?;
    Ok(ceil_div(amount.unwrap_or(0).max(0), divisor).to_string())
}

fn container<'a>(
    selector: &ResourceFieldSelector,
    own: Option<&'a Container>,
    spec: &'a PodSpec,
) -> Result<&'a Container, FieldError> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    match (named, own) {
        (None, Some(own)) => Ok(own),
        (named, _) => {
            let name = named.unwrap_or_default();
            let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            all.find(|one| one.name == name).ok_or_else(|| FieldError::Container(name.to_owned()))
        }
    }
}

/// The pod's own limit, else what the node gives.
fn around(spec: &PodSpec, resource: &str, allocatable: &BTreeMap<String, i64>) -> Option<i64> {
    limit(spec.resources.as_ref(), resource).or_else(|| allocatable.get(resource).copied())
}

/// A limit of zero is none.
fn limit(needs: Option<&ResourceRequirements>, resource: &str) -> Option<i64> {
    amount(needs?.limits.as_ref(), resource).filter(|amount| *amount != 0)
}

fn amount(list: Option<&BTreeMap<String, Text>>, resource: &str) -> Option<i64> {
    unit(Quantity::parse(&list?.get(resource)?.0).ok()?, resource)
}

/// CPU in thousandths, all else in whole units; both rounded up.
fn unit(quantity: Quantity, resource: &str) -> Option<i64> {
    if resource == "cpu" { quantity.milli() } else { Some(quantity.value()) }
}

/// One, if there is none or it is zero.
fn divisor(selector: &ResourceFieldSelector, resource: &str) -> Result<i64, FieldError> {
    let given = selector.divisor.as_ref().map_or("0", |divisor| divisor.0.as_str());
    let wrong = || FieldError::Divisor(given.to_owned());
    let divisor = Quantity::parse(given).map_err(|_| wrong())?;
    let one = if resource == "cpu" { 1000 } else { 1 };
    match unit(divisor, resource).ok_or_else(wrong)? {
        0 => Ok(one),
        positive @ 1.. => Ok(positive),
        _ => Err(wrong()),
    }
}

/// For `amount` of at least zero and a positive `divisor`. In whole numbers, where the kubelet loses the last digits
/// of what is beyond 2^53.
fn ceil_div(amount: i64, divisor: i64) -> i64 {
    let (whole, rest) = (amount.checked_div(divisor), amount.checked_rem(divisor));
    whole.unwrap_or(0).saturating_add(i64::from(rest.is_some_and(|rest| rest > 0)))
}

#[cfg(test)]
mod tests;
