//! Lists and watches that lie, break off or come twice.

use std::time::Duration;

use pinnace_cri::call::Call;
use serde_json::json;
use tokio::time::sleep;

use crate::fake_api::requests::Verb;
use crate::fake_api::{Fault, On};
use crate::harness::{NODE, sleeper};
use crate::rig::{Agent, Rig, SOON, all_of};

const PODS: usize = 20;

async fn twenty(rig: &Rig) -> (Agent, Vec<String>) {
    let agent = rig.start();
    let uids: Vec<_> = (0..PODS).map(|n| rig.create(&sleeper(&format!("p{n}")))).collect();
    let all = all_of(PODS, |n| rig.is_ready(&format!("p{n}")));
    rig.until("all are ready", Duration::from_secs(60), all).await;
    (agent, uids)
}

fn lists() -> On {
    On::verb(Verb::List).resource("pods")
}

#[tokio::test(start_paused = true)]
async fn b64_one_empty_list_kills_nobody() {
    let rig = Rig::new();
    let (mut agent, uids) = twenty(&rig).await;
    let mutations = rig.mutations();
    let empty = rig.api.fault(lists().times(1), Fault::EmptyList);
    rig.api.expire_watches("pods");
    sleep(Duration::from_secs(60)).await;
    assert_eq!((rig.api.hits(empty), rig.mutations()), (1, mutations));
    // At a start, too, when the journal is all that speaks for the pods.
    agent.stop().await;
    let empty = rig.api.fault(lists().times(1), Fault::EmptyList);
    agent = rig.start();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((rig.api.hits(empty), rig.mutations()), (1, mutations));
    assert_eq!(uids.iter().map(|uid| rig.running(uid)).sum::<usize>(), PODS);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b64_an_old_list_neither_kills_nor_raises_the_dead() {
    let rig = Rig::new();
    let agent = rig.start();
    let gone = rig.create(&sleeper("gone"));
    rig.until_ready("gone").await;
    let old = rig.api.version();
    rig.api.delete("pods", "default", "gone").unwrap();
    rig.until_gone("gone", SOON).await;
    let new = rig.create(&sleeper("new"));
    rig.until_ready("new").await;
    rig.until("gone has left nothing", SOON, || agent.cards() == 1).await;
    let mutations = rig.mutations();
    let stale = rig.api.fault(lists().times(1), Fault::StaleList(old));
    rig.api.expire_watches("pods");
    sleep(Duration::from_secs(120)).await;
    assert_eq!((rig.api.hits(stale), rig.mutations()), (1, mutations));
    assert_eq!((rig.running(&new), rig.running(&gone)), (1, 0));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b63_a_list_that_expires_between_its_pages_is_read_anew() {
    let rig = Rig::new();
    let (agent, uids) = twenty(&rig).await;
    // Pods that have ended cost nothing but room in the list.
    for n in 0..500 {
        let mut ended = sleeper(&format!("ended{n}"));
        ended["spec"]["nodeName"] = json!(null);
        rig.api.create(ended);
        // The node sees them only as what they are.
        rig.api.update("pods", "default", &format!("ended{n}"), |pod| {
            pod["status"]["phase"] = json!("Succeeded");
            pod["spec"]["nodeName"] = json!(NODE);
        });
    }
    sleep(Duration::from_secs(30)).await;
    let mutations = rig.mutations();
    let from = rig.api.requests_so_far();
    let gone = rig.api.fault(lists().nth(2), Fault::gone());
    rig.api.force_delete("pods", "default", "p0");
    rig.api.expire_watches("pods");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.api.hits(gone), 1);
    let asked = rig.api.requests().split_off(from);
    let lists =
        asked.iter().filter(|request| request.verb == Verb::List && request.resource == "pods").count();
    assert!(lists <= 6, "{lists} lists");
    assert_eq!(rig.running(&uids[0]), 0);
    assert_eq!(uids.iter().map(|uid| rig.running(uid)).sum::<usize>(), PODS - 1);
    assert!(rig.mutations() <= mutations + 6, "only p0 was touched");
    let made = rig.make.fake.count_calls(|record| record.call == Call::RunPodSandbox);
    assert_eq!(made, PODS);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b63_watches_that_repeat_break_and_expire_change_nothing() {
    let rig = Rig::new();
    let (agent, _) = twenty(&rig).await;
    let mutations = rig.mutations();
    let watches = || On::verb(Verb::Watch).resource("pods");
    rig.api.fault(watches().times(1), Fault::Repeat);
    rig.api.end_watches("pods");
    sleep(Duration::from_secs(20)).await;
    rig.api.fault(watches().times(1), Fault::CutWatch(1));
    rig.api.cut_watches("pods");
    rig.create(&sleeper("extra"));
    rig.until_ready("extra").await;
    rig.api.fault(lists().times(3), Fault::gone());
    rig.api.expire_watches("pods");
    sleep(Duration::from_secs(120)).await;
    rig.api.compact();
    rig.api.end_watches("pods");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.sandboxes_made(), PODS + 1);
    rig.api.delete("pods", "default", "extra").unwrap();
    rig.until_gone("extra", Duration::from_secs(40)).await;
    assert!(rig.mutations() > mutations);
    agent.stop().await;
    rig.check_manners();
}
