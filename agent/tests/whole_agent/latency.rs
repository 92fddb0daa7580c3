//! How fast the agent sees and acts, in virtual time, where only its own waits count (beyond 1, 6, 15; DESIGN 12).

use std::collections::BTreeMap;
use std::time::Duration;

use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{FaultKind, FaultRule, Select};
use tokio::time::Instant;

use crate::harness::{Make, Node, sleeper};

fn p99(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples[(samples.len() * 99).div_ceil(100) - 1]
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("web{index}")).collect()
}

async fn running_node(make: &Make, count: usize) -> Node {
    let node = make.start(&names(count).iter().map(|name| sleeper(name)).collect::<Vec<_>>());
    node.until("all run", Duration::from_secs(120), |node| node.runtime().running().len() == count).await;
    // Long enough for the event stream to be trusted and the list to be stretched.
    tokio::time::sleep(Duration::from_secs(30)).await;
    node
}

/// Ids of the running containers by the pod's name in its manifest.
fn ids(node: &Node) -> BTreeMap<String, String> {
    let views = node.board.containers().into_iter();
    views.filter_map(|view| Some((view.pod.trim_end_matches("-node1").to_owned(), view.id?))).collect()
}

/// From the end of a container until the view shows it no longer running or restarted.
async fn seen(node: &Node, name: &str, id: &str) -> Duration {
    let began = Instant::now();
    node.fake.kill(id);
    let is_seen = |node: &Node| {
        node.container(name, "main").is_some_and(|view| {
            view.state != "Running" || view.id.as_deref() != Some(id) || view.restarts > 0
        })
    };
    node.until(&format!("the exit of {name} is seen"), Duration::from_secs(10), is_seen).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn beyond1_one_hung_status_of_200_delays_no_other_pod() {
    let make = Make::new();
    let node = running_node(&make, 200).await;
    let ids = ids(&node);
    node.fake
        .fault(FaultRule::on(Call::ContainerStatus, FaultKind::Hang).of(Select::any().pod("web0-node1")));
    node.fake.kill(&ids["web0"]);
    let hung = Instant::now();
    let mut samples = Vec::new();
    for name in names(60).iter().skip(1) {
        samples.push(seen(&node, name, &ids[name]).await);
        tokio::time::sleep(Duration::from_millis(317)).await;
    }
    node.until("the sick pod's call is named", Duration::from_secs(15), |node| {
        let explained = node.board.explain("web0").unwrap();
        explained.pod.reason.contains("ContainerStatus")
    })
    .await;
    assert!(hung.elapsed() < Duration::from_secs(35));
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(node.board.health(), Ok(()));
    assert_eq!(node.board.problems(), Vec::<String>::new());
    let slowest = p99(samples);
    assert!(slowest <= Duration::from_millis(500), "p99 is {slowest:?}");
    node.fake.clear_faults();
    node.stop_anyhow().await;
}

#[tokio::test(start_paused = true)]
async fn beyond15_an_exit_is_seen_at_once_with_the_stream_and_within_a_second_without() {
    // CRI's stream, containerd's own, none.
    for (events, task_events, limit) in [(true, false, 50), (false, true, 50), (false, false, 1_100)] {
        let make = Make::new();
        make.fake.configure(|switches| (switches.events, switches.task_events) = (events, task_events));
        let node = running_node(&make, 50).await;
        let ids = ids(&node);
        let mut samples = Vec::new();
        for name in names(50) {
            samples.push(seen(&node, &name, &ids[&name]).await);
            tokio::time::sleep(Duration::from_millis(223)).await;
        }
        let slowest = p99(samples);
        assert!(
            slowest <= Duration::from_millis(limit),
            "streams: {events} {task_events}, p99 is {slowest:?}"
        );
        node.stop_anyhow().await;
    }
}

#[tokio::test(start_paused = true)]
async fn beyond15_a_stream_that_dies_costs_no_more_than_a_list() {
    let make = Make::new();
    let node = running_node(&make, 20).await;
    let ids = ids(&node);
    make.fake.configure(|switches| switches.events = false);
    make.fake.cut_events();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut samples = Vec::new();
    for name in names(20) {
        samples.push(seen(&node, &name, &ids[&name]).await);
        tokio::time::sleep(Duration::from_millis(223)).await;
    }
    let slowest = p99(samples);
    assert!(slowest <= Duration::from_millis(1_100), "p99 is {slowest:?}");
    node.stop_anyhow().await;
}

/// When the sandboxes were asked for, by the pod's name.
fn asked(node: &Node) -> BTreeMap<String, Instant> {
    let calls = node.fake.calls().into_iter().filter(|record| record.call == Call::RunPodSandbox);
    calls.filter_map(|record| Some((record.subject.pod_name?, record.began))).collect()
}

#[tokio::test(start_paused = true)]
async fn beyond6_a_wish_reaches_the_runtime_within_ten_milliseconds() {
    for together in [1, 4] {
        let node = Make::new().start(&[]);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let mut wanted = Vec::new();
        let mut samples = Vec::new();
        for round in 0..(100 / together) {
            let fresh: Vec<_> = (0..together).map(|nth| format!("web{round}-{nth}")).collect();
            wanted.extend(fresh.iter().map(|name| sleeper(name)));
            let began = Instant::now();
            node.want(&wanted);
            tokio::time::sleep(Duration::from_millis(787)).await;
            let asked = asked(&node);
            samples.extend(fresh.iter().map(|name| asked[&format!("{name}-node1")] - began));
        }
        let slowest = p99(samples);
        assert!(slowest <= Duration::from_millis(10), "{together} at once: p99 is {slowest:?}");
        node.stop_anyhow().await;
    }
}

#[tokio::test(start_paused = true)]
async fn design12_four_hung_creates_delay_a_fifth_pod_by_two_seconds_at_most() {
    let node = Make::new().start(&[]);
    for index in 0..4 {
        let select = Select::any().pod(format!("web{index}-node1"));
        node.fake.fault(FaultRule::on(Call::RunPodSandbox, FaultKind::Hang).of(select));
    }
    let mut wanted: Vec<_> = names(4).iter().map(|name| sleeper(name)).collect();
    node.want(&wanted);
    // One begins; that it is not quick lets the others in.
    tokio::time::sleep(Duration::from_millis(510)).await;
    assert_eq!(node.fake.in_flight_of(Call::RunPodSandbox), 4);
    wanted.push(sleeper("fifth"));
    let began = Instant::now();
    node.want(&wanted);
    node.until("the fifth runs", Duration::from_secs(3), |node| node.is_running("fifth")).await;
    let asked = asked(&node)["fifth-node1"] - began;
    assert!(asked <= Duration::from_secs(2), "{asked:?}");
    node.fake.clear_faults();
    node.until("all run", Duration::from_secs(30), |node| names(4).iter().all(|name| node.is_running(name)))
        .await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_asks_the_runtime_once_a_second_at_most() {
    let node = running_node(&Make::new(), 50).await;
    node.fake.forget_calls();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let calls = node.fake.count_calls(|_| true);
    // Two lists each 5 s, and the runtime's own state each 5 s.
    assert!(calls <= 300, "{calls} calls in 300 s");
    node.stop().await;
}
