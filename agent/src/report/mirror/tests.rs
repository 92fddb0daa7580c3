//! The loop against an API server in memory that admits what NodeRestriction does, on a paused clock.

use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::*;
use crate::journal::history::{PodHistory, TerminationCause};
use crate::pod::card::{Card, Face};
use crate::pod::plan::{Rest, Wish};
use crate::source::desired::DesiredPod;

const NAME: &str = "kube-system/web-n1";

/// Pods by `namespace/name`, and how the server behaves.
#[derive(Debug)]
struct Server {
    pods: BTreeMap<String, Value>,
    shown: watch::Sender<Arc<BTreeMap<String, Arc<Pod>>>>,
    namespaces: BTreeSet<String>,
    up: bool,
    /// The watch shows nothing new.
    lags: bool,
    made: u32,
    requests: Vec<(Method, u16)>,
}

type Shared = Arc<Mutex<Server>>;

impl Server {
    fn show(&self) {
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

    fn take(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
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

    fn create(&mut self, namespace: &str, body: &Value) -> (u16, Value) {
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

    fn delete(&mut self, name: &str, body: &Value) -> (u16, Value) {
        assert_eq!(body["gracePeriodSeconds"], 0, "a mirror has no grace");
        let Some(pod) = self.pods.get(name) else { return not_found() };
        if body["preconditions"]["uid"] != pod["metadata"]["uid"] {
            return status(409, "Conflict", "another UID");
        }
        let gone = self.pods.remove(name).unwrap();
        (200, gone)
    }
}

fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message }),
    )
}

fn not_found() -> (u16, Value) {
    status(404, "NotFound", "not found")
}

async fn answer(server: Shared, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
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

struct Running {
    server: Shared,
    desired: watch::Sender<Arc<Desired>>,
    node: watch::Sender<Option<Arc<Node>>>,
    cards: Arc<Cards>,
    runtime: watch::Sender<Arc<Snapshot>>,
    events: EventLog,
    translation: watch::Receiver<Arc<Translation>>,
    _task: tokio::task::JoinSet<()>,
}

fn node() -> Option<Arc<Node>> {
    let node = json!({ "metadata": { "name": "n1", "uid": "node-uid" } });
    Some(Arc::new(serde_json::from_value(node).unwrap()))
}

fn start() -> Running {
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

fn static_pod(hash: &str) -> Arc<DesiredPod> {
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

fn card(pod: &Arc<DesiredPod>) -> Arc<Card> {
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
    fn want(&self, hashes: &[&str]) {
        let pods = hashes.iter().map(|hash| static_pod(hash)).map(|pod| (pod.uid.clone(), pod)).collect();
        self.desired.send_replace(Arc::new(Desired { synced: true, pods, ..Desired::default() }));
    }

    /// UID and image of the mirror in the API.
    fn mirror(&self) -> Option<(String, String)> {
        let server = self.server.lock().unwrap();
        let pod = server.pods.get(NAME)?;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Some((text(&pod["metadata"]["uid"]), text(&pod["spec"]["containers"][0]["image"])))
    }

    /// How long it takes until the mirror shows this manifest.
    async fn shows(&self, image: Option<&str>) -> Duration {
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

    fn change(&self, change: impl FnOnce(&mut Server)) {
        let mut server = self.server.lock().unwrap();
        change(&mut server);
        server.show();
    }

    async fn idle(&self) -> usize {
        let before = self.server.lock().unwrap().requests.len();
        tokio::time::sleep(Duration::from_secs(60)).await;
        self.server.lock().unwrap().requests.len() - before
    }
}

#[tokio::test(start_paused = true)]
async fn b07_an_edited_pod_gets_a_new_mirror_once_the_old_one_is_down() {
    let run = start();
    run.want(&["a"]);
    assert!(run.shows(Some("a")).await < Duration::from_millis(100));
    let old = static_pod("a");
    run.cards.put(card(&old));
    run.want(&["b"]);
    assert_eq!(run.idle().await, 0, "the old pod is still there, and its mirror shows its end");
    run.cards.remove(&old.uid);
    assert!(run.shows(Some("b")).await < Duration::from_secs(1));
    assert_eq!(run.mirror().unwrap().0, "mirror-2", "a mirror of another pod is another pod");
    assert_eq!(run.idle().await, 0, "nothing more is written");
    let translation = run.translation.borrow().clone();
    let expected = [(PodUid::new("b").unwrap(), PodUid::new("mirror-2").unwrap())].into();
    assert_eq!(*translation, expected);
}

#[tokio::test(start_paused = true)]
async fn b07_a_deleted_mirror_comes_back() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.change(|server| {
        server.pods.remove(NAME);
    });
    assert!(run.shows(Some("a")).await < Duration::from_secs(1), "after a forced deletion");
    run.change(|server| {
        server.pods.get_mut(NAME).unwrap()["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(run.mirror().unwrap().0, "mirror-3", "after a graceful deletion");
    assert_eq!(run.idle().await, 0);
}

#[tokio::test(start_paused = true)]
async fn b07_a_file_that_is_removed_and_put_back_keeps_its_mirror() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    let pod = static_pod("a");
    run.cards.put(card(&pod));
    run.want(&[]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    run.want(&["a"]);
    assert_eq!(run.idle().await, 0);
    assert_eq!(run.mirror().unwrap().0, "mirror-1");
}

#[tokio::test(start_paused = true)]
async fn b08_of_three_hundred_edits_the_last_one_is_shown() {
    let run = start();
    for edit in 0..300 {
        run.want(&[&format!("edit-{edit}")]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(run.shows(Some("edit-299")).await < Duration::from_secs(1));
    assert_eq!(run.idle().await, 0);
}

#[tokio::test(start_paused = true)]
async fn b09_a_removed_pods_mirror_stays_until_the_pod_is_down() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    let pod = static_pod("a");
    run.cards.put(card(&pod));
    run.want(&[]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(run.mirror().is_some(), "the runtime is down: nobody knows that the pod is");
    run.cards.remove(&pod.uid);
    assert!(run.shows(None).await < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn b09_nothing_is_removed_before_the_runtime_was_asked_or_on_a_single_absence() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.runtime.send_replace(Arc::default());
    run.want(&[]);
    assert_eq!(run.idle().await, 0, "the agent has just started and the runtime is down");
    run.runtime.send_replace(Arc::new(Snapshot { listed: 1, ..Snapshot::default() }));
    tokio::time::sleep(Duration::from_millis(900)).await;
    let pod = static_pod("a");
    run.cards.put(card(&pod));
    assert_eq!(run.idle().await, 0, "the pod was found in the runtime a moment later");
    run.cards.remove(&pod.uid);
    run.shows(None).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_the_sources_are_read_or_made_before_the_node_is_there() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.desired.send_replace(Arc::default());
    assert_eq!(run.idle().await, 0);
    run.node.send_replace(None);
    run.change(|server| server.pods.clear());
    run.want(&["a"]);
    assert_eq!(run.idle().await, 0);
    run.node.send_replace(node());
    assert!(run.shows(Some("a")).await < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn beyond27_after_an_outage_the_mirror_is_right_within_a_second() {
    let run = start();
    run.want(&["a"]);
    run.shows(Some("a")).await;
    run.change(|server| server.up = false);
    run.want(&["b"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = run.server.lock().unwrap().requests.len();
    assert!(tries < 700, "{tries} tries in ten minutes");
    run.change(|server| server.up = true);
    let took = run.shows(Some("b")).await;
    assert!(took <= Duration::from_millis(1_100), "took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_namespace_is_told_and_waited_for() {
    let run = start();
    run.change(|server| server.namespaces.clear());
    run.want(&["a"]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let events = run.events.list();
    assert_eq!((events.len(), events[0].reason.as_str(), events[0].object.as_str()), (1, REASON, NAME));
    assert!(events[0].message.contains("not found"), "{}", events[0].message);
    run.change(|server| {
        server.namespaces.insert("kube-system".into());
    });
    assert!(run.shows(Some("a")).await <= Duration::from_secs(16));
}

#[tokio::test(start_paused = true)]
async fn another_pod_of_the_same_name_is_left_alone_and_told_of() {
    let run = start();
    let foreign = json!({ "metadata": { "namespace": "kube-system", "name": "web-n1", "uid": "theirs" },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": "theirs" }] } });
    run.change(|server| {
        server.pods.insert(NAME.into(), foreign);
    });
    run.want(&["a"]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(run.mirror().unwrap().0, "theirs");
    assert!(run.events.list()[0].message.contains("delete or rename it"));
    let deletions =
        run.server.lock().unwrap().requests.iter().filter(|(method, _)| method == Method::DELETE).count();
    assert_eq!(deletions, 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_mirror_that_the_watch_does_not_show_yet_is_found() {
    let run = start();
    run.change(|server| server.lags = true);
    run.want(&["a"]);
    run.shows(Some("a")).await;
    // Longer than an answer is believed without the watch: it is asked again, and nothing changes.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(run.mirror().unwrap().0, "mirror-1");
    let requests = run.server.lock().unwrap().requests.clone();
    assert_eq!(requests, [(Method::POST, 201), (Method::POST, 409), (Method::GET, 200)]);
}
