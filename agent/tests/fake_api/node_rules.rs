//! What a node may do: the parts of the Node authorizer and of NodeRestriction that a kubelet can trip over.

use serde_json::{Value, json};

use super::identity::Identity;
use super::kinds::{Kind, Target};
use super::reading::text;
use super::requests::Verb;
use super::state::State;
use super::status::Failure;
use super::store::{Key, Object};
use super::verbs::Call;

/// Where leases of nodes are.
const LEASES: &str = "kube-node-lease";

/// Refuses what the node that asks may not do.
pub fn check(state: &State, identity: &Identity, call: &Call<'_>) -> Result<(), Failure> {
    let Identity::Node(node) = identity else { return Ok(()) };
    let target = call.target;
    let old = state.store.get(&Key::of(target));
    match target.kind.plural {
        "pods" => pods(node, call, old),
        "nodes" => nodes(node, call, old),
        "leases" => leases(node, target),
        "secrets" | "configmaps" | "persistentvolumeclaims" => resources(state, node, call),
        "serviceaccounts" => tokens(state, node, call),
        "events" if matches!(call.verb, Verb::Create | Verb::Patch | Verb::Update) => Ok(()),
        "services" | "runtimeclasses" | "csidrivers" if !call.verb.is_write() => Ok(()),
        _ => Err(denied(node, call, "")),
    }
}

fn denied(node: &str, call: &Call<'_>, why: &str) -> Failure {
    let target = call.target;
    let sub = if target.sub().is_empty() { String::new() } else { format!("/{}", target.sub()) };
    let scope = match &target.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let text = format!(
        "User \"system:node:{node}\" cannot {} resource \"{}{sub}\" in API group {:?} {scope}{why}",
        call.verb, target.kind.plural, target.kind.group
    );
    Failure::forbidden(target, &text)
}

fn pods(node: &str, call: &Call<'_>, old: Option<&Object>) -> Result<(), Failure> {
    let forbidden = |text: String| Err(Failure::forbidden(call.target, &text));
    let mine = |pod: &Value| text(pod, "/spec/nodeName") == node;
    match (call.verb, call.target.sub()) {
        (Verb::Get, "") => match old {
            Some(pod) if !mine(pod) => {
                Err(denied(node, call, "no relationship found between node and this object"))
            }
            _ => Ok(()),
        },
        (Verb::List | Verb::Watch, "") if call.asked.selector.field("spec.nodeName") == Some(node) => Ok(()),
        (Verb::List | Verb::Watch, "") => {
            Err(denied(node, call, "can only list/watch pods with spec.nodeName field selector"))
        }
        (Verb::Create, "")
            if text(&call.body, "/metadata/annotations/kubernetes.io~1config.mirror").is_empty() =>
        {
            forbidden(format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
            ))
        }
        (Verb::Create, "") if !mine(&call.body) => {
            forbidden(format!("node {node:?} can only create pods with spec.nodeName set to itself"))
        }
        (Verb::Create, "") => mirror_owner(node, call),
        (Verb::Delete, "") if old.is_some_and(|pod| !mine(pod)) => {
            forbidden(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        (Verb::Delete, "") => Ok(()),
        (Verb::Patch | Verb::Update, "status") if old.is_some_and(|pod| !mine(pod)) => forbidden(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        )),
        (Verb::Patch | Verb::Update, "status") if changes_labels(call, old) => {
            forbidden(format!("node {node:?} cannot update labels through pod status"))
        }
        (Verb::Patch | Verb::Update, "status") => Ok(()),
        _ => Err(denied(node, call, "")),
    }
}

/// A mirror pod belongs to its node.
fn mirror_owner(node: &str, call: &Call<'_>) -> Result<(), Failure> {
    let owners = call.body["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let why = match owners {
        [owner] if text(owner, "/kind") == "Node" && text(owner, "/name") == node => {
            if owner["controller"] == true {
                return Ok(());
            }
            "with a controller owner reference set to itself"
        }
        [] | [_] => "with an owner reference set to itself",
        _ => "with a single owner reference set to itself",
    };
    Err(Failure::forbidden(call.target, &format!("node {node:?} can only create pods {why}")))
}

fn changes_labels(call: &Call<'_>, old: Option<&Object>) -> bool {
    let Some(given) = call.body["metadata"]["labels"].as_object() else { return false };
    given.iter().any(|(key, value)| old.is_none_or(|old| old["metadata"]["labels"].get(key) != Some(value)))
}

fn nodes(node: &str, call: &Call<'_>, old: Option<&Object>) -> Result<(), Failure> {
    let forbidden = |text: String| Err(Failure::forbidden(call.target, &text));
    let named = match call.verb {
        Verb::Create => text(&call.body, "/metadata/name"),
        Verb::List | Verb::Watch => call.asked.selector.field("metadata.name").unwrap_or_default(),
        _ => call.target.name(),
    };
    if matches!(call.verb, Verb::Delete | Verb::DeleteCollection) {
        return Err(denied(node, call, ""));
    }
    if named != node && !call.verb.is_write() {
        return Err(denied(node, call, "node can only read its own Node object"));
    }
    if named != node {
        return forbidden(format!("node {node:?} is not allowed to modify node {named:?}"));
    }
    let refused: Vec<String> = changed_labels(call, old).into_iter().filter(|key| !may_set(key)).collect();
    if !refused.is_empty() && call.verb == Verb::Create {
        return forbidden(format!(
            "node {node:?} is not allowed to set the following labels: {}",
            refused.join(", ")
        ));
    }
    if !refused.is_empty() {
        return forbidden(format!("is not allowed to modify labels: {}", refused.join(", ")));
    }
    let taints = call.body.pointer("/spec/taints");
    let taints_stay =
        old.is_none_or(|old| taints.is_none_or(|taints| old.pointer("/spec/taints") == Some(taints)));
    if call.verb.is_write() && call.target.sub().is_empty() && !taints_stay {
        return forbidden(format!("node {node:?} is not allowed to modify taints"));
    }
    Ok(())
}

fn changed_labels(call: &Call<'_>, old: Option<&Object>) -> Vec<String> {
    let Some(given) = call.body["metadata"]["labels"].as_object() else { return Vec::new() };
    let held =
        |key: &str| old.and_then(|old| old["metadata"]["labels"].get(key)).cloned().unwrap_or_default();
    given.iter().filter(|(key, value)| held(key) != **value).map(|(key, _)| key.clone()).collect()
}

/// Labels of Kubernetes' own domains are closed to nodes, but for the kubelet's own.
fn may_set(key: &str) -> bool {
    const OWN: [&str; 13] = [
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "node.kubernetes.io/windows-build",
        "kubernetes.io/instance-type",
    ];
    let Some((domain, _)) = key.split_once('/') else { return true };
    let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if within("kubelet.kubernetes.io") || within("node.kubernetes.io") || OWN.contains(&key) {
        return true;
    }
    !within("kubernetes.io") && !within("k8s.io")
}

fn leases(node: &str, target: &Target) -> Result<(), Failure> {
    if target.namespace() != LEASES {
        return Err(Failure::forbidden(
            target,
            &format!("can only access leases in the {LEASES:?} system namespace"),
        ));
    }
    if !target.name().is_empty() && target.name() != node {
        return Err(Failure::forbidden(
            target,
            "can only access node lease with the same name as the requesting node",
        ));
    }
    Ok(())
}

/// Only by name, and only what a pod of this node refers to.
fn resources(state: &State, node: &str, call: &Call<'_>) -> Result<(), Failure> {
    const WHY: &str = "no relationship found between node and this object";
    if call.verb.is_write() {
        return Err(denied(node, call, "can only read resources of this type"));
    }
    let named = call.target.name.as_deref().or_else(|| call.asked.selector.field("metadata.name"));
    let Some(name) = named else {
        return Err(denied(node, call, "can only read namespaced object of this type"));
    };
    let pods = state.store.all(Kind::named("pods"), call.target.namespace.as_deref());
    let quoted = format!("{name:?}");
    let refers =
        |pod: &Value| text(pod, "/spec/nodeName") == node && pod["spec"].to_string().contains(&quoted);
    if pods.iter().any(|(_, pod)| refers(pod)) { Ok(()) } else { Err(denied(node, call, WHY)) }
}

fn tokens(state: &State, node: &str, call: &Call<'_>) -> Result<(), Failure> {
    let target = call.target;
    if call.verb == Verb::Get && target.sub().is_empty() {
        return resources(state, node, call);
    }
    if call.verb != Verb::Create || target.sub() != "token" {
        return Err(denied(node, call, ""));
    }
    let bound = &call.body["spec"]["boundObjectRef"];
    if text(bound, "/kind") != "Pod" || text(bound, "/name").is_empty() {
        return Err(Failure::forbidden(target, "node requested token not bound to a pod"));
    }
    if text(bound, "/uid").is_empty() {
        return Err(Failure::forbidden(target, "node requested token with a pod binding without a uid"));
    }
    let pods = Kind::named("pods");
    let name = text(bound, "/name");
    let Some(pod) = state.store.get(&Key::new(pods, target.namespace(), name)) else {
        // Here the admission plugin's own cache answers, which has another word for the resource.
        let mut failure = Failure::new(404, "NotFound", format!("pod {name:?} not found"));
        failure.details = json!({ "name": name, "kind": "pod" });
        return Err(failure);
    };
    if text(pod, "/spec/nodeName") != node {
        return Err(Failure::forbidden(
            target,
            "node requested token bound to a pod scheduled on a different node",
        ));
    }
    audience(state, node, call, pod)
}

/// A node gets tokens for the audiences that the pod's volumes ask for, and for those that a role lets it have.
fn audience(state: &State, node: &str, call: &Call<'_>, pod: &Value) -> Result<(), Failure> {
    let asked = call.body["spec"]["audiences"].as_array().into_iter().flatten();
    let asked: Vec<&str> = asked.filter_map(Value::as_str).collect();
    if asked.len() > 1 {
        return Err(Failure::forbidden(call.target, "node may only request 0 or 1 audiences"));
    }
    let asked = asked.first().copied().unwrap_or_default();
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let sources = volumes.flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
    let mut tokens = sources.filter_map(|source| source.get("serviceAccountToken"));
    if tokens.any(|token| text(token, "/audience") == asked) || state.audiences.contains(asked) {
        return Ok(());
    }
    let text = format!(
        "audience {asked:?} not found in pod spec volume, system:node:{node} is not authorized to request tokens for \
         this audience"
    );
    Err(Failure::forbidden(call.target, &text))
}
