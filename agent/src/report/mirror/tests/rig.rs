//! A loop over an API server in memory.

use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::super::*;
use super::NAME;
use crate::journal::history::{PodHistory, TerminationCause};
use crate::pod::card::{Card, Face};
use crate::pod::plan::{Rest, Wish};
use crate::source::desired::DesiredPod;

/// Pods by `namespace/name`, and how the server behaves.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) pods: BTreeMap<String, Value>,
    pub(super) shown: watch::Sender<Arc<BTreeMap<String, Arc<Pod>>>>,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) up: bool,
    /// The watch shows nothing new.
    pub(super) lags: bool,
    pub(super) made: u32,
    pub(super) requests: Vec<(Method, u16)>,
}

pub(super) type Shared = Arc<Mutex<Server>>;

impl Server {
    pub(super) fn show(&self) {
        if self.lags {
            return;
        }
        let mirrors = self
            .pods
            .iter()
            .filter(|(_, pod)| !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null());
        let mirrors =
            mirrors.map(|(name, pod)| (name.clone(), Arc::new(serde_json::from_value(pod.clone()).unwrap())));
        self.shown.send_replace(Arc::new(mirrors.collect()));
    }

    pub(super) fn take(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let namespace = parts[3].to_owned();
        let answer = match *method {
            Method::POST => self.create(&namespace, body),
            Method::GET => self
                .pods
                .get(&format!("{namespace}/{}", parts[5]))
                .map_or_else(not_found, |pod| (200, pod.clone())),
            Method::DELETE => self.delete(&format!("{namespace}/{}", parts[5]), body),
            _ => status(405, "MethodNotAllowed", ""),
        };
        self.requests.push((method.clone(), answer.0));
        self.show();
        answer
    }

    pub(super) fn create(&mut self, namespace: &str, body: &Value) -> (u16, Value) {
        let metadata = &body["metadata"];
        let owner = json!([{ "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-uid", "controller": true }]);
        let admitted = metadata["ownerReferences"] == owner
            && body["spec"]["nodeName"] == "n1"
            && !metadata["annotations"]["kubernetes.io/config.mirror"].is_null()
            && body["spec"]["serviceAccountName"].is_null()
            && metadata["uid"].is_null();
        if !admitted {
            return status(403, "Forbidden", "NodeRestriction");
        }
        if !self.namespaces.contains(namespace) {
            return status(404, "NotFound", &format!("namespaces {namespace:?} not found"));
        }
        let name = format!("{namespace}/{}", metadata["name"].as_str().unwrap());
        if self.pods.contains_key(&name) {
            return status(409, "AlreadyExists", "taken");
        }
        self.made += 1;
        let mut pod = body.clone();
        pod["metadata"]["uid"] = json!(format!("mirror-{}", self.made));
        self.pods.insert(name, pod.clone());
        (201, pod)
    }

    pub(super) fn delete(&mut self, name: &str, body: &Value) -> (u16, Value) {
        assert_eq!(body["gracePeriodSeconds"], 0, "a mirror has no grace");
        let Some(pod) = self.pods.get(name) else { return not_found() };
        if body["preconditions"]["uid"] != pod["metadata"]["uid"] {
            return status(409, "Conflict", "another UID");
        }
        let gone = self.pods.remove(name).unwrap();
        (200, gone)
    }
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message }),
    )
}

pub(super) fn not_found() -> (u16, Value) {
    status(404, "NotFound", "not found")
}

pub(super) async fn answer(server: Shared, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut server = server.lock().unwrap();
    if !server.up {
        server.requests.push((parts.method, 0));
        return Err(std::io::Error::other("connection refused"));
    }
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let (code, body) = server.take(&parts.method, parts.uri.path(), &body);
    let body = Body::from(serde_json::to_vec(&body).unwrap());
    Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap()).map_err(|never| match never {})
}

pub(super) struct Running {
    pub(super) server: Shared,
    pub(super) desired: watch::Sender<Arc<Desired>>,
    pub(super) node: watch::Sender<Option<Arc<Node>>>,
    pub(super) cards: Arc<Cards>,
    pub(super) runtime: watch::Sender<Arc<Snapshot>>,
    pub(super) events: EventLog,
    pub(super) translation: watch::Receiver<Arc<Translation>>,
    pub(super) _task: tokio::task::JoinSet<()>,
}

pub(super) fn node() -> Option<Arc<Node>> {
    let node = json!({ "metadata": { "name": "n1", "uid": "node-uid" } });
    Some(Arc::new(serde_json::from_value(node).unwrap()))
}

pub(super) fn start() -> Running {
    let (shown, mirrors) = watch::channel(Arc::default());
    let server = Arc::new(Mutex::new(Server {
        pods: BTreeMap::new(),
        shown,
        namespaces: ["kube-system".to_owned()].into(),
        up: true,
        lags: false,
        made: 0,
        requests: Vec::new(),
    }));
    let of_service = Arc::clone(&server);
    let client =
        Client::new(tower::service_fn(move |request| answer(Arc::clone(&of_service), request)), "default");
    let (desired, desired_reader) = watch::channel(Arc::new(Desired { synced: true, ..Desired::default() }));
    let (node, node_reader) = watch::channel(node());
    let (cards, events) = (Arc::new(Cards::default()), EventLog::default());
    let (runtime, observed) = watch::channel(Arc::new(Snapshot { listed: 1, ..Snapshot::default() }));
    let sources =
        Sources { desired: desired_reader, mirrors, node: node_reader, cards: Arc::clone(&cards), observed };
    let clock =
        Clock::scripted("boot", Duration::from_secs(9), Timestamp::from_second(1_700_000_000).unwrap());
    let (mirrors, translation) = Mirrors::new(client, sources, events.clone(), clock);
    let mut task = tokio::task::JoinSet::new();
    task.spawn(mirrors.run(CancellationToken::new()));
    Running { server, desired, node, cards, runtime, events, translation, _task: task }
}

pub(super) fn static_pod(hash: &str) -> Arc<DesiredPod> {
    let pod = json!({
        "metadata": { "namespace": "kube-system", "name": "web-n1", "uid": hash,
            "annotations": { "kubernetes.io/config.hash": hash } },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": hash }] },
    });
    Arc::new(DesiredPod {
        uid: PodUid::new(hash).unwrap(),
        namespace: "kube-system".into(),
        name: "web-n1".into(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(serde_json::from_value(pod).unwrap()),
        held: Vec::new(),
    })
}

pub(super) fn card(pod: &Arc<DesiredPod>) -> Arc<Card> {
    let face = Face {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        pod: Some(Arc::clone(pod)),
        wish: Wish::Gone(TerminationCause::Removed),
        history: PodHistory::default(),
        waits: Vec::new(),
        rest: Rest::Working,
        retries: BTreeMap::new(),
        busy: BTreeSet::new(),
        quarantined: None,
    };
    Arc::new(Card::new(pod.uid.clone(), face))
}

impl Running {
    pub(super) fn want(&self, hashes: &[&str]) {
        let pods = hashes.iter().map(|hash| static_pod(hash)).map(|pod| (pod.uid.clone(), pod)).collect();
        self.desired.send_replace(Arc::new(Desired { synced: true, pods, ..Desired::default() }));
    }

    /// UID and image of the mirror in the API.
    pub(super) fn mirror(&self) -> Option<(String, String)> {
        let server = self.server.lock().unwrap();
        let pod = server.pods.get(NAME)?;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Some((text(&pod["metadata"]["uid"]), text(&pod["spec"]["containers"][0]["image"])))
    }

    /// How long it takes until the mirror shows this manifest.
    pub(super) async fn shows(&self, image: Option<&str>) -> Duration {
        let began = Instant::now();
        let seen = async {
            while self.mirror().map(|(_, image)| image).as_deref() != image {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let shown = timeout(Duration::from_secs(120), seen).await;
        assert!(shown.is_ok(), "the mirror is {:?} and not of {image:?}", self.mirror());
        began.elapsed()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Server)) {
        let mut server = self.server.lock().unwrap();
        change(&mut server);
        server.show();
    }

    pub(super) async fn idle(&self) -> usize {
        let before = self.server.lock().unwrap().requests.len();
        tokio::time::sleep(Duration::from_secs(60)).await;
        self.server.lock().unwrap().requests.len() - before
    }
}
