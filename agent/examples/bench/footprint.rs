//! S-g and S-a in short: size, memory, idle cost and start of the released binary, beside a fake runtime in this
//! process.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pinnace_cri::call::Call;
use pinnace_cri::fake::{Fake, Options};

use crate::machine::{cpu_of, memory_of, wakeups_between, wakeups_of};
use crate::node::{Node, Place};
use crate::report::{Report, Samples, ms};
use crate::wish::sleeper;

/// Before an idle figure is taken, and how long it is taken for.
const SETTLE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(20);
/// Pods of the second idle window.
const PODS: usize = 30;
/// Cold starts with one pod, and with many.
const STARTS: usize = 10;
const FULL_STARTS: usize = 3;
const FULL: usize = 20;

pub(crate) async fn measure(report: &mut Report, binary: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fake = Fake::new(Options::default());
    let server = fake.serve_unix(dir.path().join("fake.sock")).await?;
    let endpoint = format!("unix://{}", server.path().display());

    report.section("S-g footprint (fake runtime)");
    size(report, binary)?;
    starts(report, binary, &endpoint, &fake).await?;
    report.section(&format!(
        "S-a idle, {} s after {} s of settling (fake runtime)",
        WINDOW.as_secs(),
        SETTLE.as_secs()
    ));
    idle(report, binary, &endpoint, &fake).await?;
    server.stop().await;
    Ok(())
}

fn size(report: &mut Report, binary: &Path) -> Result<()> {
    let bytes = std::fs::read(binary)?;
    report.at_most("stripped binary", bytes.len() as f64 / 1e6, "MB", 10.0);
    let mut gzip = Command::new("gzip").arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = gzip.stdin.take().context("no standard input")?;
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let packed = gzip.wait_with_output()?.stdout.len();
    ensure!(writer.join().is_ok_and(|written| written.is_ok()), "gzip did not read the binary");
    report.at_most("the same by gzip -9", packed as f64 / 1e6, "MB", 3.0);
    Ok(())
}

/// From exec on a root directory without a past.
async fn starts(report: &mut Report, binary: &Path, endpoint: &str, fake: &Fake) -> Result<()> {
    let (mut first, mut shown) = (Samples::default(), Samples::default());
    for _ in 0..STARTS {
        let (sandbox, running) = start(binary, endpoint, fake, 1).await?;
        first.add(sandbox);
        shown.add(running);
    }
    report.at_most("exec -> RunPodSandbox of 1 static pod, p50 of 10", ms(first.p50()), "ms", 60.0);
    report.plain("exec -> RunPodSandbox of 1 static pod, max", ms(first.at(1.0)), "ms");
    report.plain("exec -> that pod shown Running, p50", ms(shown.p50()), "ms");
    let mut full = Samples::default();
    for _ in 0..FULL_STARTS {
        full.add(start(binary, endpoint, fake, FULL).await?.1);
    }
    report.plain("exec -> 20 static pods shown Running, p50 of 3", ms(full.p50()), "ms");
    Ok(())
}

async fn start(binary: &Path, endpoint: &str, fake: &Fake, pods: usize) -> Result<(Duration, Duration)> {
    let place = Place::new(binary, endpoint)?;
    wish_many(&place, pods)?;
    fake.forget_calls();
    let (node, began) = place.start()?;
    let running = node.until_running(pods).await?;
    let sandbox = first_call(fake, Call::RunPodSandbox).context("no RunPodSandbox")?;
    node.stop()?;
    fake.restart_with_amnesia();
    Ok((sandbox.saturating_duration_since(began), running.saturating_duration_since(began)))
}

fn wish_many(place: &Place, pods: usize) -> Result<()> {
    for at in 0..pods {
        let name = format!("p{at}");
        place.wish(&name, &sleeper(&name))?;
    }
    Ok(())
}

/// When the first call of this kind arrived that is still in the log.
pub(crate) fn first_call(fake: &Fake, call: Call) -> Option<Instant> {
    fake.calls().iter().find(|record| record.call == call).map(|record| record.began.into_std())
}

async fn idle(report: &mut Report, binary: &Path, endpoint: &str, fake: &Fake) -> Result<()> {
    let place = Place::new(binary, endpoint)?;
    let (node, _) = place.start()?;
    window(report, &node, fake, 0, 60.0, 12.0).await?;
    wish_many(&place, PODS)?;
    node.until_running(PODS).await?;
    window(report, &node, fake, PODS, 80.0, 10.0).await?;
    restart(report, &place, node, fake).await?;
    fake.restart_with_amnesia();
    Ok(())
}

/// `cpu` in ms per minute and `rss` in MiB are the goals.
async fn window(
    report: &mut Report,
    node: &Node,
    fake: &Fake,
    pods: usize,
    cpu: f64,
    rss: f64,
) -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    fake.forget_calls();
    let (cpu_before, wakeups_before) = (cpu_of(node.pid())?, wakeups_of(node.pid())?);
    tokio::time::sleep(WINDOW).await;
    let used = cpu_of(node.pid())?.saturating_sub(cpu_before);
    let wakeups = wakeups_between(&wakeups_before, &wakeups_of(node.pid())?);
    let per_minute = 60.0 / WINDOW.as_secs_f64();
    report.at_most(&format!("{pods} pods: CPU per minute"), ms(used) * per_minute, "ms", cpu);
    report.plain(&format!("{pods} pods: wake-ups per second"), wakeups as f64 / WINDOW.as_secs_f64(), "");
    let calls = fake.count_calls(|_| true) as f64;
    report.plain(&format!("{pods} pods: CRI calls per minute"), calls * per_minute, "");
    let memory = memory_of(node.pid())?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    report.at_most(&format!("{pods} pods: RSS"), mib(memory.rss), "MiB", rss);
    report.plain(&format!("{pods} pods: PSS"), mib(memory.pss), "MiB");
    report.plain(&format!("{pods} pods: of it anonymous"), mib(memory.anonymous), "MiB");
    Ok(())
}

/// S-f in short: killed and started again beside its pods.
async fn restart(report: &mut Report, place: &Place, node: Node, fake: &Fake) -> Result<()> {
    drop(node);
    fake.forget_calls();
    let (node, began) = place.start()?;
    let running = node.until_running(PODS).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let taken = ms(running.saturating_duration_since(began));
    report.at_most(&format!("restart beside {PODS} pods -> all shown Running"), taken, "ms", 60.0);
    report.plain("CRI calls in it and the second after", fake.count_calls(|_| true) as f64, "");
    let touched = fake.count_calls(|record| matches!(record.call, Call::RunPodSandbox | Call::StopContainer));
    report.at_most("pods disturbed by it", touched as f64, "", 0.0);
    node.stop()
}
