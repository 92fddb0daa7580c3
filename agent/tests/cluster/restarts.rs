//! The agent is killed and starts again: nobody outside may notice (#3, B34, B36).

use std::time::{Duration, Instant};

use crate::admin::is_ready;
use crate::case::{Case, WAIT, deployment};
use crate::control_plane::ControlPlane;
use crate::say;
use crate::witness::Witness;

/// Ready pods, and the same with `PINNACE_TEST_ALL=1`.
const PODS: (usize, usize) = (20, 50);
/// Kills, and the same with `PINNACE_TEST_ALL=1`.
const KILLS: (usize, usize) = (3, 20);

pub(crate) fn b34_b36_kill_9_and_start_change_nothing_that_others_see(cluster: &ControlPlane) {
    let all = std::env::var_os("PINNACE_TEST_ALL").is_some();
    let (count, kills) = if all { (PODS.1, KILLS.1) } else { (PODS.0, KILLS.0) };
    let mut case = Case::on("2.2", cluster, "kills");
    case.namespace.create(&deployment("steady", count, WAIT));
    case.until_pods("Ready pods", Instant::now(), |pods| {
        (pods.len() == count && pods.iter().all(is_ready)).then_some(())
    });
    let witness = Witness::of(cluster, &case.namespace.name, &case.agent.name);
    case.agent.until("a witness", Instant::now(), Duration::from_secs(10), || {
        if witness.objects() == count + 1 { Ok(()) } else { Err(witness.objects().to_string()) }
    });
    let before = containers(&case);
    for _ in 0..kills {
        case.agent.kill();
        case.agent.launch();
        // Longer than a round of the node's status, so that each start has said all that it says.
        std::thread::sleep(Duration::from_secs(12));
    }
    let changes = witness.changes();
    assert!(changes.is_empty(), "{changes:#?}\n{}", case.agent.describe());
    assert_eq!(containers(&case), before);
    case.agent.a80_was_never_refused();
    say(&format!("kill -9 and start, {kills} times with {count} Ready pods: 0 transitions, 0 restarts"));
}

/// Ids of the running containers that the node made.
pub(crate) fn containers(case: &Case<'_>) -> std::collections::BTreeSet<String> {
    let listed = case.agent.runtime.containers(&case.agent.name);
    let running = listed.iter().filter(|container| container["state"] == "CONTAINER_RUNNING");
    running.filter_map(|container| container["id"].as_str().map(str::to_owned)).collect()
}
