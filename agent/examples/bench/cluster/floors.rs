//! The floor's turn: the same pods by the fewest calls, at the concurrency that is best for the runtime.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};

use super::setting::Setting;
use super::table::Table;
use crate::floor::{Floor, Made};
use crate::report::{Samples, ms};

const NAME: &str = "floor";
/// The best of these counts. Above 8 nothing is gained on two CPUs.
const CONCURRENCIES: [usize; 2] = [4, 8];

pub(super) async fn measure(setting: &Setting, table: &mut Table) -> Result<()> {
    eprintln!("bench: {NAME}");
    let dir = tempfile::tempdir()?;
    let floor = Floor::new(&setting.runtime(NAME)?.endpoint, dir.path().to_owned(), true)?;
    floor.end(floor.start("warm").await?).await?;
    if setting.wants("sequential") {
        let mut starts = Samples::default();
        for turn in 0..setting.turns {
            let began = Instant::now();
            let made = floor.start(&format!("turn{turn}")).await?;
            starts.add(began.elapsed());
            floor.end(made).await?;
        }
        table.add("one by one: create -> Ready, p50", "ms", NAME, ms(starts.p50()));
        table.add("one by one: create -> Ready, max", "ms", NAME, ms(starts.at(1.0)));
    }
    if setting.wants("exit") {
        let mut ends = Samples::default();
        for turn in 0..setting.turns {
            let made = floor.start(&format!("exit{turn}")).await?;
            ends.add(floor.exit(&made).await?);
            floor.end(made).await?;
        }
        table.add("exit -> terminated in the API, p50", "ms", NAME, ms(ends.p50()));
        table.add("exit -> terminated in the API, p99", "ms", NAME, ms(ends.at(0.99)));
    }
    for &pods in &setting.sizes {
        if setting.wants("burst") || setting.wants("delete") {
            bursts(&floor, setting, table, pods).await?;
        }
    }
    Ok(())
}

struct Burst {
    starts: Samples,
    started: Duration,
    ended: Duration,
}

async fn bursts(floor: &Floor, setting: &Setting, table: &mut Table, pods: usize) -> Result<()> {
    let (mut best, mut best_end) = (None::<Burst>, Duration::MAX);
    for width in CONCURRENCIES {
        let burst = burst(floor, pods, width).await?;
        best_end = best_end.min(burst.ended);
        if best.as_ref().is_none_or(|best| burst.started < best.started) {
            best = Some(burst);
        }
    }
    let (Some(best), title) = (best, format!("burst of {pods}")) else { return Ok(()) };
    if setting.wants("burst") {
        for (part, share) in [("first", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            table.add(&format!("{title}: create -> Ready, {part}"), "ms", NAME, ms(best.starts.at(share)));
        }
        let rate = pods as f64 / best.started.as_secs_f64();
        table.add(&format!("{title}: started"), "pods/s", NAME, rate);
    }
    if setting.wants("delete") {
        let rate = pods as f64 / best_end.as_secs_f64();
        table.add(&format!("delete {pods}: ended"), "pods/s", NAME, rate);
    }
    Ok(())
}

/// Times count from the beginning, as all pods are wanted then.
async fn burst(floor: &Floor, pods: usize, width: usize) -> Result<Burst> {
    let (began, mut starts) = (Instant::now(), Samples::default());
    let calls = (0..pods).map(|at| async move {
        let made = floor.start(&format!("w{width}-{pods}-{at}")).await?;
        anyhow::Ok((made, began.elapsed()))
    });
    let made: Vec<(Made, Duration)> =
        futures::stream::iter(calls).buffer_unordered(width).try_collect().await?;
    let started = began.elapsed();
    let began = Instant::now();
    for (_, time) in &made {
        starts.add(*time);
    }
    let ends = made.into_iter().map(|(made, _)| floor.end(made));
    futures::stream::iter(ends).buffer_unordered(8).try_collect::<Vec<()>>().await?;
    Ok(Burst { starts, started, ended: began.elapsed() })
}
