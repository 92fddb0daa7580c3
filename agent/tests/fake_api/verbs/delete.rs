//! DELETE: graceful for pods, held by finalizers, bound by preconditions.
//!
//! The order of things is that of k8s.io/apiserver `registry/rest/delete.go` (`BeforeDelete`) and
//! `registry/generic/registry/store.go` (`Delete`).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::kinds::Target;
use super::super::reading::{finalizers, is_set, metadata, number, text};
use super::super::state::State;
use super::super::status::Failure;
use super::super::store::{Key, Object};
use super::super::wall::later;
use super::{Call, Reply, held};

/// What a deletion leaves.
enum Outcome {
    /// The object stays for now, as given.
    Stays(Object),
    Gone(Object),
}

pub fn delete(state: &mut State, call: &Call<'_>) -> Result<Reply, Failure> {
    let target = call.target;
    let old = held(state, target)?;
    check_preconditions(target, &old, &call.body)?;
    let asked = number(&call.body, "/gracePeriodSeconds")
        .or(call.asked.grace)
        .map(|grace| if grace < 0 { 1 } else { grace });
    let outcome = if target.kind.kind == "Pod" {
        graceful(state, target, &old, asked)
    } else {
        at_once(state, target, &old)
    };
    Reply::ok(match outcome {
        Outcome::Stays(object) => object,
        Outcome::Gone(object) if shows_deleted(target) => object,
        Outcome::Gone(object) => Arc::new(success(target, &object)),
    })
}

/// Deletes everything that matches, one by one.
pub fn delete_all(state: &mut State, call: &Call<'_>) -> Result<Reply, Failure> {
    let objects = state.store.all(call.target.kind, call.target.namespace.as_deref());
    let wanted: Vec<_> =
        objects.into_iter().filter(|(_, object)| call.asked.selector.matches(object)).collect();
    for (key, old) in wanted {
        let mut target = call.target.clone();
        target.namespace = Some(key.namespace).filter(|namespace| !namespace.is_empty());
        target.name = Some(key.name);
        let asked = number(&call.body, "/gracePeriodSeconds").or(call.asked.grace);
        if target.kind.kind == "Pod" {
            graceful(state, &target, &old, asked);
        } else {
            at_once(state, &target, &old);
        }
    }
    Reply::ok(Arc::new(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" })))
}

fn check_preconditions(target: &Target, old: &Value, body: &Value) -> Result<(), Failure> {
    let checks =
        [("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified")];
    for (field, word, meaning) in checks {
        let given = text(body, &format!("/preconditions/{field}"));
        let held = text(old, &format!("/metadata/{field}"));
        if !given.is_empty() && given != held {
            let cause = format!(
                "the {word} in the precondition ({given}) does not match the {word} in record ({held}). The object might have been {meaning}"
            );
            return Err(Failure::delete_conflict(target.kind, target.name(), &cause));
        }
    }
    Ok(())
}

/// A pod: marked first, gone when its node says so.
fn graceful(state: &mut State, target: &Target, old: &Object, asked: Option<i64>) -> Outcome {
    let marked = match number(old, "/metadata/deletionGracePeriodSeconds") {
        _ if !is_set(old, "/metadata/deletionTimestamp") => first_mark(state, old, asked),
        None | Some(0) => return at_once(state, target, old),
        Some(held) => match asked {
            Some(asked) if asked < held => shorter(state, old, held, asked),
            _ => return Outcome::Stays(Arc::clone(old)),
        },
    };
    let grace = number(&marked, "/metadata/deletionGracePeriodSeconds").unwrap_or_default();
    let key = Key::of(target);
    let stored = state.put(key.clone(), marked);
    if grace > 0 || !finalizers(&stored).is_empty() {
        return Outcome::Stays(stored);
    }
    state.remove(&key).map_or(Outcome::Stays(stored), Outcome::Gone)
}

fn first_mark(state: &State, old: &Value, asked: Option<i64>) -> Value {
    let own = number(old, "/spec/terminationGracePeriodSeconds").unwrap_or_default();
    let ended = matches!(text(old, "/status/phase"), "Failed" | "Succeeded");
    let unscheduled = text(old, "/spec/nodeName").is_empty();
    let grace = if ended || unscheduled { 0 } else { asked.unwrap_or(own) };
    let grace = if grace < 0 { 1 } else { grace };
    let mut marked = mark(old, later(state.wall.now(), seconds(grace)), grace);
    let generation = number(old, "/metadata/generation").unwrap_or_default();
    if generation > 0 {
        metadata(&mut marked).insert("generation".to_owned(), json!(generation + 1));
    }
    marked
}

/// A shorter grace moves the deletion time back, but not into the past; once that has come, what was graceful
/// stays graceful with 1 s.
fn shorter(state: &State, old: &Value, held: i64, asked: i64) -> Value {
    let now = state.wall.now();
    let due = text(old, "/metadata/deletionTimestamp").parse::<Timestamp>().unwrap_or(now);
    let due = due - seconds(held) + seconds(asked);
    if due >= now {
        return mark(old, later(due, Duration::ZERO), asked);
    }
    mark(old, later(now, Duration::ZERO), if asked == 0 { 0 } else { 1 })
}

fn mark(old: &Value, at: String, grace: i64) -> Value {
    let mut marked = old.clone();
    let meta = metadata(&mut marked);
    meta.insert("deletionTimestamp".to_owned(), json!(at));
    meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    marked
}

/// Gone now, unless a finalizer holds it.
fn at_once(state: &mut State, target: &Target, old: &Object) -> Outcome {
    let key = Key::of(target);
    if finalizers(old).is_empty() {
        return state.remove(&key).map_or(Outcome::Stays(Arc::clone(old)), Outcome::Gone);
    }
    let at = match text(old, "/metadata/deletionTimestamp") {
        "" => state.now(),
        held => held.to_owned(),
    };
    let marked = mark(old, at, 0);
    Outcome::Stays(state.put(key, marked))
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or_default())
}

/// Kinds whose deletion answers with the object.
fn shows_deleted(target: &Target) -> bool {
    matches!(target.kind.kind, "Pod" | "ServiceAccount" | "PersistentVolume" | "PersistentVolumeClaim")
}

fn success(target: &Target, object: &Value) -> Value {
    let mut details =
        json!({ "name": target.name(), "kind": target.kind.plural, "uid": text(object, "/metadata/uid") });
    if !target.kind.group.is_empty() {
        details["group"] = json!(target.kind.group);
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}
