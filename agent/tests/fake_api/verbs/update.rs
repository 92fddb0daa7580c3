//! PUT, and the way that every change of an existing object takes.

use serde_json::{Value, json};

use super::super::kinds::Target;
use super::super::pod_rules;
use super::super::reading::{finalizers, is_set, keep, metadata, number, text};
use super::super::state::State;
use super::super::status::Failure;
use super::super::store::{Key, Object};
use super::super::tidy;
use super::{Reply, create, held};

pub fn put(state: &mut State, target: &Target, body: Value) -> Result<Reply, Failure> {
    let uid = text(&body, "/metadata/uid").to_owned();
    let Ok(old) = held(state, target) else {
        if target.kind.create_on_update && target.sub().is_empty() {
            return Ok(Reply::Object(201, create::insert(state, target, body)?));
        }
        return Err(Failure::not_found(target.kind, target.name()));
    };
    if !uid.is_empty() && uid != text(&old, "/metadata/uid") {
        return Err(Failure::storage_uid(target, &uid, text(&old, "/metadata/uid")));
    }
    Reply::ok(commit(state, target, &old, body)?)
}

/// Makes `old` into `new`, or into as much of it as this request may change.
pub fn commit(state: &mut State, target: &Target, old: &Object, mut new: Value) -> Result<Object, Failure> {
    check_identity(target, &new)?;
    check_version(target, old, &new)?;
    prepare(target, old, &mut new);
    tidy::body(target.kind, &mut new)?;
    let faults = faults(target, old, &new);
    if !faults.is_empty() {
        return Err(Failure::invalid(target.kind, target.name(), &faults));
    }
    if target.kind.generation && new["spec"] != old["spec"] {
        let generation = number(old, "/metadata/generation").unwrap_or_default() + 1;
        metadata(&mut new).insert("generation".to_owned(), json!(generation));
    }
    let key = Key::of(target);
    let released = finalizers(&new).is_empty() && !finalizers(old).is_empty();
    if released && number(old, "/metadata/deletionGracePeriodSeconds") == Some(0) {
        // The last finalizer is gone from an object that waits for nothing else.
        let gone = state.remove(&key).ok_or_else(|| Failure::not_found(target.kind, target.name()))?;
        return Ok(gone);
    }
    Ok(state.put(key, new))
}

fn check_identity(target: &Target, new: &Value) -> Result<(), Failure> {
    let (name, namespace) = (text(new, "/metadata/name"), text(new, "/metadata/namespace"));
    if name != target.name() {
        let text =
            format!("the name of the object ({name}) does not match the name on the URL ({})", target.name());
        return Err(Failure::bad_request(text));
    }
    if target.kind.namespaced && !namespace.is_empty() && namespace != target.namespace() {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad_request(text));
    }
    Ok(())
}

fn check_version(target: &Target, old: &Value, new: &Value) -> Result<(), Failure> {
    let given = text(new, "/metadata/resourceVersion");
    if given.is_empty() && target.kind.unconditional {
        return Ok(());
    }
    if given.is_empty() {
        let text = "Invalid value: 0: must be specified for an update".to_owned();
        let mut failure = Failure::invalid(
            target.kind,
            target.name(),
            &[("metadata.resourceVersion".to_owned(), "FieldValueInvalid", text)],
        );
        // The storage layer names the resource where others name the kind.
        failure.message =
            failure.message.replacen(&target.kind.qualified_kind(), &target.kind.qualified(), 1);
        failure.details["kind"] = json!(target.kind.plural);
        return Err(failure);
    }
    if given != text(old, "/metadata/resourceVersion") {
        return Err(Failure::stale_write(target.kind, target.name()));
    }
    Ok(())
}

/// Puts back what this request cannot change.
fn prepare(target: &Target, old: &Value, new: &mut Value) {
    let held = &old["metadata"];
    let meta = metadata(new);
    if target.kind.namespaced {
        meta.insert("namespace".to_owned(), json!(target.namespace()));
    }
    for key in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        keep(meta, held, key);
    }
    meta.remove("managedFields");
    if meta.get("uid").and_then(Value::as_str).is_none_or(str::is_empty) {
        keep(meta, held, "uid");
    }
    let is_status = target.sub() == "status";
    if is_status && target.kind.kind == "Pod" {
        keep(meta, held, "ownerReferences");
    }
    if !target.kind.status {
        return;
    }
    let Some(object) = new.as_object_mut() else { return };
    keep(object, old, if is_status { "spec" } else { "status" });
    if is_status && target.kind.kind == "Pod" {
        if !is_set(new, "/status/qosClass") && is_set(old, "/status/qosClass") {
            new["status"]["qosClass"] = old["status"]["qosClass"].clone();
        }
        pod_rules::keep_observed_generation(old, new);
    }
}

fn faults(target: &Target, old: &Value, new: &Value) -> Vec<(String, &'static str, String)> {
    let mut faults = Vec::new();
    let uid = text(new, "/metadata/uid");
    if uid != text(old, "/metadata/uid") {
        faults.push(Failure::immutable("metadata.uid", uid));
    }
    if is_set(old, "/metadata/deletionTimestamp") {
        let held = finalizers(old);
        let added: Vec<&str> =
            finalizers(new).into_iter().filter(|finalizer| !held.contains(finalizer)).collect();
        if !added.is_empty() {
            let quoted: Vec<String> = added.iter().map(|name| format!("{name:?}")).collect();
            let text = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                quoted.join(", ")
            );
            faults.push(("metadata.finalizers".to_owned(), "FieldValueForbidden", text));
        }
    }
    if target.kind.kind == "Pod" && target.sub() == "status" {
        let class = text(new, "/status/qosClass");
        if class != text(old, "/status/qosClass") {
            faults.push(Failure::immutable("status.qosClass", class));
        }
        faults.extend(pod_rules::impossible_transitions(old, new));
    }
    faults
}
