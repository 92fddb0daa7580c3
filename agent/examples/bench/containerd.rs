//! The same on real containerds, beside the floor: a bare client that makes the same calls for the same pods.
//!
//! Floor and agent take turns, so that a busy machine slows both.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::floor::Floor;
use crate::machine::{cpu_of, pid_with_argument};
use crate::node::{Node, Place};
use crate::report::{Report, Samples, ms};
use crate::wish::{command, mark, pod};

/// Where `deploy/dev/bench` says which containerds there are.
const SOCKETS: &str = "PINNACE_TEST_CONTAINERD_SOCKETS";
/// Pods one after the other, and pods of the burst, each of which is killed then.
const TURNS: usize = 10;
const BURST: usize = 20;
/// Between two looks during the burst, so that the agent's CPU time is hardly that of our questions.
const RARELY: Duration = Duration::from_millis(100);
/// See the latencies on the fake.
const STEP: Duration = Duration::from_millis(137);

pub(crate) async fn measure(report: &mut Report, binary: &Path) -> Result<()> {
    let sockets = std::env::var(SOCKETS).unwrap_or_default();
    if sockets.is_empty() {
        report.note(&format!("\nreal containerds: left out, {SOCKETS} names none"));
    }
    for (version, endpoint) in sockets.split(',').filter_map(|entry| entry.split_once('=')) {
        report.section(&format!("containerd {version} (shown = polled every 2 ms)"));
        let place = Place::new(binary, endpoint)?;
        let floor = Floor::new(endpoint, place.path("floor-logs"), false)?;
        let (node, _) = place.start()?;
        node.until_pods("an agent that answers", |_| true).await?;
        one_by_one(report, &floor, &place, &node).await.with_context(|| format!("containerd {version}"))?;
        let streams = floor.client.events().await.is_ok();
        burst(report, &place, &node, streams).await.with_context(|| format!("containerd {version}"))?;
        node.stop()?;
    }
    Ok(())
}

#[derive(Default)]
struct Times {
    start: Samples,
    teardown: Samples,
}

/// The first turn of each is not counted: it reads the runtime's binaries from disk.
async fn one_by_one(report: &mut Report, bare: &Floor, place: &Place, node: &Node) -> Result<()> {
    let (mut floor, mut agent) = (Times::default(), Times::default());
    for turn in 0..=TURNS {
        let bare = bare_pod(bare, turn).await?;
        let ours = agent_pod(place, node, turn).await?;
        if turn > 0 {
            floor.start.add(bare.0);
            floor.teardown.add(bare.1);
            agent.start.add(ours.0);
            agent.teardown.add(ours.1);
        }
    }
    for (what, floor, agent) in
        [("start", &floor.start, &agent.start), ("teardown", &floor.teardown, &agent.teardown)]
    {
        report.plain(&format!("{what} of a pod, bare client, p50 of {TURNS}"), ms(floor.p50()), "ms");
        report.plain(&format!("{what} of a pod, bare client, max"), ms(floor.at(1.0)), "ms");
        report.plain(&format!("{what} of a pod by manifest, p50 of {TURNS}"), ms(agent.p50()), "ms");
        report.plain(&format!("{what} of a pod by manifest, max"), ms(agent.at(1.0)), "ms");
        let ratio = agent.p50().as_secs_f64() / floor.p50().as_secs_f64();
        report.plain(&format!("{what}: manifest to bare client, by p50"), ratio, "x");
        if what == "start" {
            let overhead = ms(agent.p50()) - ms(floor.p50());
            report.at_most("start: overhead over the floor, p50", overhead, "ms", 15.0);
        }
    }
    Ok(())
}

/// Start and teardown by the fewest calls.
async fn bare_pod(floor: &Floor, turn: usize) -> Result<(Duration, Duration)> {
    let began = Instant::now();
    let made = floor.start(&format!("floor{turn}")).await?;
    let started = began.elapsed();
    let began = Instant::now();
    floor.end(made).await?;
    Ok((started, began.elapsed()))
}

async fn agent_pod(place: &Place, node: &Node, turn: usize) -> Result<(Duration, Duration)> {
    let name = format!("turn{turn}");
    let began = place.wish(&name, &pod(&name, &command(&mark(&name))))?;
    let running = node.until_running(1).await?;
    let ended = place.unwish(&name)?;
    let gone = node.until_pods("the end of the pod", <[_]>::is_empty).await?;
    Ok((running.saturating_duration_since(began), gone.saturating_duration_since(ended)))
}

async fn burst(report: &mut Report, place: &Place, node: &Node, streams: bool) -> Result<()> {
    let names: Vec<String> = (0..BURST).map(|at| format!("burst{at}")).collect();
    let (began, cpu) = (Instant::now(), cpu_of(node.pid())?);
    for name in &names {
        place.wish(name, &pod(name, &command(&mark(name))))?;
    }
    let rate = |ended: Instant, began| BURST as f64 / ended.saturating_duration_since(began).as_secs_f64();
    let running = node.until_running_by(BURST, RARELY).await?;
    report.plain(&format!("{BURST} manifests at once -> all Running"), rate(running, began), "pods/s");
    let cpu = cpu_of(node.pid())?.saturating_sub(cpu);
    report.at_most("agent CPU per pod of it, our looks included", ms(cpu) / BURST as f64, "ms", 3.0);
    exits(report, node, &names, streams).await?;
    let began = Instant::now();
    for name in &names {
        place.unwish(name)?;
    }
    let gone = node.until_pods("the end of the pods", <[_]>::is_empty).await?;
    report.plain(&format!("{BURST} exited pods removed at once -> all gone"), rate(gone, began), "pods/s");
    Ok(())
}

/// S-c, up to the agent's own view.
async fn exits(report: &mut Report, node: &Node, names: &[String], streams: bool) -> Result<()> {
    let mut times = Samples::default();
    for (at, name) in names.iter().enumerate() {
        tokio::time::sleep(STEP * u32::try_from(at % 8)?).await;
        let pid = pid_with_argument(&mark(name)).with_context(|| format!("no process of {name}"))?;
        let began = Instant::now();
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        times.add(node.until_exited(name).await?.saturating_duration_since(began));
    }
    report.percentiles("SIGKILL -> exit shown", &times);
    // Without the stream the next list finds it: a second later at most, as with the kubelet.
    let (what, goal) =
        if streams { ("with the event stream", 100.0) } else { ("without an event stream", 1100.0) };
    report.at_most(&format!("SIGKILL -> exit shown {what}, p99"), ms(times.at(0.99)), "ms", goal);
    Ok(())
}
