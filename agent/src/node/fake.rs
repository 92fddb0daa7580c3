//! An API server in memory that knows nodes and leases, enough to test the loops of this directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A request that was answered.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub body: Value,
    pub code: u16,
}

/// What happens to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Every request is answered with this code.
    Code(u16),
    /// No request is answered.
    BlackHole,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    seen: Vec<Seen>,
    watchers: Vec<mpsc::Sender<Value>>,
    fault: Option<Fault>,
}

/// The server. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct FakeApi {
    state: Arc<Mutex<State>>,
}

const NODES: &str = "/api/v1/nodes";
pub(super) const NODE: &str = "/api/v1/nodes/node1";
pub(super) const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node1";

type Answer = Response<UnsyncBoxBody<Bytes, std::convert::Infallible>>;

impl FakeApi {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    pub(super) fn object(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    pub(super) fn node(&self) -> Value {
        self.object(NODE).unwrap()
    }

    /// Writes of a kind that succeeded.
    pub(super) fn writes(&self, method: &Method, path: &str) -> Vec<Seen> {
        let seen = self.lock().seen.clone();
        seen.into_iter()
            .filter(|seen| seen.method == *method && seen.path == path && seen.code < 300)
            .collect()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// Changes an object as somebody else would.
    pub(super) fn patch(&self, path: &str, patch: &Value) {
        let mut state = self.lock();
        let mut object = state.objects.get(path).cloned().unwrap();
        merge(&mut object, patch, "");
        state.put(path, object, "MODIFIED");
    }

    pub(super) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.lock();
        let version = state.version;
        object["metadata"]["uid"] = json!(format!("uid-{version}"));
        state.put(path, object, "ADDED");
    }

    pub(super) fn delete(&self, path: &str) {
        let mut state = self.lock();
        let object = state.objects.remove(path).unwrap();
        state.version += 1;
        state.tell(path, "DELETED", object);
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let fault = self.lock().fault;
        if fault == Some(Fault::BlackHole) {
            std::future::pending::<()>().await;
        }
        let (head, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        if query.contains("watch=true") && fault.is_none_or(|fault| fault == Fault::None) {
            return self.watch();
        }
        let (code, answer) = match fault {
            Some(Fault::Code(code)) => (code, status(code, "Injected")),
            _ => self.lock().handle(&head.method, &path, &body),
        };
        self.lock().seen.push(Seen { at: Instant::now(), method: head.method, path, body, code });
        let full = Full::new(Bytes::from(answer.to_string())).boxed_unsync();
        Response::builder().status(code).body(full).unwrap()
    }

    fn watch(&self) -> Answer {
        let (sender, events) = mpsc::channel(1_000);
        self.lock().watchers.push(sender);
        let lines = futures::stream::unfold(events, |mut events| async move {
            let event: Value = events.recv().await?;
            Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), events))
        });
        Response::new(BodyExt::boxed_unsync(StreamBody::new(lines)))
    }
}

impl State {
    fn put(&mut self, path: &str, mut object: Value, kind: &str) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        self.tell(path, kind, object);
    }

    fn tell(&mut self, path: &str, kind: &str, mut object: Value) {
        if path == NODE {
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            let event = json!({ "type": kind, "object": object });
            self.watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
        }
    }

    fn handle(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let (target, is_status) = match path.strip_suffix("/status") {
            Some(target) => (target.to_owned(), true),
            None => (path.to_owned(), false),
        };
        match (method.as_str(), self.objects.get(&target).cloned()) {
            ("GET", _) if path == NODES => {
                let items: Vec<_> = self.objects.get(NODE).into_iter().collect();
                let metadata = json!({ "resourceVersion": self.version.to_string() });
                (200, json!({"kind": "NodeList", "apiVersion": "v1", "metadata": metadata, "items": items}))
            }
            ("GET", Some(object)) => (200, object),
            ("POST", _) => self.create(path, body),
            ("PATCH", Some(mut object)) => {
                let spec = object.get("spec").cloned();
                merge(&mut object, body, "");
                if let (true, Some(spec)) = (is_status, spec) {
                    object["spec"] = spec;
                }
                self.put(&target, object.clone(), "MODIFIED");
                (200, self.objects[&target].clone())
            }
            ("PUT", Some(object)) => {
                let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                if version(&object) != version(body) {
                    return (409, status(409, "Conflict"));
                }
                self.put(&target, body.clone(), "MODIFIED");
                (200, self.objects[&target].clone())
            }
            _ => (404, status(404, "NotFound")),
        }
    }

    fn create(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let target = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&target) {
            return (409, status(409, "AlreadyExists"));
        }
        let mut object = body.clone();
        object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        self.put(&target, object, "ADDED");
        (201, self.objects[&target].clone())
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("{reason} by the fake") })
}

/// Strategic merge as far as nodes need it: conditions and addresses by type, other lists as a whole.
pub(super) fn merge(base: &mut Value, patch: &Value, key: &str) {
    match patch {
        Value::Object(fields) => {
            if !base.is_object() {
                *base = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    base.as_object_mut().unwrap().remove(key);
                } else {
                    merge(&mut base[key.as_str()], value, key);
                }
            }
        }
        Value::Array(items) if key == "conditions" || key == "addresses" => {
            let replace = json!({ "$patch": "replace" });
            let mut list = match base {
                Value::Array(list) if !items.contains(&replace) => list.clone(),
                _ => Vec::new(),
            };
            for item in items.iter().filter(|item| **item != replace) {
                match list.iter_mut().find(|old| key == "conditions" && old["type"] == item["type"]) {
                    Some(old) => merge(old, item, ""),
                    None => list.push(item.clone()),
                }
            }
            *base = Value::Array(list);
        }
        other => *base = other.clone(),
    }
}
