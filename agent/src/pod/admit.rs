//! Whether this node takes a pod. Pure.
//!
//! Three verdicts: yes; not yet, with what it waits for; no, for ever, in the kubelet's words
//! (`pkg/kubelet/lifecycle/predicate.go`). A pod that the journal knows as admitted is never judged again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};

use crate::pod::resources::sums;
use crate::pod::security::sysctl::Allowlist;
use crate::source::desired::{DesiredPod, Origin};

pub mod features;
pub mod preempt;
mod security;

/// How long labels may be missing: they are often set a moment after the node has registered.
pub const LABEL_PATIENCE: Duration = Duration::from_secs(30);

/// What of the node a pod is held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Name of the node.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// The labels and taints are those of the API's object, or there is no API server to ask.
    pub is_known: bool,
    /// What pods may ask for together: CPU in thousandths, all else in whole units. What is not in it is not judged.
    pub allocatable: BTreeMap<String, i64>,
    /// Groups of a pod can be taken from its spec alone (`supplementalGroupsPolicy: Strict`); none until the runtime has
    /// said it.
    pub strict_groups: Option<bool>,
    /// Kernel parameters that pods may set.
    pub sysctls: Arc<Allowlist>,
    /// AppArmor is enabled in the kernel.
    pub app_armor: bool,
    /// Addresses of the node, the primary one first, one of each family at most; empty while they are not known.
    /// Nothing is judged by them.
    pub ips: Vec<IpAddr>,
    /// What the node has for pods, in the units of `allocatable`, as containers are told it. Nothing is judged by it.
    pub room: BTreeMap<String, i64>,
}

impl Place {
    /// A node of which nothing but its name and its number of pods is known.
    #[must_use]
    pub fn bare(name: &str, max_pods: u32) -> Self {
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let labels = [("hostname", name), ("os", "linux"), ("arch", arch)];
        Self {
            name: name.to_owned(),
            labels: labels.map(|(key, value)| (format!("kubernetes.io/{key}"), value.to_owned())).into(),
            taints: Vec::new(),
            is_known: true,
            allocatable: BTreeMap::from([("pods".to_owned(), i64::from(max_pods))]),
            strict_groups: None,
            sysctls: Arc::new(Allowlist::safe(None)),
            app_armor: false,
            ips: Vec::new(),
            room: BTreeMap::new(),
        }
    }
}

/// Another pod of the node.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour<'a> {
    /// The pod.
    pub pod: &'a DesiredPod,
    /// It is on its way out: what it has will be free.
    pub leaving: bool,
}

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Admit,
    /// It may run once this has come about.
    Wait {
        /// What it waits for.
        waiting_for: String,
        /// When time alone changes the verdict.
        left: Option<Duration>,
    },
    /// It may run once others, which are to go for it, have gone.
    Preempt {
        /// Their places among the neighbours.
        victims: Vec<usize>,
        /// What it waits for then.
        waiting_for: String,
    },
    /// It never runs here.
    Reject {
        /// `status.reason`.
        reason: String,
        /// The event's message; the status says `Pod was rejected: ` before it.
        message: String,
    },
}

/// Judges a pod that has `waited` since it was first seen.
#[must_use]
pub fn judge(pod: &DesiredPod, place: &Place, others: &[Neighbour<'_>], waited: Duration) -> Verdict {
    let Some(spec) = pod.pod.spec.as_ref() else { return Verdict::Admit };
    if let Some(verdict) = security::sysctls(spec, place).or_else(|| system(pod, spec)) {
        return verdict;
    }
    if let Some(verdict) = security::groups(spec, place) {
        return verdict;
    }
    let is_vital = preempt::is_vital(pod);
    if let Some(verdict) = amounts(pod, place, others).filter(|_| !is_vital) {
        return verdict;
    }
    if let Some(verdict) = affinity(spec, place, waited) {
        return verdict;
    }
    if spec.node_name.as_ref().is_some_and(|name| !name.is_empty() && *name != place.name) {
        return predicate("NodeName", "node(s) didn't match the requested node name");
    }
    if let Some(verdict) = ports(spec, others) {
        return verdict;
    }
    let is_static = matches!(pod.origin, Origin::File(_));
    if !is_static && place.taints.iter().any(|taint| expels(taint, spec.tolerations.as_deref())) {
        return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate");
    }
    if let Some(verdict) = security::app_armor(pod, place) {
        return verdict;
    }
    // Last, since nobody goes for a pod that cannot run here anyway.
    preempt::judge(pod, place, others).filter(|_| is_vital).unwrap_or(Verdict::Admit)
}

fn reject(reason: &str, message: &str) -> Verdict {
    Verdict::Reject { reason: reason.to_owned(), message: message.to_owned() }
}

fn predicate(name: &str, why: &str) -> Verdict {
    reject(name, &format!("Predicate {name} failed: {why}"))
}

fn wait(waiting_for: &str) -> Verdict {
    Verdict::Wait { waiting_for: waiting_for.to_owned(), left: None }
}

fn system(pod: &DesiredPod, spec: &PodSpec) -> Option<Verdict> {
    let label = pod.pod.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if label.is_some_and(|os| os != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(reject("PodOSSelectorNodeLabelDoesNotMatch", message));
    }
    spec.os.as_ref().is_some_and(|os| os.name != "linux").then(|| {
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        reject("PodOSNotSupported", message)
    })
}

/// The first resource of which there is too little. A vital pod passes over these.
fn amounts(pod: &DesiredPod, place: &Place, others: &[Neighbour<'_>]) -> Option<Verdict> {
    let asked = asks(&pod.pod);
    let used = |leaving_too: bool| {
        let mut sum: BTreeMap<String, i64> = BTreeMap::new();
        for other in others.iter().filter(|other| leaving_too || !other.leaving) {
            for (name, amount) in asks(&other.pod.pod) {
                let known = sum.entry(name).or_default();
                *known = known.saturating_add(amount);
            }
        }
        sum
    };
    let (all, staying) = (used(true), used(false));
    // In the kubelet's order: pods, cpu, memory, ephemeral-storage, then the others.
    let order =
        |name: &str| ["pods", "cpu", "memory", "ephemeral-storage"].iter().position(|known| *known == name);
    let mut names: Vec<&String> = asked.keys().collect();
    names.sort_by_key(|name| (order(name).unwrap_or(usize::MAX), name.as_str()));
    for name in names {
        let (Some(requested), Some(capacity)) = (asked.get(name), place.allocatable.get(name)) else {
            continue;
        };
        let of = |sum: &BTreeMap<String, i64>| sum.get(name).copied().unwrap_or(0);
        if *requested == 0 || requested.saturating_add(of(&all)) <= *capacity {
            continue;
        }
        if requested.saturating_add(of(&staying)) <= *capacity {
            return Some(wait(&format!("pods on their way out to free {name}")));
        }
        let (used, resource) = (of(&all), name);
        return Some(reject(
            &format!("OutOf{resource}"),
            &format!(
                "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
            ),
        ));
    }
    None
}

/// What a pod asks for, and one pod.
fn asks(pod: &Pod) -> BTreeMap<String, i64> {
    let Some(spec) = pod.spec.as_ref() else { return BTreeMap::new() };
    let mut sum = sums::requests_in_all(spec);
    sum.insert("pods".to_owned(), 1);
    sum
}

fn affinity(spec: &PodSpec, place: &Place, waited: Duration) -> Option<Verdict> {
    let required = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        required.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    let selected =
        spec.node_selector.iter().flatten().all(|(key, value)| place.labels.get(key) == Some(value));
    let matched = required
        .is_none_or(|required| required.node_selector_terms.iter().any(|term| matches_term(term, place)));
    if selected && matched {
        return None;
    }
    if !place.is_known {
        return Some(wait("the node's labels from the API server"));
    }
    let left = LABEL_PATIENCE.saturating_sub(waited);
    if !left.is_zero() {
        let waiting_for = "labels that the pod's node selector or affinity asks for".to_owned();
        return Some(Verdict::Wait { waiting_for, left: Some(left) });
    }
    Some(predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"))
}

/// All of a term must hold; a term without any holds for no node.
fn matches_term(term: &NodeSelectorTerm, place: &Place) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |name: &str| (name == "metadata.name").then_some(place.name.as_str());
    let label = |name: &str| place.labels.get(name).map(String::as_str);
    (!labels.is_empty() || !fields.is_empty())
        && labels.iter().all(|asked| matches_requirement(asked, label(&asked.key)))
        && fields.iter().all(|asked| matches_requirement(asked, field(&asked.key)))
}

fn matches_requirement(asked: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = asked.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|known| known == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let pair = || Some((number(value?)?, number(values.first()?)?));
    match asked.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => pair().is_some_and(|(have, than)| have > than),
        "Lt" => pair().is_some_and(|(have, than)| have < than),
        _ => false,
    }
}

/// A port of the host is one pod's at a time.
fn ports(spec: &PodSpec, others: &[Neighbour<'_>]) -> Option<Verdict> {
    let wanted = host_ports(spec);
    let taken = |leaving: bool| {
        others
            .iter()
            .filter(|other| other.leaving == leaving)
            .filter_map(|other| other.pod.pod.spec.as_ref())
            .any(|other| host_ports(other).iter().any(|taken| wanted.iter().any(|port| collide(taken, port))))
    };
    if taken(false) {
        return Some(predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports"));
    }
    taken(true).then(|| wait("pods on their way out to free a port of the host"))
}

type HostPort = (String, String, i32);

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            Some((ip, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), number))
        })
        .collect()
}

fn collide(one: &HostPort, other: &HostPort) -> bool {
    let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
    one.2 == other.2 && one.1 == other.1 && (one.0 == other.0 || any(&one.0) || any(&other.0))
}

/// Only `NoExecute` counts here: the other effects are the scheduler's.
fn expels(taint: &Taint, tolerations: Option<&[Toleration]>) -> bool {
    taint.effect == "NoExecute"
        && !tolerations.unwrap_or_default().iter().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let effect = text(&toleration.effect);
    let key = text(&toleration.key);
    let exists = toleration.operator.as_deref() == Some("Exists");
    let effect_fits = effect.is_empty() || effect == taint.effect;
    let key_fits = (key.is_empty() && exists) || key == taint.key;
    effect_fits && key_fits && (exists || text(&toleration.value) == text(&taint.value))
}

#[cfg(test)]
mod tests;
