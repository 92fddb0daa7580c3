//! S-c: from SIGKILL of a container's first process to the watch's word of its end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Session;
use crate::machine::pid_with_argument;
use crate::report::{Samples, ms};
use crate::wish::mark;

/// Pods that are killed, of those of the burst.
const EXITS: usize = 30;
/// A step that has no common measure with any period of a subject: the exits fall anywhere into them.
const STEP: Duration = Duration::from_millis(137);

/// After a burst.
const SETTLE: Duration = Duration::from_secs(8);

impl Session<'_> {
    pub(super) async fn exits(&mut self, pods: usize) -> Result<()> {
        // What a burst left to tell is told by then.
        tokio::time::sleep(SETTLE).await;
        let mut times = Samples::default();
        // Not all: a delete of running pods comes next.
        for at in 0..EXITS.min(pods / 2) {
            let name = self.subject.pod_name(&format!("b{pods}-{at}"));
            tokio::time::sleep(STEP * u32::try_from(at % 8)?).await;
            let pid = pid_with_argument(&mark(&name)).with_context(|| format!("no process of {name}"))?;
            let began = Instant::now();
            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
            let names = [name];
            self.witness.until_all("the exit", &names, |seen| seen.terminated.is_some()).await?;
            let seen = self.witness.pods();
            let (end, code) = names.first().and_then(|name| seen.get(name)?.terminated).context("no exit")?;
            ensure!(code == 137, "the exit code is {code}, not 137");
            times.add(end.saturating_duration_since(began));
        }
        self.add("exit -> terminated in the API, p50", "ms", ms(times.p50()));
        self.add("exit -> terminated in the API, p99", "ms", ms(times.at(0.99)));
        Ok(())
    }
}
