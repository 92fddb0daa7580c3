//! B31, scaled: the agent is killed at random moments while pods come, run, end and go beside witnesses.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::history::Seen;
use super::plan::Seed;
use super::rig::{Rig, pod, sleeper};
use super::scenarios::is_running;

/// Pods that nothing happens to.
const WITNESSES: usize = 30;
/// Jobs and sleepers that are there at a time.
const CHURNING: usize = 6;

/// Kills the agent again and again; no witness may change, and no exit code may be lost.
pub async fn survive_kills(mut seed: Seed) {
    let kills = if std::env::var_os("PINNACE_TEST_ALL").is_some() { 200 } else { 30 };
    let began = Instant::now();
    let shown = seed;
    let mut rig = Rig::new(None).await;
    for witness in 0..WITNESSES {
        rig.write(&format!("witness-{witness}"), &sleeper(&format!("witness-{witness}")));
    }
    let all = |seen: &Seen| (0..WITNESSES).all(|witness| is_running(seen, &format!("witness-{witness}"), 1));
    let before =
        witnesses(&rig.until("all witnesses run", all).await.unwrap_or_else(|error| panic!("{error}")));

    let mut jobs = Jobs::default();
    for _ in 0..kills {
        jobs.churn(&mut rig, &mut seed);
        let moment = Duration::from_millis(seed.next() % 600);
        let until = Instant::now() + moment;
        rig.until("the moment has come", |_| Instant::now() >= until)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        jobs.collect(&mut rig, false).await;
        rig.kill().await;
        sleep(Duration::from_millis(seed.next() % 20)).await;
    }
    jobs.collect(&mut rig, true).await;
    let seen = rig.until("all witnesses are seen", all).await.unwrap_or_else(|error| panic!("{error}"));
    let broken =
        if before == witnesses(&seen) { rig.finish().await } else { vec!["a witness changed".to_owned()] };
    println!(
        "b31: {kills} kills, {} jobs, {WITNESSES} witnesses, seed {shown}, {:?}",
        jobs.done,
        began.elapsed()
    );
    assert!(broken.is_empty(), "seed {shown}: {}", broken.join("\n"));
}

/// Ids of the witnesses' containers.
fn witnesses(seen: &Seen) -> BTreeMap<String, Option<String>> {
    let witness = seen.containers.iter().filter(|container| container.pod.starts_with("witness-"));
    witness.map(|container| (container.pod.clone(), container.id.clone())).collect()
}

/// Pods that come and go, with the exit code that each must show.
#[derive(Debug, Default)]
struct Jobs {
    open: BTreeMap<String, i32>,
    made: usize,
    done: usize,
}

impl Jobs {
    /// Fills up with jobs that end with a code of their own after a moment.
    fn churn(&mut self, rig: &mut Rig, seed: &mut Seed) {
        while self.open.len() < CHURNING {
            let name = format!("job-{}", self.made);
            let code = i32::try_from(seed.next() % 100).unwrap();
            let script = format!("sleep 0.0{}; exit {code}", seed.next() % 10);
            rig.write(&name, &job(&name, &script));
            self.open.insert(name, code);
            self.made += 1;
        }
    }

    /// Compares the codes of the jobs that have ended and removes them; waits for all of them if told so.
    async fn collect(&mut self, rig: &mut Rig, wait: bool) {
        while !self.open.is_empty() {
            let names: Vec<String> = self.open.keys().cloned().collect();
            let seen = rig.until("the agent answers", |seen| {
                !wait || names.iter().any(|name| code_of(seen, name).is_some())
            });
            let seen = seen.await.unwrap_or_else(|error| panic!("{error}"));
            for name in names {
                let Some(code) = code_of(&seen, &name) else { continue };
                assert_eq!(Some(&code), self.open.get(&name), "exit code of {name}");
                rig.remove(&name);
                self.open.remove(&name);
                self.done += 1;
            }
            if !wait {
                return;
            }
        }
        if wait {
            let gone =
                |seen: &Seen| seen.pods.len() == WITNESSES && seen.runtime.sandboxes.len() == WITNESSES;
            rig.until("all jobs are gone", gone).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

fn job(name: &str, script: &str) -> Value {
    pod(name, "Never", &[("main", &["sh", "-c", script])])
}

/// The exit code of the job, once its pod has ended.
fn code_of(seen: &Seen, name: &str) -> Option<i32> {
    let full = format!("{name}-{}", super::child::NODE);
    let pod = seen.pods.iter().find(|pod| pod.name == full)?;
    let over = matches!(pod.phase.as_str(), "Succeeded" | "Failed");
    let container = seen.containers.iter().find(|container| container.pod == full)?;
    over.then_some(container.exit_code).flatten()
}
