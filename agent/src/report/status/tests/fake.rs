//! An API server of one resource: pods, their status and their deletion, with faults and a watch that lags.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use pinnace_cri::id::PodUid;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::pod::changed::Changed;
use crate::report::Reported;

/// From a request to its answer.
pub(super) const LATENCY: Duration = Duration::from_millis(20);
/// From a change to its event.
const LAG: Duration = Duration::from_millis(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Answers with this code, and with a `Retry-After` of so many seconds.
    Refuse(u16, Option<u64>),
    /// Does not answer.
    BlackHole,
    /// Ends the connection before anything is done.
    Unreachable,
    /// Does it, and answers 500.
    LostReply,
}

pub(super) const REFUSALS: [Fault; 5] = [
    Fault::Refuse(409, None),
    Fault::Refuse(404, None),
    Fault::Refuse(422, None),
    Fault::Refuse(429, Some(2)),
    Fault::Refuse(500, None),
];
pub(super) const ALL: [Fault; 8] = [
    REFUSALS[0],
    REFUSALS[1],
    REFUSALS[2],
    REFUSALS[3],
    REFUSALS[4],
    Fault::BlackHole,
    Fault::Unreachable,
    Fault::LostReply,
];

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) at: Instant,
    pub(super) method: String,
    /// UID of the pod that had the name.
    pub(super) of: String,
    /// UID that the body names.
    pub(super) uid: Option<String>,
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
}

type Breaks = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    watched: BTreeMap<PodUid, Arc<Pod>>,
    version: u64,
    calls: Vec<Call>,
    flying: BTreeMap<String, usize>,
    most: usize,
    breaks: Option<Breaks>,
    events: JoinSet<()>,
}

#[derive(Clone)]
pub(super) struct Api {
    state: Arc<Mutex<State>>,
    changed: Arc<Changed>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Api")
    }
}

impl Reported for Api {
    fn get(&self, uid: &PodUid) -> Option<Arc<Pod>> {
        self.lock().watched.get(uid).cloned()
    }
}

pub(super) fn name(pod: usize) -> String {
    format!("p{pod}")
}

impl Api {
    pub(super) fn new(changed: Arc<Changed>) -> Self {
        Self { state: Arc::default(), changed }
    }

    pub(super) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        Client::new(service, "ns")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn now(&self) -> Instant {
        Instant::now()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    pub(super) fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    pub(super) fn most_at_once_of_a_pod(&self) -> usize {
        self.lock().most
    }

    pub(super) fn break_down(&self, breaks: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        self.lock().breaks = Some(Box::new(breaks));
    }

    pub(super) fn recover(&self) {
        self.lock().breaks = None;
    }

    pub(super) fn object(&self, pod: usize) -> Value {
        self.lock().objects[&name(pod)].clone()
    }

    pub(super) fn create(&self, pod: usize, uid: &str) {
        let object =
            json!({ "metadata": { "namespace": "ns", "name": name(pod), "uid": uid }, "status": {} });
        self.store(&name(pod), object);
        let mut state = self.lock();
        let stored = state.objects[&name(pod)].clone();
        state.watched.insert(PodUid::new(uid).unwrap(), Arc::new(serde_json::from_value(stored).unwrap()));
    }

    /// Somebody else writes.
    pub(super) fn edit(&self, pod: usize, change: impl FnOnce(&mut Value)) {
        let mut object = self.object(pod);
        change(&mut object);
        self.store(&name(pod), object);
    }

    /// Another pod takes the name, and the watch does not tell.
    pub(super) fn replace_unseen(&self, pod: usize, uid: &str) {
        let object =
            json!({ "metadata": { "namespace": "ns", "name": name(pod), "uid": uid }, "status": {} });
        self.lock().objects.insert(name(pod), object);
    }

    fn store(&self, name: &str, mut object: Value) {
        let mut state = self.lock();
        let same = state.objects.get(name) == Some(&object);
        if same {
            return;
        }
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.objects.insert(name.to_owned(), object.clone());
        let (api, pod): (Self, Pod) = (self.clone(), serde_json::from_value(object).unwrap());
        state.events.spawn(async move {
            tokio::time::sleep(LAG).await;
            let uid = PodUid::new(pod.metadata.uid.as_deref().unwrap()).unwrap();
            api.lock().watched.insert(uid.clone(), Arc::new(pod));
            api.changed.mark(&uid);
        });
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        let method = request.method().to_string();
        let path = request.uri().path().to_owned();
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let name = path.split('/').nth(6).unwrap().to_owned();
        let number = self.begin(&method, &name, &body);
        tokio::time::sleep(LATENCY).await;
        let fault = self.lock().breaks.as_mut().and_then(|breaks| breaks(&name));
        if fault == Some(Fault::BlackHole) {
            self.end(&name);
            std::future::pending::<Infallible>().await;
        }
        let (status, answer, retry) = match fault {
            Some(Fault::Unreachable) => {
                self.end(&name);
                return Err(std::io::Error::other("connection refused"));
            }
            Some(Fault::Refuse(status, retry)) => (status, json!({ "message": "injected" }), retry),
            Some(Fault::LostReply) => {
                self.perform(&method, &name, &body);
                (500, json!({ "message": "lost" }), None)
            }
            _ => {
                let (status, answer) = self.perform(&method, &name, &body);
                (status, answer, None)
            }
        };
        self.end(&name);
        self.noted(number, status, retry);
        let response = Response::builder().status(status);
        let response = match retry {
            Some(seconds) => response.header("Retry-After", seconds.to_string()),
            None => response,
        };
        Ok(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
    }

    fn begin(&self, method: &str, name: &str, body: &Value) -> usize {
        let mut state = self.lock();
        let flying = state.flying.entry(name.to_owned()).or_default();
        *flying += 1;
        state.most = state.most.max(*state.flying.get(name).unwrap());
        let uid = body["metadata"]["uid"].as_str().or(body["preconditions"]["uid"].as_str());
        let of = state.objects[name]["metadata"]["uid"].as_str().unwrap().to_owned();
        let call = Call {
            at: Instant::now(),
            method: method.to_owned(),
            of,
            uid: uid.map(ToOwned::to_owned),
            status: 0,
            retry_after: None,
        };
        state.calls.push(call);
        state.calls.len() - 1
    }

    fn end(&self, name: &str) {
        *self.lock().flying.get_mut(name).unwrap() -= 1;
    }

    fn noted(&self, number: usize, status: u16, retry: Option<u64>) {
        // Calls may have been forgotten since.
        if let Some(call) = self.lock().calls.get_mut(number) {
            call.status = status;
            call.retry_after = retry.map(Duration::from_secs);
            call.at = if retry.is_some() { Instant::now() } else { call.at };
        }
    }

    fn perform(&self, method: &str, name: &str, body: &Value) -> (u16, Value) {
        let mut object = self.lock().objects[name].clone();
        let own = object["metadata"]["uid"].clone();
        let told = [&body["metadata"]["uid"], &body["preconditions"]["uid"]];
        if told.iter().any(|told| !told.is_null() && **told != own) {
            return (409, json!({ "message": "the UID differs" }));
        }
        match method {
            "GET" => {}
            "PATCH" => merge(&mut object["status"], &body["status"]),
            "DELETE" => object["metadata"]["deletionGracePeriodSeconds"] = json!(0),
            other => panic!("unexpected {other}"),
        }
        self.store(name, object);
        (200, self.lock().objects[name].clone())
    }
}

/// A strategic merge patch as far as a pod's status needs one.
fn merge(status: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().unwrap() {
        match key.as_str() {
            "conditions" => merge_list(&mut status[key], value, "type"),
            "podIPs" | "hostIPs" => merge_list(&mut status[key], value, "ip"),
            directive if directive.starts_with('$') => {}
            _ if value.is_null() => {
                status.as_object_mut().unwrap().remove(key);
            }
            _ => status[key] = value.clone(),
        }
    }
    for (key, order) in
        patch.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("$setElementOrder/"))
    {
        let list = status[key.trim_start_matches("$setElementOrder/")].as_array_mut().unwrap();
        list.sort_by_key(|item| order.as_array().unwrap().iter().position(|of| of["ip"] == item["ip"]));
    }
}

fn merge_list(list: &mut Value, patch: &Value, by: &str) {
    if list.is_null() {
        *list = json!([]);
    }
    let list = list.as_array_mut().unwrap();
    for item in patch.as_array().unwrap() {
        let known = list.iter().position(|known| known[by] == item[by]);
        match known {
            Some(known) if item["$patch"] == "delete" => {
                list.remove(known);
            }
            None if item["$patch"] == "delete" => {}
            Some(known) => {
                for (key, value) in item.as_object().unwrap() {
                    if value.is_null() {
                        list[known].as_object_mut().unwrap().remove(key);
                    } else {
                        list[known][key] = value.clone();
                    }
                }
            }
            None => list.push(item.clone()),
        }
    }
}

/// Numbers that look random and are the same in every run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }
}
