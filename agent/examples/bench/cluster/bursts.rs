//! S-b and S-h: pods one by one and many at once, from the request to the watch's word.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Session, audit};
use crate::machine::{cpu_of, own_cpu};
use crate::report::{Samples, ms};
use crate::wish::Refers;

/// One pod's life.
struct Turn {
    start: Duration,
    /// What of it the runtime worked on the start.
    in_runtime: Duration,
    end: Duration,
}

impl Session<'_> {
    /// The first pod reads the runtime's binaries from disk; it counts for nothing.
    pub(super) async fn warm_up(&mut self) -> Result<()> {
        self.turn("warm", Refers::ToNothing).await.map(|_| ())
    }

    pub(super) async fn sequential(&mut self) -> Result<()> {
        let (starts, own, ends) = self.turns("turn", Refers::ToNothing).await?;
        self.add("one by one: create -> Ready, p50", "ms", ms(starts.p50()));
        self.add("one by one: create -> Ready, max", "ms", ms(starts.at(1.0)));
        self.add("one by one: create -> Ready, outside the runtime, p50", "ms", ms(own.p50()));
        self.add("one by one: create -> Ready, outside the runtime, max", "ms", ms(own.at(1.0)));
        self.add("one by one: delete -> gone, p50", "ms", ms(ends.p50()));
        self.make_objects().await?;
        let (starts, own, _) = self.turns("rich", Refers::ToObjects).await?;
        self.add("one by one, with ConfigMap and Secret: create -> Ready, p50", "ms", ms(starts.p50()));
        self.add("one by one, with them: outside the runtime, p50", "ms", ms(own.p50()));
        Ok(())
    }

    /// Times of starts, of what of them was outside the runtime, and of ends.
    async fn turns(&self, name: &str, refers: Refers) -> Result<(Samples, Samples, Samples)> {
        let (mut starts, mut own, mut ends) = (Samples::default(), Samples::default(), Samples::default());
        for turn in 0..self.setting.turns {
            let turn = self.turn(&format!("{name}{turn}"), refers).await?;
            starts.add(turn.start);
            own.add(turn.start.saturating_sub(turn.in_runtime));
            ends.add(turn.end);
        }
        Ok((starts, own, ends))
    }

    async fn turn(&self, name: &str, refers: Refers) -> Result<Turn> {
        let names = [self.subject.pod_name(name)];
        let posted = self.post(&names, refers).await?;
        self.witness.until_all("a Ready pod", &names, |seen| seen.ready.is_some()).await?;
        let start = self.times(&names, &posted, |seen| seen.ready).p50();
        let began = posted.first().copied().context("no pod was posted")?;
        let in_runtime = self.subject.in_runtime(began, began + start);
        let deleted = self.request_end(&names, false).await?;
        self.witness.until_all("the end of the pod", &names, |seen| seen.gone.is_some()).await?;
        let end = self.times(&names, &deleted, |seen| seen.gone).p50();
        Ok(Turn { start, in_runtime, end })
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
        let (cpu, others) = (cpu_of(pid)?, self.others()?);
        let posted = self.post(&names, Refers::ToNothing).await?;
        self.witness.until_all("Ready pods", &names, |seen| seen.ready.is_some()).await?;
        if !is_counted {
            return Ok(());
        }
        let cpu = cpu_of(pid)?.saturating_sub(cpu);
        let others =
            self.others()?.into_iter().zip(others).map(|((name, now), (_, then))| (name, now - then));
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
        for (name, cpu) in others {
            self.add(&format!("{title}: CPU of {name} per pod"), "ms", ms(cpu) / pods as f64);
        }
        for (call, count) in audit::since(&self.setting.audit, log, &self.subject.node)? {
            self.add(&format!("{title}: {call}"), "per pod", count as f64 / pods as f64);
        }
        Ok(())
    }

    /// CPU time so far of what shares the machine with a subject and its runtime.
    fn others(&self) -> Result<Vec<(String, Duration)>> {
        let mut all = vec![("the harness".to_owned(), own_cpu()?)];
        for (name, pid) in &self.setting.control_plane {
            all.push((name.clone(), cpu_of(*pid)?));
        }
        Ok(all)
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
