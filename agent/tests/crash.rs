//! The agent dies at any instruction, and nothing comes of it: B30 at every point, B31 at random moments, A46 in a pull.
//!
//! `PINNACE_TEST_ALL=1` plays every point instead of a sample, `PINNACE_TEST_SEED` repeats a sample, and
//! `PINNACE_TEST_POINT=Edit:17` plays one point and prints what the agent logged.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test"
)]

#[path = "crash/child.rs"]
mod child;
#[path = "crash/churn.rs"]
mod churn;
#[path = "crash/history.rs"]
mod history;
#[path = "crash/history_tests.rs"]
mod history_tests;
#[path = "crash/plan.rs"]
mod plan;
#[path = "crash/points.rs"]
mod points;
#[path = "crash/pulls.rs"]
mod pulls;
#[path = "crash/rig.rs"]
mod rig;
#[path = "crash/scenarios.rs"]
mod scenarios;

use std::path::Path;

use plan::{Seed, count_points, play_all};
use scenarios::Scenario;

/// Points in an ordinary run, spread over the scenarios.
const SAMPLE: usize = 200;

/// Not a test by itself: the process that dies is this program again.
#[test]
fn the_agent() {
    if let Some(dir) = std::env::var_os(child::RUN_DIR) {
        child::run(Path::new(&dir));
    }
}

/// The same, for the process that dies in a pull.
#[test]
fn the_puller() {
    if let Some(dir) = std::env::var_os(pulls::PULL_DIR) {
        pulls::run(Path::new(&dir));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a46_a_death_at_any_point_of_a_pull_never_makes_an_image_look_preloaded() {
    let began = tokio::time::Instant::now();
    let step = if std::env::var_os("PINNACE_TEST_ALL").is_some() { 1 } else { 4 };
    let (points, pairs) = pulls::survive_deaths(step).await;
    let scale = if step == 1 { "all" } else { "scaled, a quarter" };
    println!("a46: {points} points of a pull, {pairs} pairs of deaths ({scale}), {:?}", began.elapsed());
    assert!(points >= 14, "{points} points");
}

#[tokio::test(flavor = "multi_thread")]
async fn a46_a_full_disk_never_makes_an_image_look_preloaded() {
    pulls::survive_a_full_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a46_what_is_no_record_is_verified() {
    pulls::survive_corruption().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b30_a_death_at_any_point_breaks_nothing() {
    if let Ok(only) = std::env::var("PINNACE_TEST_POINT") {
        return plan::play_one(&only).await;
    }
    let seed = Seed::of_environment();
    let began = tokio::time::Instant::now();
    let counted = count_points().await;
    let total: usize = counted.iter().map(|(_, points)| points).sum();
    let all = std::env::var_os("PINNACE_TEST_ALL").is_some();
    let chosen = if all { seed.shuffled(&counted, total) } else { seed.shuffled(&counted, SAMPLE) };
    let played = chosen.len();
    let (failures, deaths) = play_all(chosen).await;
    println!(
        "b30: {played} of {total} points in {} scenarios, {deaths} deaths, seed {seed}, {:?}",
        Scenario::ALL.len(),
        began.elapsed()
    );
    assert!(failures.is_empty(), "seed {seed}: {} failures:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b31_kills_at_random_moments_change_no_witness() {
    churn::survive_kills(Seed::of_environment()).await;
}
