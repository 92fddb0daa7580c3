//! Measures Pinnace against its performance goals and prints one table. Nothing is asserted.
//!
//! `make bench` calls it, by `deploy/dev/bench`, with the released binary and two containerds. By hand:
//!
//! ```text
//! bench PINNACE [SECTION]...     relist footprint latency containerd cluster; all without one
//! bench PINNACE cluster GROUP... idle sequential burst restart exit delete: those of `cluster` alone
//! ```
//!
//! The real containerds come from `PINNACE_TEST_CONTAINERD_SOCKETS` (`debian=unix:///...,2.2=unix:///...`); that
//! section says so and is left out without them; so is `cluster` without what [`cluster`] reads. `bench serve SOCKET PODS` is the other process of `relist`.

#![expect(clippy::disallowed_methods, reason = "it measures this machine, so it reads the real clock")]

mod cluster;
mod containerd;
mod floor;
mod footprint;
mod latency;
mod machine;
mod node;
mod relist;
mod report;
mod serve;
mod wish;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use report::Report;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: bench PINNACE [relist|footprint|latency|containerd|cluster [GROUP]...]...";
const SECTIONS: [&str; 5] = ["relist", "footprint", "latency", "containerd", "cluster"];

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    match words {
        [serve, socket, pods] if serve == "serve" => serve::run(Path::new(socket), pods.parse()?),
        [binary, sections @ ..] if sections.iter().all(|word| is_known(word)) => {
            let binary =
                PathBuf::from(binary).canonicalize().with_context(|| format!("no binary at {binary}"))?;
            // As many threads as the agent has, so that the cost of waking them is the same.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(until_told(measure(&binary, sections)))
        }
        _ => bail!("{USAGE}"),
    }
}

/// A signal ends the work like an error does: subjects end, and what they changed on the machine is put back.
async fn until_told(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => bail!("ended by SIGTERM"),
        _ = tokio::signal::ctrl_c() => bail!("ended by SIGINT"),
    }
}

fn is_known(word: &str) -> bool {
    SECTIONS.contains(&word) || cluster::GROUPS.contains(&word)
}

async fn measure(binary: &Path, sections: &[String]) -> Result<()> {
    let wanted = |section: &str| sections.is_empty() || sections.iter().any(|wanted| wanted == section);
    println!("{}", machine::describe());
    let mut report = Report::default();
    if wanted("relist") {
        relist::measure(&mut report).await.context("relist")?;
    }
    if wanted("footprint") {
        footprint::measure(&mut report, binary).await.context("footprint")?;
    }
    if wanted("latency") {
        latency::measure(&mut report, binary).await.context("latency")?;
    }
    if wanted("containerd") {
        containerd::measure(&mut report, binary).await.context("containerd")?;
    }
    let groups: Vec<_> =
        sections.iter().filter(|word| cluster::GROUPS.contains(&word.as_str())).cloned().collect();
    if wanted("cluster") || !groups.is_empty() {
        cluster::measure(&mut report, binary, &groups).await.context("cluster")?;
    }
    report.end();
    Ok(())
}
