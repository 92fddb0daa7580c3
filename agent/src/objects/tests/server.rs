//! A server of ConfigMaps that answers as it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{Request, Response, StatusCode};
use http_body_util::StreamBody;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

type Stream =
    std::pin::Pin<Box<dyn futures::Stream<Item = Result<hyper::body::Frame<Bytes>, Infallible>> + Send>>;

/// One collection of ConfigMaps in namespace `ns`, and how the server behaves.
#[derive(Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) version: u64,
    pub(super) lists: Vec<String>,
    pub(super) watches: BTreeMap<u64, (String, mpsc::Sender<Bytes>)>,
    pub(super) opened: u64,
    pub(super) gets: usize,
    /// The one path that is there of those that are not of the core group.
    pub(super) serves: &'static str,
    /// Calls get this status.
    pub(super) refuses: Option<u16>,
    /// How many did.
    pub(super) refused: usize,
    /// Watches from before this version are too old.
    pub(super) oldest: u64,
}

#[derive(Clone, Default)]
pub(super) struct Server(pub(super) Arc<Mutex<State>>);

impl Server {
    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(&request)) }
        });
        Client::new(service, "default")
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn answer(&self, request: &Request<Body>) -> Response<StreamBody<Stream>> {
        let query = request.uri().query().unwrap_or_default();
        let name = query.split("metadata.name%3D").nth(1).and_then(|rest| rest.split('&').next());
        let name = name.unwrap_or_default().to_owned();
        // The one object of another group.
        let is_other = request.uri().path().starts_with("/apis/");
        let name = if is_other { "other".to_owned() } else { name };
        let asked = request.uri().path().split_once("/configmaps/").map(|(_, name)| name);
        self.with(|state| match state.refuses {
            Some(code) => {
                state.refused += 1;
                refused(code)
            }
            None if is_other && request.uri().path() != state.serves => refused(404),
            None if asked.is_some() => {
                state.gets += 1;
                state.objects.get(asked.unwrap()).map_or_else(|| refused(404), |object| reply(200, object))
            }
            None if query.contains("watch=true") => {
                let from = query.split("resourceVersion=").nth(1).and_then(|rest| rest.split('&').next());
                state.watch(name, from.unwrap().parse().unwrap())
            }
            None => {
                state.lists.push(name.clone());
                let items: Vec<_> = state.objects.get(&name).into_iter().collect();
                let version = state.version.to_string();
                reply(200, &json!({ "kind": "ConfigMapList", "metadata": { "resourceVersion": version }, "items": items }))
            }
        })
    }

    /// Writes an object of one value.
    pub(super) fn put(&self, name: &str, value: &str) {
        self.put_more(name, json!({ "data": { "k": value } }));
    }

    pub(super) fn put_more(&self, name: &str, mut object: Value) {
        self.with(|state| {
            state.version += 1;
            object["metadata"] =
                json!({ "name": name, "uid": "u", "resourceVersion": state.version.to_string() });
            let kind = if state.objects.insert(name.to_owned(), object.clone()).is_some() {
                "MODIFIED"
            } else {
                "ADDED"
            };
            state.tell(name, &json!({ "type": kind, "object": object }));
        });
    }

    pub(super) fn remove(&self, name: &str) {
        self.with(|state| {
            state.version += 1;
            let mut object = state.objects.remove(name).unwrap();
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.tell(name, &json!({ "type": "DELETED", "object": object }));
        });
    }

    pub(super) fn lists(&self, name: &str) -> usize {
        self.with(|state| state.lists.iter().filter(|listed| *listed == name).count())
    }

    pub(super) fn watches(&self) -> usize {
        self.with(|state| state.watches.values().filter(|(_, sender)| !sender.is_closed()).count())
    }

    /// Ends all watches, in order.
    pub(super) fn end_watches(&self) {
        self.with(|state| state.watches.clear());
    }
}

impl State {
    pub(super) fn watch(&mut self, name: String, from: u64) -> Response<StreamBody<Stream>> {
        self.opened += 1;
        let (mut sender, receiver) = mpsc::channel(64);
        if from < self.oldest {
            let gone =
                json!({ "type": "ERROR", "object": { "kind": "Status", "metadata": {}, "code": 410 } });
            sender.try_send(line(&gone)).unwrap();
        } else {
            self.watches.insert(self.opened, (name, sender));
        }
        let frames = receiver.map(|bytes| Ok(hyper::body::Frame::data(bytes)));
        Response::new(StreamBody::new(frames.boxed()))
    }

    pub(super) fn tell(&mut self, name: &str, event: &Value) {
        for (watched, sender) in self.watches.values_mut().filter(|(watched, _)| watched == name) {
            let _gone = sender.try_send(line(event)).map_err(|_| watched);
        }
    }
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

fn refused(code: u16) -> Response<StreamBody<Stream>> {
    let reason = if code == 404 { "NotFound" } else { "By order" };
    reply(
        code,
        &json!({ "kind": "Status", "metadata": {}, "status": "Failure", "reason": reason,
        "message": format!("code {code}"), "code": code }),
    )
}

fn reply(code: u16, value: &Value) -> Response<StreamBody<Stream>> {
    let frame = Ok(hyper::body::Frame::data(value.to_string().into()));
    let mut response = Response::new(StreamBody::new(futures::stream::iter([frame]).boxed()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
