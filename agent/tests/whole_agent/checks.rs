//! The history checker itself: each invariant is shown to be able to fail.

use std::time::Duration;

use pinnace_cri::fake::{PodShape, SeedPhase, container_config, sandbox_config};

use crate::harness::history::Checker;
use crate::harness::{IMAGE, Make, NODE, desired, running, sleeper};

fn violations(checker: &Checker) -> String {
    let verified = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| checker.verify()));
    match verified {
        Ok(()) => String::new(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_a_cause_is_seen() {
    let make = Make::new();
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let id = running(&node.runtime(), "main").id.clone();
    let id = pinnace_cri::id::ContainerId::new(&id).unwrap();
    make.fake.client().stop_container(&id, Duration::from_secs(1)).await.unwrap();
    assert!(violations(&make.checker).contains("I1"), "{}", violations(&make.checker));
}

#[tokio::test(start_paused = true)]
async fn two_of_one_name_and_a_reused_attempt_are_seen() {
    let make = Make::new();
    let shape = PodShape::static_pod("x", "uid-x");
    let sandbox = make.fake.seed_sandbox(sandbox_config(&shape), Duration::ZERO);
    for _ in 0..2 {
        let config = container_config(&shape, "main", IMAGE, 0);
        make.fake.seed_container(&sandbox, config, SeedPhase::Running, Duration::ZERO).unwrap();
    }
    make.fake.seed_sandbox(sandbox_config(&shape), Duration::ZERO);
    let node = make.start_unsynced();
    make.fake.client().pull_image(Default::default(), None, None).await.unwrap();
    let said = violations(&make.checker);
    for found in ["I4: two running", "I4: two ready", "I3: attempt used twice", "I3: sandbox attempt"] {
        assert!(said.contains(found), "{found}: {said}");
    }
    drop(node);
}

#[tokio::test(start_paused = true)]
async fn left_overs_and_untrue_views_are_seen() {
    let make = Make::new();
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let shape = PodShape::static_pod("y", "uid-y");
    // Not under way: the checker is asked before the agent had time to see it.
    make.fake.seed_sandbox(sandbox_config(&shape), Duration::ZERO);
    make.fake.kill(&running(&node.runtime(), "main").id.clone());
    std::fs::create_dir_all(make.dir.path().join("logs").join(format!("default_z-{NODE}_uid-z"))).unwrap();
    let rest = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| make.checker.at_rest(&node)));
    assert!(rest.is_err());
    let said = violations(&make.checker);
    for found in ["I6: sandbox", "uid-z is of no wanted pod", "I8: view"] {
        assert!(said.contains(found), "{found}: {said}");
    }
    assert!(desired(&sleeper("web")).held.is_empty());
}
