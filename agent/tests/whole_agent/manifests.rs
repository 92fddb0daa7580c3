//! What a changed manifest does: edit, deletion, rename, and the same UID with another image. B66: the same name
//! again and again.

use std::time::Duration;

use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{OnTerm, Script, Select};
use serde_json::{Value, json};

use crate::harness::{IMAGE, Make, desired, pod, running, sleeper};

const LIMIT: Duration = Duration::from_secs(30);

fn generation(name: &str, number: u32) -> Value {
    let mut pod = sleeper(name);
    pod["metadata"]["labels"] = json!({ "generation": number.to_string() });
    pod
}

fn with_uid(mut pod: Value, uid: &str) -> Value {
    pod["metadata"]["uid"] = json!(uid);
    pod
}

fn with_image(mut pod: Value, image: &str) -> Value {
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod
}

#[tokio::test(start_paused = true)]
async fn an_edit_ends_the_old_generation_before_the_new_one_starts() {
    let make = Make::new();
    let slow = Script::forever().on_term(OnTerm::Exit { code: 3, after: Duration::from_secs(4) });
    make.fake.script(Select::any().container("main"), slow);
    let node = make.start(&[generation("web", 1)]);
    node.until_running("web").await;
    let (old, new) = (desired(&generation("web", 1)).uid, desired(&generation("web", 2)).uid);
    assert_ne!(old, new);
    node.fake.forget_calls();
    node.want(&[generation("web", 2)]);
    node.until("the new generation runs", LIMIT, |node| {
        node.runtime().containers_of(new.as_str()).iter().any(|c| c.exit_code().is_none())
    })
    .await;
    let calls = node.fake.calls();
    let ended = |call, uid: &str| {
        calls
            .iter()
            .filter(|record| record.call == call && record.subject.pod_uid.as_deref() == Some(uid))
            .filter_map(|record| record.took_effect)
            .max()
    };
    let stopped = ended(Call::StopPodSandbox, old.as_str()).expect("the old sandbox was stopped");
    let started = calls
        .iter()
        .find(|record| record.call == Call::RunPodSandbox)
        .map(|record| record.began)
        .expect("a new sandbox was made");
    assert!(stopped <= started, "the new sandbox was asked for before the old one was down");
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_edit_while_the_agent_is_away_is_an_edit() {
    let make = Make::new();
    let node = make.start(&[generation("web", 1), sleeper("other")]);
    node.until_running("web").await;
    node.until_running("other").await;
    node.stop().await;
    let node = make.start(&[generation("web", 2), sleeper("other")]);
    let new = desired(&generation("web", 2)).uid;
    node.until("the new generation runs alone", LIMIT, |node| {
        node.runtime().running().len() == 2 && node.runtime().containers_of(new.as_str()).len() == 1
    })
    .await;
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rename_is_a_deletion_and_a_new_pod() {
    let node = Make::new().start(&[sleeper("old")]);
    node.until_running("old").await;
    node.want(&[sleeper("new")]);
    node.until_running("new").await;
    node.until("the old one is gone", LIMIT, |node| node.pod("old").is_none()).await;
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_image_under_the_same_uid_restarts_that_container_alone() {
    let two = |image: &str| {
        let mut two = with_uid(sleeper("web"), "0c5d1fd7-6d8a-4b0f-9c0e-000000000001");
        let mut side = two["spec"]["containers"][0].clone();
        side["name"] = json!("side");
        two["spec"]["containers"].as_array_mut().unwrap().push(side);
        with_image(two, image)
    };
    let other = "pinnace.local/other:2";
    let make = Make::new();
    make.fake.seed_image(other, 1_000);
    let node = make.start(&[two(IMAGE)]);
    node.until_running("web").await;
    let (main, side) =
        (running(&node.runtime(), "main").id.clone(), running(&node.runtime(), "side").id.clone());
    let sandboxes: Vec<_> = node.runtime().sandboxes.into_keys().collect();
    node.want(&[two(other)]);
    node.until("the container runs from the new image", LIMIT, |node| {
        node.runtime()
            .running()
            .iter()
            .any(|c| c.config.image.as_ref().is_some_and(|image| image.user_specified_image == other))
            && node.is_running("web")
    })
    .await;
    let now = node.runtime();
    assert_ne!(running(&now, "main").id, main);
    assert_eq!(running(&now, "side").id, side);
    assert_eq!(now.sandboxes.into_keys().collect::<Vec<_>>(), sandboxes);
    assert_eq!(node.container("web", "main").unwrap().restarts, 1);
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_back_while_it_goes_starts_afresh_after_its_end() {
    let make = Make::new();
    let slow = Script::forever().on_term(OnTerm::Exit { code: 0, after: Duration::from_secs(3) });
    make.fake.script(Select::any().container("main"), slow);
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let old = running(&node.runtime(), "main").id.clone();
    node.want(&[]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.want(&[sleeper("web")]);
    node.until("a new instance runs", LIMIT, |node| {
        node.is_running("web") && running(&node.runtime(), "main").id != old
    })
    .await;
    node.stop_anyhow().await;
}

#[tokio::test(start_paused = true)]
async fn b66_a_hundred_fast_cycles_of_one_name_run_strictly_one_after_the_other() {
    let make = Make::new();
    let slow = Script::forever().on_term(OnTerm::Exit { code: 3, after: Duration::from_millis(700) });
    make.fake.script(Select::any().container("main"), slow);
    let node = make.start(&[]);
    for number in 0..100 {
        node.want(&[generation("web", number)]);
        // From much faster than a pod starts to slower.
        tokio::time::sleep(Duration::from_millis(u64::from(number % 10) * 150)).await;
    }
    let last = desired(&generation("web", 99)).uid;
    node.until("the last generation runs", LIMIT, |node| {
        node.is_running("web") && node.runtime().containers_of(last.as_str()).len() == 1
    })
    .await;
    node.at_rest().await;
    assert_eq!(node.board.pods().len(), 1, "{}", node.describe());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b66_exits_of_old_generations_are_not_lost_nor_shown_for_new_ones() {
    let node = Make::new().start(&[]);
    for number in 0..10 {
        let code = number + 1;
        let job = with_uid(
            pod("job", "Never", &["sh", "-c", &format!("exit {code}")]),
            &format!("0c5d1fd7-6d8a-4b0f-9c0e-0000000001{number:02}"),
        );
        let uid = desired(&job).uid;
        node.want(std::slice::from_ref(&job));
        node.until(&format!("generation {number} ended"), LIMIT, |node| {
            node.board
                .explain(uid.as_str())
                .is_ok_and(|pod| pod.pod.phase == "Failed" && pod.containers[0].exit_code == Some(code))
        })
        .await;
    }
    node.at_rest().await;
    node.stop().await;
}
