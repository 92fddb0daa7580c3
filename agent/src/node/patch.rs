//! Decides what to write: the difference between the object as the API has it and as it should be, as a strategic
//! merge patch that names nothing that is not ours (B27). Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerImage, Node, NodeCondition, NodeRuntimeHandler, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::amount;
use super::conditions::{differ, find};
use super::object::{ATTACH_ANNOTATION, PROVIDED_IP_ANNOTATION};

/// Labels that an existing node gets at a start (`updateDefaultLabels` in `pkg/kubelet/kubelet_node_status.go`).
const DEFAULT_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Labels that are put right at any time.
const KEPT_LABELS: [&str; 2] = ["kubernetes.io/os", "kubernetes.io/arch"];

type Amounts = BTreeMap<String, Text>;

/// What a node that exists already must be told at a start: labels, annotations, and, if the root directory is new,
/// that extended resources of the time before are gone. None if there is nothing to tell.
#[must_use]
pub fn at_start(existing: &Node, initial: &Node, is_new_root: bool) -> Option<Value> {
    let mut patch = Map::new();
    put(&mut patch, "metadata", metadata(existing, initial, &DEFAULT_LABELS, &[ATTACH_ANNOTATION]));
    if is_new_root {
        let capacity = existing.status.as_ref().and_then(|status| status.capacity.as_ref());
        let names = capacity.into_iter().flatten().filter(|(name, had)| is_extended(name) && had.0 != "0");
        let zeros: Map<String, Value> = names.map(|(name, _)| (name.clone(), json!("0"))).collect();
        let status = json!({ "capacity": zeros.clone(), "allocatable": zeros.clone() });
        put(&mut patch, "status", (!zeros.is_empty()).then_some(status));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// What differs between the object and `wanted`, whose metadata and status hold only what is ours. None if nothing
/// does but the time of the heartbeat. A patch carries all our conditions, so that their heartbeats stay together.
#[must_use]
pub fn changes(existing: &Node, wanted: &Node, addresses_are_ours: bool) -> Option<Value> {
    let before = existing.status.clone().unwrap_or_default();
    let after = wanted.status.clone().unwrap_or_default();
    let mut status = Map::new();
    amounts(&mut status, &before, &after);
    addresses(&mut status, &before, &after, addresses_are_ours);
    lists(&mut status, &before, &after);
    if after.daemon_endpoints != before.daemon_endpoints {
        put(&mut status, "daemonEndpoints", value(&after.daemon_endpoints));
    }
    if after.features.is_some() && after.features != before.features {
        put(&mut status, "features", value(&after.features));
    }
    put(&mut status, "nodeInfo", info(before.node_info.as_ref(), after.node_info.as_ref()));
    let metadata = metadata(existing, wanted, &KEPT_LABELS, &[PROVIDED_IP_ANNOTATION]);
    if status.is_empty() && metadata.is_none() && !conditions_differ(existing, wanted) {
        return None;
    }
    put(&mut status, "conditions", value(&after.conditions.unwrap_or_default()));
    let mut patch = Map::new();
    put(&mut patch, "metadata", metadata);
    patch.insert("status".to_owned(), Value::Object(status));
    Some(Value::Object(patch))
}

/// Whether one of our conditions differs in more than the time of its heartbeat.
#[must_use]
pub fn conditions_differ(existing: &Node, wanted: &Node) -> bool {
    let conditions =
        |node: &Node| node.status.clone().and_then(|status| status.conditions).unwrap_or_default();
    let had = conditions(existing);
    conditions(wanted).iter().any(|condition| differ(find(&had, &condition.type_), condition))
}

/// A patch without its conditions, which carry the time.
#[must_use]
pub fn without_conditions(patch: &Value) -> Value {
    let mut patch = patch.clone();
    if let Some(status) = patch.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("conditions");
    }
    patch
}

/// Whether a patch names anything.
#[must_use]
pub fn says_something(patch: &Value) -> bool {
    match patch {
        Value::Object(fields) => fields.values().any(says_something),
        _ => true,
    }
}

/// A patch that says no more than that the node is alive.
#[must_use]
pub fn heartbeat(conditions: &[NodeCondition]) -> Value {
    json!({ "status": { "conditions": conditions } })
}

fn put(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value);
    }
}

/// None if it cannot be written as JSON, which no type here does.
fn value(of: &impl Serialize) -> Option<Value> {
    serde_json::to_value(of).ok()
}

fn metadata(existing: &Node, wanted: &Node, labels: &[&str], annotations: &[&str]) -> Option<Value> {
    let mut metadata = Map::new();
    let (had, has) = (existing.metadata.labels.as_ref(), wanted.metadata.labels.as_ref());
    let changed = labels.iter().filter_map(|key| {
        let value = has?.get(*key)?;
        (had.and_then(|had| had.get(*key)) != Some(value)).then(|| ((*key).to_owned(), json!(value)))
    });
    let changed: Map<String, Value> = changed.collect();
    put(&mut metadata, "labels", (!changed.is_empty()).then_some(Value::Object(changed)));
    let (had, has) = (existing.metadata.annotations.as_ref(), wanted.metadata.annotations.as_ref());
    let changed = annotations.iter().filter_map(|key| {
        let (had, has) = (had.and_then(|had| had.get(*key)), has.and_then(|has| has.get(*key)));
        // A null takes the annotation away.
        (had != has).then(|| ((*key).to_owned(), json!(has)))
    });
    let changed: Map<String, Value> = changed.collect();
    put(&mut metadata, "annotations", (!changed.is_empty()).then_some(Value::Object(changed)));
    (!metadata.is_empty()).then_some(Value::Object(metadata))
}

/// Extended resources, such as `example.com/gpu` (`IsExtendedResourceName` in `pkg/apis/core/v1/helper`).
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// Capacity that others advertise stays and is allocatable as it is; huge pages that are gone are taken away.
fn amounts(status: &mut Map<String, Value>, before: &NodeStatus, after: &NodeStatus) {
    let none = Amounts::new();
    let (had, has) = (before.capacity.as_ref().unwrap_or(&none), after.capacity.as_ref().unwrap_or(&none));
    let is_gone = |name: &str| name.starts_with("hugepages-") && !has.contains_key(name);
    put(status, "capacity", amounts_patch(had, has, is_gone));

    let of_others = had.iter().filter(|(name, _)| !has.contains_key(*name) && !is_gone(name));
    let mut allocatable: Amounts = of_others.map(|(name, amount)| (name.clone(), amount.clone())).collect();
    allocatable.extend(after.allocatable.clone().unwrap_or_default());
    let had_allocatable = before.allocatable.as_ref().unwrap_or(&none);
    let is_gone = |name: &str| is_gone(name) || (is_extended(name) && !allocatable.contains_key(name));
    put(status, "allocatable", amounts_patch(had_allocatable, &allocatable, is_gone));
}

fn amounts_patch(had: &Amounts, has: &Amounts, is_gone: impl Fn(&str) -> bool) -> Option<Value> {
    let changed = has
        .iter()
        .filter(|(name, amount)| !had.get(*name).is_some_and(|had| amount::same(had, amount)))
        .map(|(name, amount)| (name.clone(), json!(amount.0)));
    let gone = had.keys().filter(|name| is_gone(name)).map(|name| (name.clone(), Value::Null));
    let patch: Map<String, Value> = changed.chain(gone).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The merge key of addresses, their type, does not tell two of them apart: the list is replaced as a whole.
/// Where a cloud controller sets them, ours only bridge the time until it does.
fn addresses(status: &mut Map<String, Value>, before: &NodeStatus, after: &NodeStatus, ours: bool) {
    let had = before.addresses.as_deref().unwrap_or_default();
    let Some(has) = after.addresses.as_deref() else { return };
    if had == has || (!ours && !had.is_empty()) {
        return;
    }
    let mut list: Vec<Value> = has.iter().filter_map(value).collect();
    list.push(json!({ "$patch": "replace" }));
    status.insert("addresses".to_owned(), Value::Array(list));
}

fn lists(status: &mut Map<String, Value>, before: &NodeStatus, after: &NodeStatus) {
    let images = |status: &NodeStatus| {
        let images = status.images.clone().unwrap_or_default();
        images
            .into_iter()
            .map(|image| ContainerImage { names: image.names.filter(|names| !names.is_empty()), ..image })
            .collect::<Vec<_>>()
    };
    if after.images.is_some() && images(before) != images(after) {
        put(status, "images", value(&images(after)));
    }
    // The API leaves the empty name of the default handler out.
    let handlers = |status: &NodeStatus| {
        let handlers = status.runtime_handlers.clone().unwrap_or_default();
        handlers
            .into_iter()
            .map(|handler| NodeRuntimeHandler {
                name: handler.name.or_else(|| Some(String::new())),
                ..handler
            })
            .collect::<Vec<_>>()
    };
    if after.runtime_handlers.is_some() && handlers(before) != handlers(after) {
        put(status, "runtimeHandlers", value(&handlers(after)));
    }
    // A kubelet may have declared features that this agent does not have.
    if before.declared_features.as_ref().is_some_and(|declared| !declared.is_empty()) {
        status.insert("declaredFeatures".to_owned(), Value::Null);
    }
}

/// The fields that differ. A runtime that has not told its version yet leaves the one that is there.
fn info(had: Option<&NodeSystemInfo>, has: Option<&NodeSystemInfo>) -> Option<Value> {
    let fields = |info: Option<&NodeSystemInfo>| match info.and_then(value) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (had, has) = (fields(had), fields(has));
    let keys = had.keys().chain(has.keys().filter(|key| !had.contains_key(*key)));
    let differs = |key: &&String| {
        let (had, has) = (had.get(*key), has.get(*key));
        let unknown = *key == "containerRuntimeVersion" && has == Some(&json!(""));
        had != has && !unknown
    };
    let changed = keys.filter(differs).map(|key| (key.clone(), has.get(key).cloned().unwrap_or(Value::Null)));
    let changed: Map<String, Value> = changed.collect();
    (!changed.is_empty()).then_some(Value::Object(changed))
}
