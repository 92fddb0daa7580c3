//! S-b and S-h: pods one by one and many at once, from the request to the watch's word.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Session, audit};
use crate::machine::cpu_of;
use crate::report::{Samples, ms};

impl Session<'_> {
    /// The first pod reads the runtime's binaries from disk; it counts for nothing.
    pub(super) async fn warm_up(&mut self) -> Result<()> {
        self.turn("warm").await.map(|_| ())
    }

    pub(super) async fn sequential(&mut self) -> Result<()> {
        let (mut starts, mut ends) = (Samples::default(), Samples::default());
        for turn in 0..self.setting.turns {
            let (start, end) = self.turn(&format!("turn{turn}")).await?;
            starts.add(start);
            ends.add(end);
        }
        self.add("one by one: create -> Ready, p50", "ms", ms(starts.p50()));
        self.add("one by one: create -> Ready, max", "ms", ms(starts.at(1.0)));
        self.add("one by one: delete -> gone, p50", "ms", ms(ends.p50()));
        Ok(())
    }

    async fn turn(&self, name: &str) -> Result<(Duration, Duration)> {
        let names = [self.subject.pod_name(name)];
        let posted = self.post(&names).await?;
        self.witness.until_all("a Ready pod", &names, |seen| seen.ready.is_some()).await?;
        let starts = self.times(&names, &posted, |seen| seen.ready);
        let deleted = self.request_end(&names, false).await?;
        self.witness.until_all("the end of the pod", &names, |seen| seen.gone.is_some()).await?;
        let ends = self.times(&names, &deleted, |seen| seen.gone);
        Ok((starts.p50(), ends.p50()))
    }

    fn times(
        &self,
        names: &[String],
        began: &[Instant],
        end: impl Fn(&super::witness::Seen) -> Option<Instant>,
    ) -> Samples {
        let (pods, mut times) = (self.witness.pods(), Samples::default());
        for (name, began) in names.iter().zip(began) {
            if let Some(end) = pods.get(name).and_then(&end) {
                times.add(end.saturating_duration_since(*began));
            }
        }
        times
    }

    /// Leaves the pods running.
    pub(super) async fn burst(&mut self, pods: usize, is_counted: bool) -> Result<()> {
        let names: Vec<_> = (0..pods).map(|at| self.subject.pod_name(&format!("b{pods}-{at}"))).collect();
        let (log, pid) = (audit::end(&self.setting.audit)?, self.subject.pid()?);
        let cpu = cpu_of(pid)?;
        let posted = self.post(&names).await?;
        self.witness.until_all("Ready pods", &names, |seen| seen.ready.is_some()).await?;
        if !is_counted {
            return Ok(());
        }
        let cpu = cpu_of(pid)?.saturating_sub(cpu);
        let times = self.times(&names, &posted, |seen| seen.ready);
        let last = self.witness.pods().into_values().filter_map(|seen| seen.ready).max();
        let whole =
            last.zip(posted.first().copied()).map(|(last, first)| last.saturating_duration_since(first));
        let whole = whole.context("no pod was seen Ready")?.as_secs_f64();
        let title = format!("burst of {pods}");
        for (part, share) in [("first", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            self.add(&format!("{title}: create -> Ready, {part}"), "ms", ms(times.at(share)));
        }
        self.add(&format!("{title}: started"), "pods/s", pods as f64 / whole);
        self.add(&format!("{title}: own CPU per pod"), "ms", ms(cpu) / pods as f64);
        for (call, count) in audit::since(&self.setting.audit, log, &self.subject.node)? {
            self.add(&format!("{title}: {call}"), "per pod", count as f64 / pods as f64);
        }
        Ok(())
    }

    /// Only running pods count: those that have exited go at once and flatter the figure.
    pub(super) async fn delete(&mut self, is_counted: bool) -> Result<()> {
        let seen = self.witness.pods();
        let over = |name: &String| seen.get(name).is_some_and(|seen| seen.terminated.is_some());
        let (over, running): (Vec<_>, Vec<_>) = self.standing().into_iter().partition(over);
        self.request_end(&over, false).await?;
        self.witness.until_all("the end of exited pods", &over, |seen| seen.gone.is_some()).await?;
        self.subject.settle(running.len()).await?;
        let deleted = self.request_end(&running, false).await?;
        self.witness.until_all("the end of the pods", &running, |seen| seen.gone.is_some()).await?;
        let pods = running.len() + over.len();
        let times = self.times(&running, &deleted, |seen| seen.gone);
        if is_counted && !running.is_empty() {
            self.add(&format!("delete {pods}: delete -> gone, p50"), "ms", ms(times.p50()));
            self.add(&format!("delete {pods}: delete -> gone, p99"), "ms", ms(times.at(0.99)));
            let gone = self.witness.pods().into_iter().filter(|(name, _)| running.contains(name));
            let last = gone.filter_map(|(_, seen)| seen.gone).max().zip(deleted.first().copied());
            if let Some((last, first)) = last {
                let whole = last.saturating_duration_since(first).as_secs_f64();
                self.add(&format!("delete {pods}: ended"), "pods/s", running.len() as f64 / whole);
            }
            let left = self.subject.left_over().await?;
            self.add(&format!("delete {pods}: left over"), "things", left as f64);
        }
        Ok(())
    }
}
