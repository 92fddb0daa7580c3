//! Static pods and their mirrors in the API.

use std::time::Duration;

use pinnace_cri::fake::{Code, FaultKind, FaultRule, OnTerm, Script, Select};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::sleeper;
use crate::rig::{Rig, SOON, main_of, scaled, uid_of};

const MIRROR: &str = "web-node1";
const AGAIN: Duration = Duration::from_secs(20);

fn edited(n: usize) -> Value {
    let mut pod = sleeper("web");
    pod["spec"]["containers"][0]["command"] = json!(["sleep", format!("{n}000")]);
    pod
}

fn uid(rig: &Rig) -> String {
    rig.pod(MIRROR).map(|pod| uid_of(&pod)).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn b07_a_mirror_is_made_shows_the_status_and_comes_back() {
    let rig = Rig::new();
    let agent = rig.start_with(&[edited(1)]);
    rig.until_ready(MIRROR).await;
    let pod = rig.pod(MIRROR).unwrap();
    assert_eq!(pod["metadata"]["generation"], 1, "{pod}");
    assert!(pod["status"]["observedGeneration"].as_i64().unwrap_or(0) == 0, "{pod}");
    let id = main_of(&pod)["containerID"].clone();
    // Whoever deletes a mirror deletes a view.
    for force in [false, true] {
        let old = uid(&rig);
        if force {
            rig.api.force_delete("pods", "default", MIRROR);
        } else {
            rig.api.delete("pods", "default", MIRROR).unwrap();
        }
        rig.api
            .watch_until("another mirror", AGAIN, |_| {
                !uid(&rig).is_empty() && uid(&rig) != old && rig.is_ready(MIRROR)
            })
            .await;
        assert_eq!(main_of(&rig.pod(MIRROR).unwrap())["containerID"], id, "it was restarted");
    }
    let old = uid(&rig);
    agent.want(&[edited(2)]);
    rig.api
        .watch_until("the edited pod's mirror", AGAIN, |_| {
            let now = uid(&rig);
            !now.is_empty() && now != old && rig.is_ready(MIRROR)
        })
        .await;
    assert_ne!(main_of(&rig.pod(MIRROR).unwrap())["containerID"], id);
    agent.want(&[]);
    rig.until_gone(MIRROR, AGAIN).await;
    rig.until_empty(SOON).await;
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b07_a_manifest_that_is_gone_for_a_moment_restarts_its_pod_once() {
    let rig = Rig::new();
    let agent = rig.start_with(&[edited(1)]);
    rig.until_ready(MIRROR).await;
    agent.want(&[]);
    sleep(Duration::from_millis(300)).await;
    agent.want(&[edited(1)]);
    sleep(Duration::from_secs(30)).await;
    assert!(rig.is_ready(MIRROR), "{:?}", rig.pod(MIRROR));
    let id = main_of(&rig.pod(MIRROR).unwrap())["containerID"].clone();
    let snapshot = rig.make.fake.snapshot();
    assert_eq!(snapshot.running().len(), 1);
    drop(snapshot);
    sleep(Duration::from_secs(30)).await;
    assert_eq!((main_of(&rig.pod(MIRROR).unwrap())["containerID"].clone(), rig.is_ready(MIRROR)), (id, true));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b07_a_restart_makes_no_other_mirror() {
    let rig = Rig::new();
    let agent = rig.start_with(&[edited(1)]);
    rig.until_ready(MIRROR).await;
    let (old, mutations) = (uid(&rig), rig.mutations());
    agent.stop().await;
    let from = rig.api.requests_so_far();
    let agent = rig.start_with(&[edited(1)]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((uid(&rig), rig.mutations()), (old.clone(), mutations));
    assert!(rig.pod_writes(from).is_empty(), "{:?}", rig.pod_writes(from));
    assert!(rig.api.transitions(&old, "Ready").len() <= 2);
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b08_of_many_edits_the_last_one_runs_and_never_two() {
    let rig = Rig::new();
    let agent = rig.start_with(&[edited(1)]);
    rig.until_ready(MIRROR).await;
    let edits = scaled("b08", "edits", 100, 300);
    for n in 0..edits {
        agent.want(&[edited(n)]);
        sleep(Duration::from_millis(100)).await;
        assert!(rig.make.fake.snapshot().running().len() <= 1, "two at once");
    }
    rig.until("the last edit runs", Duration::from_secs(120), || {
        let snapshot = rig.make.fake.snapshot();
        let running = snapshot.running();
        running.len() == 1 && running[0].config.command == ["sleep".to_owned(), format!("{}000", edits - 1)]
    })
    .await;
    rig.until_ready_within(MIRROR, AGAIN).await;
    sleep(Duration::from_secs(30)).await;
    assert!(rig.is_ready(MIRROR));
    assert_eq!(agent.cards(), 1);
    agent.stop().await;
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn b08_the_old_one_has_its_whole_grace() {
    let rig = Rig::new();
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    let slow = |n| {
        let mut pod = edited(n);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(20);
        pod
    };
    let agent = rig.start_with(&[slow(1)]);
    rig.until_ready(MIRROR).await;
    let old = rig.make.fake.snapshot().running()[0].id.clone();
    let began = Instant::now();
    rig.api.delete("pods", "default", MIRROR).unwrap();
    agent.want(&[slow(2)]);
    rig.until("the old one has ended", Duration::from_secs(30), || {
        rig.make.fake.snapshot().running().iter().all(|container| container.id != old)
    })
    .await;
    assert!(began.elapsed() >= Duration::from_secs(19), "{:?}", began.elapsed());
    rig.until_ready_within(MIRROR, AGAIN).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b09_a_mirror_stays_while_the_runtime_is_down() {
    let rig = Rig::new();
    rig.make.fake.script(Select::any(), Script::forever().on_term(OnTerm::Ignore));
    let mut slow = edited(1);
    slow["spec"]["terminationGracePeriodSeconds"] = json!(20);
    let agent = rig.start_with(&[slow]);
    rig.until_ready(MIRROR).await;
    agent.want(&[]);
    sleep(Duration::from_secs(2)).await;
    let down = rig.make.fake.fault(FaultRule::on_any(FaultKind::Error(Code::Unavailable, "down".to_owned())));
    for _ in 0..19 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.phase(MIRROR), "Running");
    }
    rig.make.fake.remove_fault(down);
    rig.until_gone(MIRROR, Duration::from_secs(33)).await;
    rig.until_empty(SOON).await;
    agent.stop().await;
}
