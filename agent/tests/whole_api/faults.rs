//! An API server that answers badly.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::fake_api::requests::Verb;
use crate::fake_api::{Fault, On};
use crate::harness::{pod, sleeper};
use crate::rig::{Rig, all_of, main_of};

#[tokio::test(start_paused = true)]
async fn b65_errors_at_random_end_in_right_statuses() {
    let rig = Rig::new();
    rig.api.admit_service_accounts();
    let agent = rig.start();
    let faults =
        [Fault::conflict(), Fault::not_found(), Fault::invalid(), Fault::too_many(3), Fault::internal()];
    for (seed, fault) in (0..).zip(faults) {
        // Tokens are created, too.
        rig.api.fault(On::writes().chance(0.06, seed), fault);
    }
    let reads = || On::verb(Verb::Get).or(Verb::List).or(Verb::Watch);
    let faults =
        [Fault::gone(), Fault::too_many(2), Fault::internal(), Fault::unavailable(), Fault::CutReply];
    let reads: Vec<_> =
        (10..).zip(faults).map(|(seed, fault)| rig.api.fault(reads().chance(0.1, seed), fault)).collect();
    let mut uids: Vec<_> = (0..30).map(|n| rig.create(&sleeper(&format!("p{n}")))).collect();
    let began = Instant::now();
    let mut turn = 0;
    while began.elapsed() < Duration::from_secs(600) {
        sleep(Duration::from_secs(15)).await;
        let n = turn % 30;
        match turn % 3 {
            0 => {
                let (name, old) = (format!("p{n}"), uids[n].clone());
                rig.api.force_delete("pods", "default", &name);
                uids[n] = rig.create(&sleeper(&name));
                assert_ne!(old, uids[n]);
            }
            _ if rig.running(&uids[n]) == 1 => rig.make.fake.kill(&rig.container_id(&uids[n])),
            _ => {}
        }
        // A watch that works is opened once: for faults to meet it, it has to end.
        rig.api.end_watches("pods");
        turn += 7;
    }
    let met: Vec<_> = reads.iter().map(|fault| rig.api.hits(*fault)).collect();
    assert!(met.iter().sum::<usize>() > 8, "hardly any read failed: {met:?}");
    let tokens = rig.api.requests().into_iter().filter(|request| request.sub == "token");
    let refused = tokens.filter(|request| request.status.is_some_and(|status| status >= 400)).count();
    assert!(refused > 3, "hardly any token was refused: {refused}");
    // A crash loop has delays of its own.
    sleep(Duration::from_secs(300)).await;
    rig.create(&pod("job", "Never", &["sh", "-c", "exit 4"]));
    rig.api.no_more_faults();
    let right = |n: usize| {
        let id = rig.container_id(&uids[n]);
        let pod = rig.pod(&format!("p{n}")).unwrap();
        rig.is_ready(&format!("p{n}"))
            && main_of(&pod)["containerID"].as_str().is_some_and(|told| told.ends_with(&id))
    };
    let all_right = all_of(30, right);
    rig.api
        .watch_until("all are right", Duration::from_secs(30), |_| {
            all_right() && rig.phase("job") == "Failed"
        })
        .await;
    asked_for_patience_is_had(&rig);
    agent.stop().await;
    rig.check_manners();
}

fn asked_for_patience_is_had(rig: &Rig) {
    let mut until: BTreeMap<(String, String), Instant> = BTreeMap::new();
    let mut seen = 0;
    for write in rig.pod_writes(0).into_iter().filter(|write| write.user.starts_with("system:node:")) {
        let key = (write.name.clone(), write.body["metadata"]["uid"].to_string());
        if let Some(until) = until.get(&key) {
            assert!(write.at >= *until, "{} was written too early", write.name);
        }
        if write.status == Some(429) {
            seen += 1;
            until.insert(key, write.at + Duration::from_secs(3));
        }
    }
    assert!(seen > 0, "no 429 was met");
}
