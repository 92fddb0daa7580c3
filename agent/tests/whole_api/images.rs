//! Private images: who gets them, what a pod without the right secret waits for, and how pulls share their places.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{Code, PullScript, Select};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::sleeper;
use crate::rig::{Agent, Rig};

const PRIVATE: &str = "reg.test/team/private:1";
const USER: &str = "c4nary-user";
const PASSWORD: &str = "c4nary-password";
const LIMIT: Duration = Duration::from_secs(60);

fn with_image(name: &str, image: &str, policy: &str, secrets: &[&str]) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
    pod["spec"]["imagePullSecrets"] = secrets.iter().map(|name| json!({"name": name})).collect();
    pod
}

fn secret(rig: &Rig, name: &str, config: &str) {
    rig.api.create(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": STANDARD.encode(config)},
    }));
}

fn login(host: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    json!({"auths": {host: {"auth": auth}}}).to_string()
}

/// A runtime whose private image is given to one user, and three secrets: the right one, a wrong one, and a copy.
fn rig() -> Rig {
    let rig = Rig::new();
    rig.make.fake.make_private(Select::any().image(PRIVATE), USER, PASSWORD);
    secret(&rig, "right", &login("reg.test", PASSWORD));
    secret(&rig, "wrong", &login("reg.test", "guess"));
    secret(&rig, "copy", &login("https://reg.test/v2/", PASSWORD));
    secret(&rig, "elsewhere", &login("reg.test.evil.test", PASSWORD));
    rig
}

fn waiting(rig: &Rig, name: &str) -> (String, String) {
    let pod = rig.pod(name).unwrap();
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let text = |key: &str| waiting[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

async fn until_waiting(rig: &Rig, name: &str, reason: &str) {
    rig.until(&format!("{name}: {reason}"), LIMIT, || waiting(rig, name).0 == reason).await;
}

/// Nothing that anybody can read has a word of a login.
fn check_canaries(rig: &Rig, agent: &Agent) {
    let mut told = format!("{:?}", agent.board().events());
    for resource in ["pods", "events"] {
        told += &format!("{:?}", rig.api.list(resource));
    }
    let mut left = vec![rig.make.dir.path().join("root")];
    while let Some(path) = left.pop() {
        let bytes = rig.make.disk.read(&path, u64::MAX).unwrap_or_default();
        told += &format!("{}: {}", path.display(), String::from_utf8_lossy(&bytes));
        left.extend(rig.make.disk.list(&path).unwrap());
    }
    for word in [USER, PASSWORD, &STANDARD.encode(PASSWORD)] {
        assert!(!told.contains(word), "{word} is told");
    }
}

#[tokio::test(start_paused = true)]
async fn a45_a_private_image_is_for_pods_with_credentials_for_it() {
    for policy in ["IfNotPresent", "Never"] {
        let rig = rig();
        let agent = rig.start();
        rig.create(&with_image("first", PRIVATE, "IfNotPresent", &["right"]));
        rig.until_ready("first").await;
        let refused = if policy == "Never" { "ErrImageNeverPull" } else { "ErrImagePull" };
        for (name, secrets, runs) in [
            ("none", &[][..], false),
            ("bad", &["wrong"], false),
            ("astray", &["elsewhere"], false),
            ("same", &["right"], true),
            ("other", &["copy"], true),
            ("both", &["wrong", "copy"], true),
        ] {
            rig.create(&with_image(name, PRIVATE, policy, secrets));
            if runs {
                rig.until_ready(name).await;
            } else {
                until_waiting(&rig, name, refused).await;
                sleep(Duration::from_secs(30)).await;
                assert_eq!(
                    (rig.phase(name).as_str(), rig.is_ready(name)),
                    ("Pending", false),
                    "{name}, {policy}"
                );
            }
        }
        check_canaries(&rig, &agent);
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a45_it_stays_so_when_the_agent_starts_anew() {
    let rig = rig();
    let agent = rig.start();
    rig.create(&with_image("first", PRIVATE, "IfNotPresent", &["right"]));
    rig.until_ready("first").await;
    agent.stop().await;
    let agent = rig.start();
    rig.create(&with_image("none", PRIVATE, "IfNotPresent", &[]));
    rig.create(&with_image("same", PRIVATE, "IfNotPresent", &["right"]));
    rig.until_ready("same").await;
    until_waiting(&rig, "none", "ErrImagePull").await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_keeps_an_image_away_is_told_in_the_kubelets_words() {
    let rig = rig();
    let agent = rig.start();
    rig.create(&with_image("gone", PRIVATE, "Always", &["missing", "gone"]));
    until_waiting(&rig, "gone", "ErrImagePull").await;
    let (_, message) = waiting(&rig, "gone");
    assert!(message.starts_with("failed to pull and unpack image"), "{message}");
    until_waiting(&rig, "gone", "ImagePullBackOff").await;
    let (_, backing_off) = waiting(&rig, "gone");
    assert_eq!(backing_off, format!("Back-off pulling image {PRIVATE:?}: ErrImagePull: {message}"));
    let events = agent.board().events();
    let lacking: Vec<_> =
        events.iter().filter(|event| event.reason == "FailedToRetrieveImagePullSecret").collect();
    assert_eq!((lacking.len(), lacking[0].count), (1, 1), "{lacking:?}");
    assert_eq!(
        lacking[0].message,
        "Unable to retrieve some image pull secrets (missing, gone); attempting to pull the image may not succeed."
    );
    rig.create(&with_image("odd", "Reg//x", "Always", &[]));
    until_waiting(&rig, "odd", "InvalidImageName").await;
    let (_, message) = waiting(&rig, "odd");
    let cause = "couldn't parse image name \"Reg//x\": invalid reference format";
    assert_eq!(message, format!("Failed to apply default image tag \"Reg//x\": {cause}"));
    secret(&rig, "torn", "{\"auths\": {\"reg.test\": {\"auth\": \"c4nary-password\"");
    rig.create(&with_image("torn", PRIVATE, "Always", &["torn"]));
    until_waiting(&rig, "torn", "ErrImagePull").await;
    let (_, message) = waiting(&rig, "torn");
    assert_eq!(message, "failed to use image pull secret \"torn\": not the JSON of a Docker configuration");
    let down = Some((Code::Unknown, "RegistryUnavailable: no route to host".to_owned()));
    let down = PullScript { takes: Duration::ZERO, error: down };
    rig.make.fake.script_pull(Select::any().image("down.test/a:1"), down);
    rig.create(&with_image("down", "down.test/a:1", "Always", &[]));
    until_waiting(&rig, "down", "RegistryUnavailable").await;
    let (_, message) = waiting(&rig, "down");
    let why = "image pull failed for down.test/a:1 because the registry is unavailable: no route to host";
    assert_eq!(message, why);
    check_canaries(&rig, &agent);
    agent.stop().await;
}

fn slow(rig: &Rig, image: &str) {
    let slow = PullScript { takes: Duration::from_secs(600), error: None };
    rig.make.fake.script_pull(Select::any().image(image), slow);
}

#[tokio::test(start_paused = true)]
async fn a_slow_registry_never_takes_all_places_and_a_deletion_gives_its_place_back() {
    let rig = Rig::new();
    for image in ["slow.test/a:1", "slow.test/b:1", "slow.test/c:1"] {
        slow(&rig, image);
    }
    let agent = rig.start();
    for name in ["a", "b", "c"] {
        rig.create(&with_image(name, &format!("slow.test/{name}:1"), "Always", &[]));
    }
    sleep(Duration::from_secs(5)).await;
    let under_way = || rig.make.fake.in_flight_of(Call::PullImage);
    assert_eq!(under_way(), 2, "of one registry");
    let began = Instant::now();
    for number in 0..10 {
        rig.create(&with_image(&format!("quick-{number}"), &format!("quick.test/{number}:1"), "Always", &[]));
    }
    for number in 0..10 {
        rig.until_ready(&format!("quick-{number}")).await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let explained = agent.board().explain("default/a").unwrap().step.unwrap();
    assert!(explained.waiting_for.contains("how far it is is not known"), "{explained:?}");
    rig.api.delete("pods", "default", "a").unwrap();
    rig.until("c has the place of a", Duration::from_secs(2), || {
        let calls = rig.make.fake.calls();
        calls.iter().any(|call| call.call == Call::PullImage && format!("{call:?}").contains("slow.test/c:1"))
    })
    .await;
    assert_eq!(under_way(), 2);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_want_one_image_with_one_login_share_a_pull() {
    let rig = rig();
    let takes = PullScript { takes: Duration::from_secs(5), error: None };
    rig.make.fake.script_pull(Select::any().image(PRIVATE), takes);
    let agent = rig.start();
    for number in 0..6 {
        let secret = if number % 2 == 0 { "right" } else { "copy" };
        rig.create(&with_image(&format!("p-{number}"), PRIVATE, "IfNotPresent", &[secret]));
    }
    rig.create(&with_image("without", PRIVATE, "IfNotPresent", &[]));
    sleep(Duration::from_secs(2)).await;
    rig.api.delete("pods", "default", "p-0").unwrap();
    for number in 1..6 {
        rig.until_ready(&format!("p-{number}")).await;
    }
    until_waiting(&rig, "without", "ErrImagePull").await;
    let pulls = rig.make.fake.count_calls(|call| call.call == Call::PullImage);
    assert!(pulls <= 3, "{pulls} pulls for one image, with and without a login");
    agent.stop().await;
}
