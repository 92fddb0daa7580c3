//! Which points are played, and how: several at a time, each in a run of its own.

use std::hash::{BuildHasher, Hasher};

use tokio::task::JoinSet;

use super::rig::Rig;
use super::scenarios::Scenario;

/// Runs at a time: they wait more than they compute.
const AT_ONCE: usize = 6;

/// Repeats a choice.
#[derive(Debug, Clone, Copy)]
pub struct Seed(u64);

impl std::fmt::Display for Seed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl Seed {
    /// The one that is asked for, else another one each time.
    pub fn of_environment() -> Self {
        let asked = std::env::var("PINNACE_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        Self(asked.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish() >> 16))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// About so many points, as many of each scenario as of any other.
    pub fn shuffled(mut self, counted: &[(Scenario, usize)], about: usize) -> Vec<(Scenario, u64)> {
        let all = counted.iter().map(|(_, points)| points).sum();
        let each = if about >= all { all } else { about.div_ceil(counted.len()) };
        let mut chosen = Vec::new();
        for (scenario, points) in counted {
            let mut points: Vec<u64> = (1..=*points as u64).collect();
            for place in (1..points.len()).rev() {
                let other = self.next() as usize % (place + 1);
                points.swap(place, other);
            }
            chosen.extend(points.into_iter().take(each).map(|point| (*scenario, point)));
        }
        chosen
    }
}

/// Plays each scenario once without a death; how many points each has. What breaks here breaks without a crash.
pub async fn count_points() -> Vec<(Scenario, usize)> {
    let mut counted = Vec::new();
    let mut runs = JoinSet::new();
    let mut left = Scenario::ALL.into_iter();
    loop {
        while runs.len() < AT_ONCE
            && let Some(scenario) = left.next()
        {
            runs.spawn(async move { (scenario, play(scenario, None).await) });
        }
        let Some(ended) = runs.join_next().await else { break };
        let (scenario, run) = ended.unwrap();
        assert!(run.failure.is_none(), "{scenario:?} without a death: {}", run.failure.unwrap_or_default());
        counted.push((scenario, run.points.len()));
    }
    counted.sort_by_key(|(scenario, _)| Scenario::ALL.iter().position(|one| one == scenario));
    counted
}

/// What came of one run.
struct Run {
    failure: Option<String>,
    points: Vec<String>,
    deaths: u32,
}

async fn play(scenario: Scenario, fatal: Option<u64>) -> Run {
    let mut rig = Rig::new(fatal).await;
    let played = scenario.play(&mut rig).await;
    let (points, deaths) = (rig.points(), rig.deaths);
    let mut text = String::new();
    if let Err(error) = played {
        text = error;
    }
    let log = rig.describe().await;
    let broken = rig.finish().await;
    if !broken.is_empty() {
        text = format!("{text}{}\n{log}", broken.join("\n"));
    }
    Run { failure: (!text.is_empty()).then_some(text), points, deaths }
}

/// Plays these points; the failures, and how often an agent died.
pub async fn play_all(chosen: Vec<(Scenario, u64)>) -> (Vec<String>, u32) {
    let (mut failures, mut deaths) = (Vec::new(), 0);
    let mut runs = JoinSet::new();
    let mut left = chosen.into_iter();
    loop {
        while runs.len() < AT_ONCE
            && let Some((scenario, point)) = left.next()
        {
            runs.spawn(async move { (scenario, point, play(scenario, Some(point)).await) });
        }
        let Some(ended) = runs.join_next().await else { break };
        let (scenario, point, run) = ended.unwrap();
        deaths += run.deaths;
        if let Some(failure) = run.failure {
            let at = run.points.get(point as usize - 1).cloned().unwrap_or_default();
            failures.push(format!("--- PINNACE_TEST_POINT={scenario:?}:{point} ({at}): {failure}"));
        }
    }
    (failures, deaths)
}

/// Plays one point, named as a failure names it.
pub async fn play_one(named: &str) {
    let (name, point) = named.split_once(':').unwrap();
    let scenario = Scenario::ALL.into_iter().find(|scenario| format!("{scenario:?}") == name).unwrap();
    let run = play(scenario, Some(point.parse().unwrap())).await;
    println!("{}", run.points.join("\n"));
    assert!(run.failure.is_none(), "{}", run.failure.unwrap_or_default());
}
