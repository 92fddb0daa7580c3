//! A bug that panics: in the worker of one pod, and in the task of one call (B39).
//!
//! The bug is in the test's tracing subscriber. Worker and call both log in their own task, so a log line of one pod is
//! a place in it where a test can panic, and the product needs no hook for that.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pinnace::server::views::Views;
use pinnace::view::EventView;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{Code, FaultKind, FaultRule, Select, Times};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::harness::{IMAGE, Make, Node, sleeper};

const LIMIT: Duration = Duration::from_secs(30);
const BAD: &str = "default/bad-node1";

/// Panics wherever a line about [`BAD`] begins with these words, so many times.
struct Bug {
    line: &'static str,
    left: AtomicU32,
}

impl Bug {
    fn at(line: &'static str, times: u32) -> Self {
        Self { line, left: AtomicU32::new(times) }
    }
}

/// What a line says.
#[derive(Default)]
struct Line {
    message: String,
    pod: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            "pod" => self.pod = text.trim_matches('"').to_owned(),
            _ => {}
        }
    }
}

impl Subscriber for Bug {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.pod != BAD || !line.message.starts_with(self.line) {
            return;
        }
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            panic!("a bug of the test");
        }
    }
}

fn told(node: &Node, reason: &str) -> Vec<EventView> {
    node.board.events().into_iter().filter(|event| event.object == BAD && event.reason == reason).collect()
}

/// `main` comes up; the create of `side` fails, and the worker panics as it takes note of that.
fn bad() -> Value {
    let mut bad = sleeper("bad");
    let side = json!({ "name": "side", "image": IMAGE, "command": ["sleep", "infinity"] });
    bad["spec"]["containers"].as_array_mut().unwrap().push(side);
    bad
}

async fn until_panics(node: &Node, count: usize) {
    node.until(&format!("panic {count} is told"), LIMIT, |node| told(node, "WorkerPanicked").len() == count)
        .await;
}

#[tokio::test(start_paused = true)]
async fn b39_a_worker_that_panics_stops_its_pod_alone_and_for_a_while() {
    let _bug = tracing::subscriber::set_default(Bug::at("step failed", 2));
    let node = Make::new().start(&[]);
    let refused = FaultKind::Error(Code::InvalidArgument, "no".to_owned());
    let rule =
        FaultRule::on(Call::CreateContainer, refused).of(Select::any().pod("bad-node1").container("side"));
    node.fake.fault(rule.times(Times::Count(2)));
    node.want(&[bad(), sleeper("good")]);

    until_panics(&node, 1).await;
    let first = Instant::now();
    let main = node.container("bad", "main").unwrap().id.unwrap();
    assert_eq!(node.container("bad", "main").unwrap().state, "Running");
    assert_eq!(node.pod("bad").unwrap().status, "Quarantined");
    assert!(node.pod("bad").unwrap().reason.contains("next try in 10 s: a bug of the test"));
    assert_eq!(node.board.health(), Ok(()), "a pod's bug is no fault of the node");

    // The others go on: an exit is seen and followed by a restart, and a new pod starts.
    node.until_running("good").await;
    node.fake.kill(&node.container("good", "main").unwrap().id.unwrap());
    node.until("it is restarted", Duration::from_secs(2), |node| node.pod("good").unwrap().restarts == 1)
        .await;
    node.want(&[bad(), sleeper("good"), sleeper("next")]);
    node.until("a new pod runs", Duration::from_secs(2), |node| node.is_running("next")).await;

    until_panics(&node, 2).await;
    let second = Instant::now();
    let quarantine = second - first;
    assert!((Duration::from_secs(10)..Duration::from_secs(12)).contains(&quarantine), "{quarantine:?}");
    node.until("the bad one runs", LIMIT, |node| node.is_running("bad")).await;
    let quarantine = second.elapsed();
    assert!((Duration::from_secs(20)..Duration::from_secs(23)).contains(&quarantine), "{quarantine:?}");
    assert!(node.runtime().containers.contains_key(&main), "what ran was left alone");
    assert_eq!(node.pod("bad").unwrap().restarts, 0);
    assert_eq!(told(&node, "WorkerPanicked").len(), 2);
    node.at_rest().await;
    node.stop().await;
}

/// The start worked, and the task of the call died before it could say so: the pod's worker looks and finds it.
#[tokio::test(start_paused = true)]
async fn b39_a_call_that_panics_is_in_doubt_and_its_effect_is_adopted() {
    let _bug = tracing::subscriber::set_default(Bug::at("failed to link the container's log", 1));
    let make = Make::new();
    std::fs::write(make.dir.path().join("links"), "no directory").unwrap();
    let node = make.start(&[sleeper("bad"), sleeper("good")]);
    node.until_running("good").await;
    node.until("the bad one runs", Duration::from_secs(5), |node| node.is_running("bad")).await;
    let panicked = |text: &str| text.contains("panicked: a bug of the test");
    let told_of = node.board.explain("bad-node1").unwrap().timeline;
    assert!(told_of.iter().any(|entry| entry.error.as_deref().is_some_and(panicked)), "{told_of:?}");
    assert_eq!(node.runtime().containers.len(), 2, "{}", node.describe());
    assert_eq!(told(&node, "WorkerPanicked"), []);
    node.at_rest().await;
    node.stop().await;
}
