//! POST: a new object with what the server fills in.

use serde_json::{Value, json};

use super::super::kinds::{Kind, Target};
use super::super::pod_rules;
use super::super::reading::{is_set, metadata, text};
use super::super::state::State;
use super::super::status::Failure;
use super::super::store::{Key, Object};
use super::super::tidy;
use super::Reply;

pub fn create(state: &mut State, target: &Target, body: Value) -> Result<Reply, Failure> {
    if !target.sub().is_empty() {
        return Err(Failure::no_such_resource());
    }
    Ok(Reply::Object(201, insert(state, target, body)?))
}

/// Creates the object that `body` describes.
pub fn insert(state: &mut State, target: &Target, mut body: Value) -> Result<Object, Failure> {
    let kind = target.kind;
    check_place(state, target, &mut body)?;
    let name = name(state, &mut body)?;
    if is_set(&body, "/metadata/resourceVersion") && !text(&body, "/metadata/resourceVersion").is_empty() {
        return Err(Failure::internal("resourceVersion should not be set on objects to be created"));
    }
    let key = Key::new(kind, target.namespace(), &name);
    if state.store.get(&key).is_some() {
        return Err(Failure::already_exists(kind, &name));
    }
    tidy::body(kind, &mut body)?;
    let (uid, now) = (state.next_uid(), state.now());
    let meta = metadata(&mut body);
    for gone in ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"] {
        meta.remove(gone);
    }
    meta.insert("uid".to_owned(), json!(uid));
    meta.insert("creationTimestamp".to_owned(), json!(now));
    if kind.generation {
        meta.insert("generation".to_owned(), json!(1));
    }
    prepare(state, kind, &mut body);
    let made = state.put(key, body);
    if kind.kind == "Namespace" {
        state.fill_namespace(&name);
    }
    Ok(made)
}

fn prepare(state: &State, kind: &Kind, body: &mut Value) {
    match kind.kind {
        "Pod" => {
            pod_rules::set_defaults(body);
            if state.token_volumes && !is_set(body, "/metadata/annotations/kubernetes.io~1config.mirror") {
                pod_rules::add_token_volume(body);
            }
            body["status"] = json!({ "phase": "Pending", "qosClass": pod_rules::qos(body) });
        }
        "Namespace" => body["status"] = json!({ "phase": "Active" }),
        _ => {}
    }
}

fn check_place(state: &State, target: &Target, body: &mut Value) -> Result<(), Failure> {
    let said = text(body, "/metadata/namespace").to_owned();
    if !target.kind.namespaced {
        metadata(body).remove("namespace");
        return Ok(());
    }
    if !said.is_empty() && said != target.namespace() {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad_request(text));
    }
    metadata(body).insert("namespace".to_owned(), json!(target.namespace()));
    let namespaces = Kind::named("namespaces");
    if state.store.get(&Key::new(namespaces, "", target.namespace())).is_none() {
        return Err(Failure::not_found(namespaces, target.namespace()));
    }
    Ok(())
}

fn name(state: &mut State, body: &mut Value) -> Result<String, Failure> {
    let name = text(body, "/metadata/name").to_owned();
    if !name.is_empty() {
        return Ok(name);
    }
    let prefix = text(body, "/metadata/generateName").to_owned();
    if prefix.is_empty() {
        return Err(Failure::new(422, "Invalid", "name or generateName is required"));
    }
    let uid = state.next_uid();
    let made = format!("{prefix}{}", uid.get(uid.len().saturating_sub(5)..).unwrap_or_default());
    metadata(body).insert("name".to_owned(), json!(made));
    Ok(made)
}
