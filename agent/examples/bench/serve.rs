//! The other process of the relist figures: a fake runtime with many pods, so that the client's CPU time is its own.
//!
//! Every line on standard input says which records differ from their first form, `none`, `some` (one pod of a
//! hundred) or `all`, and is answered by a line. Ends when its input does.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use pinnace_cri::fake::{
    Fake, FaultKind, FaultRule, Options, PodShape, SeedPhase, Select, container_config, sandbox_config,
};
use pinnace_cri::labels;

/// Short names and this padding of an annotation give records of the size that containerd sends for a pod of the
/// kubelet's: 746 and 431 bytes.
const SANDBOX_PADDING: usize = 35;
const IMAGE: &str = "busybox:1.35";

/// The namespace of the one pod of a hundred.
const SOME: &str = "ns-a";

/// Serves on `socket` until standard input ends.
pub(crate) fn run(socket: &Path, pods: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let fake = Fake::new(Options::default());
        (0..pods).for_each(|at| seed(&fake, at));
        let server = fake.serve_unix(socket).await?;
        say("ready")?;
        let answered = answer(fake).await;
        server.stop().await;
        answered
    })
}

/// One pod with a container that was made and not started: the fake needs no task for it.
fn seed(fake: &Fake, at: usize) {
    let namespace = if at.is_multiple_of(100) { SOME } else { "ns-b" };
    let name = format!("web-{at:05}");
    let uid = format!("4b6e3a1c7b1f4e55a0f4{at:012x}");
    let shape = PodShape { namespace: namespace.to_owned(), ..PodShape::static_pod(&name, &uid) };
    let mut sandbox = sandbox_config(&shape);
    sandbox.annotations.insert(labels::CONFIG_SEEN.to_owned(), "2".repeat(SANDBOX_PADDING));
    let sandbox = fake.seed_sandbox(sandbox, Duration::from_secs(600));
    let mut container = container_config(&shape, "web", IMAGE, 0);
    // Also this field was empty in containerd's.
    container.image.iter_mut().for_each(|image| image.user_specified_image.clear());
    fake.seed_container(&sandbox, container, SeedPhase::Created, Duration::from_secs(600));
}

async fn answer(fake: Fake) -> Result<()> {
    // Reads block, so they have a thread of their own; the fake goes on serving meanwhile.
    tokio::task::spawn_blocking(move || {
        for line in stdin().lock().lines() {
            fake.clear_faults();
            let lie = FaultRule::on_any(FaultKind::LieCreatedAt(1));
            match line?.as_str() {
                "none" => {}
                "some" => drop(fake.fault(lie.of(Select::any().namespace(SOME)))),
                "all" => drop(fake.fault(lie)),
                other => bail!("unknown word {other:?}"),
            }
            say("done")?;
        }
        Ok(())
    })
    .await?
}

fn say(word: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}
