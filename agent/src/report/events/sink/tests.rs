//! The loop against an API server in memory, on a paused clock.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::*;
use crate::events::EventLog;

/// Events by `namespace/name`, and how the server behaves.
#[derive(Debug, Default)]
struct Server {
    events: BTreeMap<String, Value>,
    requests: Vec<(Method, String)>,
    under_way: usize,
    most_under_way: usize,
    mood: Mood,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Mood {
    #[default]
    Well,
    Unavailable,
    /// Takes requests and never answers.
    BlackHole,
    Terminating,
}

type Shared = Arc<Mutex<Server>>;

struct NoPods;

impl KnownPods for NoPods {
    fn find(&self, namespace: &str, name: &str, _uid: Option<&PodUid>) -> Option<Arc<Pod>> {
        let pod = json!({ "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "5",
        }});
        serde_json::from_value(pod).ok()
    }
}

fn status(code: u16, reason: &str, details: Value) -> (u16, Value) {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": reason, "details": details });
    (code, body)
}

fn take(server: &mut Server, method: &Method, path: &str, body: Value) -> (u16, Value) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let namespace = parts[3];
    match server.mood {
        Mood::Unavailable => return status(503, "ServiceUnavailable", json!({})),
        Mood::Terminating => {
            let causes = json!({ "causes": [{ "reason": "NamespaceTerminating" }] });
            return status(403, "Forbidden", causes);
        }
        Mood::Well | Mood::BlackHole => {}
    }
    if *method == Method::POST {
        let name = format!("{namespace}/{}", body["metadata"]["name"].as_str().unwrap());
        if server.events.contains_key(&name) {
            return status(409, "AlreadyExists", json!({}));
        }
        server.events.insert(name, body.clone());
        return (201, body);
    }
    let Some(event) = server.events.get_mut(&format!("{namespace}/{}", parts[5])) else {
        return status(404, "NotFound", json!({}));
    };
    for (key, value) in body.as_object().unwrap() {
        event[key] = value.clone();
    }
    (200, event.clone())
}

async fn answer(server: Shared, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    {
        let mut server = server.lock().unwrap();
        server.requests.push((parts.method.clone(), parts.uri.path().to_owned()));
        server.under_way += 1;
        server.most_under_way = server.most_under_way.max(server.under_way);
    }
    let black_hole = server.lock().unwrap().mood == Mood::BlackHole;
    let (code, body) = {
        let mut server = server.lock().unwrap();
        take(&mut server, &parts.method, parts.uri.path(), serde_json::from_slice(&bytes).unwrap())
    };
    if black_hole {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.lock().unwrap().under_way -= 1;
    let body = Body::from(serde_json::to_vec(&body).unwrap());
    Ok(Response::builder().status(code).body(body).unwrap())
}

struct Running {
    log: EventLog,
    server: Shared,
    clock: Clock,
    tally: watch::Receiver<Tally>,
    starts: watch::Sender<bool>,
    stop: CancellationToken,
    task: tokio::task::JoinSet<()>,
}

fn start() -> Running {
    let server = Shared::default();
    let of_service = Arc::clone(&server);
    let service = tower::service_fn(move |request| answer(Arc::clone(&of_service), request));
    let client = Client::new(service, "default");
    let clock =
        Clock::scripted("boot", Duration::from_secs(9), Timestamp::from_second(1_700_000_000).unwrap());
    let (log, feed) = EventLog::feeding();
    let (starts, reader) = watch::channel(false);
    let (sink, tally) = Sink::new(Config::new("n1"), client, feed, Arc::new(NoPods), clock.clone(), reader);
    let stop = CancellationToken::new();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(sink.run(stop.clone()));
    Running { log, server, clock, tally, starts, stop, task }
}

impl Running {
    fn warn(&self, object: &str, reason: &str, message: &str) {
        self.log.warning(object, reason, message, self.clock.now().wall);
    }

    fn tell(&self, object: &str, reason: &str, message: &str) {
        self.log.normal(object, reason, message, self.clock.now().wall);
    }

    /// Waits until nothing is left to write.
    async fn quiet(&mut self) {
        let settled = self.tally.wait_for(|tally| tally.pending == 0 && tally.written > 0);
        timeout(Duration::from_secs(400), settled).await.expect("events are still pending").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    fn find(&self, reason: &str) -> Vec<Value> {
        let server = self.server.lock().unwrap();
        server.events.values().filter(|event| event["reason"] == reason).cloned().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_series_is_posted_once_and_patched_with_its_count() {
    let mut run = start();
    for _ in 0..130 {
        run.warn("ns/web", "BackOff", "again");
        advance(Duration::from_secs(1)).await;
    }
    run.quiet().await;
    let events = run.find("BackOff");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["count"], 130);
    assert_eq!(events[0]["involvedObject"]["uid"], "uid-of-web");
    assert_eq!(events[0]["source"], json!({ "component": "kubelet", "host": "n1" }));
    let server = run.server.lock().unwrap();
    let posts = server.requests.iter().filter(|(method, _)| method == Method::POST).count();
    assert_eq!((posts, server.requests.len()), (1, 4), "{:?}", server.requests);
}

#[tokio::test(start_paused = true)]
async fn what_goes_well_is_told_after_the_starts_and_a_warning_at_once() {
    let mut run = start();
    run.starts.send(true).unwrap();
    run.tell("ns/web", "Created", "Container created");
    run.warn("ns/db", "Failed", "no");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((run.find("Created").len(), run.find("Failed").len()), (0, 1));
    run.starts.send(false).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(run.find("Created").len(), 1);
    // Not for ever, and not beyond the end of the agent.
    run.starts.send(true).unwrap();
    run.tell("ns/web", "Started", "Container started");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(run.find("Started").len(), 1);
    run.tell("ns/web", "Killing", "Stopping container c");
    tokio::time::sleep(Duration::from_millis(200)).await;
    run.stop.cancel();
    run.task.join_next().await.unwrap().unwrap();
    assert_eq!(run.find("Killing").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_server_forgot_is_made_anew_with_the_whole_count() {
    let mut run = start();
    run.warn("ns/web", "BackOff", "again");
    run.quiet().await;
    run.server.lock().unwrap().events.clear();
    advance(Duration::from_secs(61)).await;
    run.warn("ns/web", "BackOff", "again");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(run.find("BackOff")[0]["count"], 2);
}

#[tokio::test(start_paused = true)]
async fn b60_what_was_said_while_the_server_was_away_is_there_soon_after() {
    let mut run = start();
    run.server.lock().unwrap().mood = Mood::Unavailable;
    for second in 0..600 {
        run.warn(&format!("ns/p{}", second % 50), "BackOff", "again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let tries = run.server.lock().unwrap().requests.len();
    assert!(tries < 40, "{tries} tries in ten minutes");
    run.server.lock().unwrap().mood = Mood::Well;
    let back = Instant::now();
    run.quiet().await;
    assert!(back.elapsed() < Duration::from_secs(35), "took {:?}", back.elapsed());
    let events = run.find("BackOff");
    assert_eq!(events.len(), 50);
    assert!(events.iter().all(|event| event["count"] == 12));
    assert_eq!(run.server.lock().unwrap().requests.len() - tries, 50, "one write per series");
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_ends_at_its_deadline_and_is_not_doubled() {
    let mut run = start();
    run.server.lock().unwrap().mood = Mood::BlackHole;
    run.warn("ns/web", "FailedMount", "no such volume");
    tokio::time::sleep(Duration::from_secs(12)).await;
    run.server.lock().unwrap().mood = Mood::Well;
    run.quiet().await;
    let events = run.find("FailedMount");
    assert_eq!((events.len(), &events[0]["count"]), (1, &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn events_of_a_namespace_that_goes_away_are_dropped() {
    let run = start();
    run.server.lock().unwrap().mood = Mood::Terminating;
    run.tell("ns/web", "Killing", "Stopping container web");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(run.server.lock().unwrap().requests.len(), 1);
    assert_eq!((run.tally.borrow().rejected, run.tally.borrow().pending), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn beyond14_churn_of_twenty_pods_a_second_is_a_quarter_of_the_status_writes_at_most() {
    let run = start();
    let (seconds, mut pod) = (120u64, 0u64);
    for _ in 0..seconds * 20 {
        let object = format!("ns/p{pod}");
        for reason in ["Pulled", "Created", "Started", "Killing"] {
            run.tell(&object, reason, "m");
        }
        if pod.is_multiple_of(20) {
            run.warn(&object, "FailedMount", "m");
        }
        pod += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status_writes = pod * 4;
    let server = run.server.lock().unwrap();
    let writes = u64::try_from(server.requests.len()).unwrap();
    assert!(writes * 4 <= status_writes, "{writes} event writes beside {status_writes} status writes");
    assert!(server.most_under_way <= 4);
    drop(server);
    assert_eq!(run.find("FailedMount").len(), usize::try_from(seconds).unwrap());
    assert_eq!(run.tally.borrow().lost_warnings, 0);
}

#[tokio::test(start_paused = true)]
async fn beyond14_started_is_seen_after_ten_minutes_of_never_pull() {
    let mut run = start();
    for _ in 0..60 {
        run.warn(
            "ns/web",
            "ErrImageNeverPull",
            "Container image \"x\" is not present with pull policy of Never",
        );
        run.warn("ns/web", "Failed", "Error: ErrImageNeverPull");
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    run.tell("ns/web", "Created", "Container created");
    run.tell("ns/web", "Started", "Container started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(run.find("Started").len(), 1);
    run.quiet().await;
    assert_eq!(run.find("ErrImageNeverPull")[0]["count"], 60);
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_at_stop_is_written() {
    let mut run = start();
    run.tell("node", "Shutdown", "going");
    run.stop.cancel();
    run.task.join_next().await.unwrap().unwrap();
    assert_eq!(run.find("Shutdown")[0]["metadata"]["namespace"], "default");
}
