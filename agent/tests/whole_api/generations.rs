//! Another pod of the same name, with a UID of its own.

use std::time::Duration;

use pinnace_cri::fake::{OnTerm, Script, Select};
use tokio::time::{Instant, sleep};

use crate::harness::sleeper;
use crate::rig::{Rig, SOON, exit_of, main_of};

#[tokio::test(start_paused = true)]
async fn b66_a_hundred_generations_of_one_name_never_mix() {
    let rig = Rig::new();
    let after = Duration::from_millis(700);
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Exit { code: 3, after }));
    let agent = rig.start();
    let mut ids: Vec<String> = Vec::new();
    for cycle in 0..100 {
        let uid = rig.create(&sleeper("db-0"));
        rig.until_ready_within("db-0", SOON).await;
        let id = rig.container_id(&uid);
        assert!(!ids.contains(&id));
        ids.push(id.clone());
        rig.api.delete("pods", "default", "db-0").unwrap();
        rig.until_gone("db-0", SOON).await;
        let history = rig.api.history(&uid);
        let last = &history[history.len() - 2].object;
        assert_eq!(exit_of(last), Some(3), "cycle {cycle}: {last}");
        for change in &history {
            let told = main_of(&change.object)["containerID"].as_str().unwrap_or_default();
            assert!(told.is_empty() || told.ends_with(&id), "cycle {cycle}: {}", change.object);
        }
    }
    rig.until_empty(SOON).await;
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b66_a_new_pod_that_comes_while_the_old_one_ends_waits_for_it() {
    let rig = Rig::new();
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    let agent = rig.start();
    let mut uid = rig.create(&sleeper("db-0"));
    rig.until_ready("db-0").await;
    for _ in 0..10 {
        rig.api.delete("pods", "default", "db-0").unwrap();
        sleep(Duration::from_millis(300)).await;
        rig.api.force_delete("pods", "default", "db-0");
        let next = rig.create(&sleeper("db-0"));
        let began = Instant::now();
        while !rig.is_ready("db-0") {
            assert!(rig.running(&uid) == 0 || rig.running(&next) == 0, "both run");
            assert!(began.elapsed() < Duration::from_secs(15), "grace 5 s and 10 s");
            sleep(Duration::from_millis(20)).await;
        }
        let told = main_of(&rig.pod("db-0").unwrap())["containerID"].as_str().unwrap().to_owned();
        assert!(told.ends_with(&rig.container_id(&next)), "{told}");
        uid = next;
    }
    agent.stop().await;
    rig.check_manners();
}
