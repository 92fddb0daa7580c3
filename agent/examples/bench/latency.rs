//! How late the agent is, apart from what a runtime takes: on a fake that answers at once, in real time.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use pinnace_cri::call::Call;
use pinnace_cri::fake::{Fake, Options};
use pinnace_cri::v1::PodSandboxMetadata;

use crate::footprint::first_call;
use crate::node::{Node, Place};
use crate::report::{Report, Samples, ms};
use crate::wish::sleeper;

/// Wishes, and exits of each kind.
const WISHES: usize = 50;
const EXITS: usize = 30;
/// A step that has no common measure with any period of the agent: the exits fall anywhere into them.
const STEP: Duration = Duration::from_millis(137);

pub(crate) async fn measure(report: &mut Report, binary: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fake = Fake::new(Options::default());
    let server = fake.serve_unix(dir.path().join("fake.sock")).await?;
    let endpoint = format!("unix://{}", server.path().display());

    report.section("agent latency (fake runtime that answers at once; shown = polled every 2 ms)");
    let place = Place::new(binary, &endpoint)?;
    let (node, _) = place.start()?;
    node.until_pods("an agent that answers", |_| true).await?;
    wishes(report, &place, &node, &fake).await?;
    exits(report, "with the event stream", &place, &node, &fake, 50.0).await?;
    node.stop()?;

    fake.configure(|switches| switches.events = false);
    let place = Place::new(binary, &endpoint)?;
    let (node, _) = place.start()?;
    exits(report, "without it", &place, &node, &fake, 1100.0).await?;
    node.stop()?;
    server.stop().await;
    Ok(())
}

async fn wishes(report: &mut Report, place: &Place, node: &Node, fake: &Fake) -> Result<()> {
    let (mut called, mut shown, mut gone) = (Samples::default(), Samples::default(), Samples::default());
    for at in 0..WISHES {
        let name = format!("wish{at}");
        fake.forget_calls();
        let began = place.wish(&name, &sleeper(&name))?;
        let running = node.until_running(1).await?;
        let call = first_call(fake, Call::RunPodSandbox).context("no RunPodSandbox")?;
        called.add(call.saturating_duration_since(began));
        shown.add(running.saturating_duration_since(began));
        let began = place.unwish(&name)?;
        gone.add(
            node.until_pods("the end of the pod", <[_]>::is_empty).await?.saturating_duration_since(began),
        );
    }
    report.percentiles("manifest renamed -> RunPodSandbox", &called);
    report.at_most("manifest renamed -> RunPodSandbox, p99", ms(called.at(0.99)), "ms", 10.0);
    report.percentiles("manifest renamed -> shown Running", &shown);
    report.percentiles("manifest removed -> pod gone", &gone);
    Ok(())
}

/// `goal` of the p99 in ms.
async fn exits(
    report: &mut Report,
    kind: &str,
    place: &Place,
    node: &Node,
    fake: &Fake,
    goal: f64,
) -> Result<()> {
    let names: Vec<String> = (0..EXITS).map(|at| format!("exit{at}")).collect();
    for name in &names {
        place.wish(name, &sleeper(name))?;
    }
    node.until_running(EXITS).await?;
    let mut times = Samples::default();
    for (at, name) in names.iter().enumerate() {
        tokio::time::sleep(STEP * u32::try_from(at % 8)?).await;
        let container = container_of(fake, name);
        let began = std::time::Instant::now();
        fake.kill(&container.with_context(|| format!("no container of {name}"))?);
        times.add(node.until_exited(name).await?.saturating_duration_since(began));
    }
    report.percentiles(&format!("exit -> shown {kind}"), &times);
    report.at_most(&format!("exit -> shown {kind}, p99"), ms(times.at(0.99)), "ms", goal);
    for name in &names {
        place.unwish(name)?;
    }
    node.until_pods("the end of the pods", <[_]>::is_empty).await?;
    Ok(())
}

/// The container of the pod whose manifest has this name.
fn container_of(fake: &Fake, name: &str) -> Option<String> {
    let full = format!("{name}-bench");
    fake.look(|sandboxes, containers| {
        let of_pod = |metadata: &PodSandboxMetadata| metadata.name == full || metadata.name == name;
        let sandbox =
            sandboxes.values().find(|sandbox| sandbox.config.metadata.as_ref().is_some_and(of_pod))?;
        let container = containers.values().find(|container| container.sandbox_id == sandbox.id)?;
        Some(container.id.clone())
    })
}
