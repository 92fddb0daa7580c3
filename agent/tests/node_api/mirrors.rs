//! Mirrors of static pods and events: a whole agent whose API server admits what NodeRestriction does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace::report::mirror::{Mirrors, Sources};
use pinnace::supervise::{Supervision, Supervisor};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fake_api::FakeApi;
use crate::harness::{Make, NODE, pod};
use crate::rig::Whole;

const LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "web-node1";

struct WithMirrors {
    whole: Whole,
    stop: CancellationToken,
    supervision: Supervision,
    _watch: JoinSet<()>,
}

fn mirror(api: &FakeApi) -> Option<Value> {
    api.get("pods", "default", NAME)
}

/// Stands in for the watch: what the API has is seen 50 ms later.
async fn watch(api: FakeApi, shown: watch::Sender<Arc<BTreeMap<String, Arc<Pod>>>>) {
    loop {
        let found = mirror(&api)
            .map(|pod| (format!("default/{NAME}"), Arc::new(serde_json::from_value(pod).unwrap())));
        let found: BTreeMap<_, _> = found.into_iter().collect();
        shown.send_if_modified(|last| {
            let changed = **last != found;
            *last = Arc::new(found);
            changed
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl WithMirrors {
    fn start(make: &Make, api: &FakeApi, pods: &[Value]) -> Self {
        let whole = Whole::start(make, api, pods);
        let stop = CancellationToken::new();
        let (supervisor, supervision) = Supervisor::new(stop.clone());
        let (shown, mirrors) = watch::channel(Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(api.clone(), shown));
        let board = &whole.agent.board;
        let sources = Sources {
            desired: board.desired.clone(),
            mirrors,
            node: whole.handle.node.clone(),
            cards: Arc::clone(&board.cards),
            observed: board.observed.clone(),
        };
        let client = api.client_of_node(NODE);
        let (mirrors, _) = Mirrors::new(client, sources, whole.events.clone(), make.clock.clone());
        supervisor.spawn_core("mirrors", mirrors.run(stop.clone()));
        Self { whole, stop, supervision, _watch: tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.supervision.wait().await.unwrap();
        self.whole.stop().await;
    }
}

/// A pod that ignores TERM for its grace of 20 s.
fn stubborn(generation: &str) -> Value {
    let mut pod = pod("web", "Always", &["sh", "-c", "trap '' TERM; sleep infinity"]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(20);
    pod["metadata"]["labels"] = json!({ "generation": generation });
    pod
}

fn generation(api: &FakeApi) -> Option<String> {
    Some(mirror(api)?["metadata"]["labels"]["generation"].as_str()?.to_owned())
}

#[tokio::test(start_paused = true)]
async fn b07_b08_an_edited_static_pod_has_its_old_mirror_until_it_is_down_and_then_a_new_one() {
    let (make, api) = (Make::new(), FakeApi::new());
    let run = WithMirrors::start(&make, &api, &[stubborn("one")]);
    api.watch_until("the mirror is there", LIMIT, |api| generation(api).as_deref() == Some("one")).await;
    run.whole.agent.until_running("web").await;
    let first = mirror(&api).unwrap();
    assert_eq!(first["metadata"]["ownerReferences"][0]["uid"], run.whole.uid());
    let running = run.whole.agent.runtime().running().len();
    assert_eq!(running, 1);

    let edited = Instant::now();
    run.whole.agent.want(&[stubborn("two")]);
    api.watch_until("the new mirror is there", LIMIT, |api| generation(api).as_deref() == Some("two")).await;
    let second = mirror(&api).unwrap();
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let took = edited.elapsed();
    assert!((Duration::from_secs(2)..=Duration::from_secs(23)).contains(&took), "took {took:?}");
    run.whole.agent.until_running("web").await;

    run.whole.agent.want(&[]);
    api.watch_until("the mirror is gone", LIMIT, |api| mirror(api).is_none()).await;
    assert!(run.whole.agent.runtime().running().is_empty(), "the mirror went before its pod");
    assert_eq!(api.count(|request| request.resource == "pods" && request.status == Some(403)), 0, "a80");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b07_a_mirror_that_people_delete_comes_back_and_its_pod_runs_on() {
    let (make, api) = (Make::new(), FakeApi::new());
    let run = WithMirrors::start(&make, &api, &[stubborn("one")]);
    api.watch_until("the mirror is there", LIMIT, |api| mirror(api).is_some()).await;
    run.whole.agent.until_running("web").await;
    let container = run.whole.agent.runtime().running()[0].id.clone();
    // The last one is gone before the watch has shown it, which takes longer to be noticed.
    for (graceful, shown, limit) in [(true, true, 2), (false, true, 2), (false, false, 12)] {
        if shown {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let old = mirror(&api).unwrap()["metadata"]["uid"].clone();
        if graceful {
            api.delete("pods", "default", NAME);
        } else {
            api.force_delete("pods", "default", NAME);
        }
        let is_new = |api: &FakeApi| {
            mirror(api).is_some_and(|pod| {
                pod["metadata"]["uid"] != old && pod["metadata"]["deletionTimestamp"].is_null()
            })
        };
        api.watch_until("a new mirror is there", Duration::from_secs(limit), is_new).await;
    }
    tokio::time::sleep(LIMIT).await;
    assert_eq!(run.whole.agent.runtime().running()[0].id, container, "a mirror is a view");
    run.stop().await;
}
