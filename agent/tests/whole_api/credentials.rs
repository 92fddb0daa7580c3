//! Programs that know credentials, asked for the service accounts of pods (KEP-4412). In real time: they are processes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use pinnace::image::plugin::Plugins;
use pinnace::image::plugin::config::load;
use pinnace::server::views::Views;
use pinnace_cri::fake::Select;
use serde_json::{Value, json};

use crate::harness::sleeper;
use crate::rig::{Rig, main_of};

const PRIVATE: &str = "reg.test/team/private:1";
const PASSWORD: &str = "c4nary-password";
const AUDIENCE: &str = "reg.test";
const LIMIT: Duration = Duration::from_secs(30);
/// Notes what it is asked, and knows the password for accounts that are annotated as good.
const PROGRAM: &str = r#"#!/bin/sh
asked=$(cat); echo "$asked" >> $(dirname $0)/asked
case "$asked" in *'"reg.test/who":"good"'*) password=c4nary-password;; *) password=guess;; esac
echo '{"kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "cacheKeyType": "Registry",'
echo '"auth": {"reg.test": {"username": "u", "password": "'$password'"}}}'
"#;

fn rig(cache: &str) -> Rig {
    let mut rig = Rig::new();
    rig.make.fake.make_private(Select::any().image(PRIVATE), "u", PASSWORD);
    rig.api.allow_audience(AUDIENCE);
    for (name, who) in [("good", Some("good")), ("other", Some("other")), ("plain", None)] {
        let annotations = who.map(|who| json!({"reg.test/who": who, "unasked": "for"}));
        rig.api.create(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        }));
    }
    std::fs::create_dir(rig.make.dir.path().join("bin")).unwrap();
    rig.images.plugins = plugins(&rig, cache);
    rig
}

fn plugins(rig: &Rig, cache: &str) -> Plugins {
    let bin = rig.make.dir.path().join("bin");
    std::fs::write(bin.join("ask"), PROGRAM).unwrap();
    std::fs::set_permissions(bin.join("ask"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let provider = json!({
        "name": "ask", "matchImages": ["reg.test"], "defaultCacheDuration": "1h",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "tokenAttributes": {
            "serviceAccountTokenAudience": AUDIENCE, "cacheType": cache, "requireServiceAccount": true,
            "requiredServiceAccountAnnotationKeys": ["reg.test/who"],
            "optionalServiceAccountAnnotationKeys": ["reg.test/more"],
        },
    });
    let config = json!({
        "kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1", "providers": [provider],
    });
    std::fs::write(bin.join("config.yaml"), config.to_string()).unwrap();
    load(&bin.join("config.yaml"), &bin, true).unwrap()
}

fn of_account(name: &str, account: &str) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["serviceAccountName"] = json!(account);
    pod["spec"]["containers"][0]["image"] = json!(PRIVATE);
    pod
}

async fn until_refused(rig: &Rig, name: &str) {
    let refused = || main_of(&rig.pod(name).unwrap())["state"]["waiting"]["reason"] == "ErrImagePull";
    rig.until(&format!("{name} is refused"), LIMIT, refused).await;
}

/// What the program was asked.
fn asked(rig: &Rig) -> Vec<Value> {
    let text = std::fs::read_to_string(rig.make.dir.path().join("bin/asked")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a45_credentials_of_a_service_account_are_for_its_pods_only() {
    for (cache, calls) in [("ServiceAccount", 1), ("Token", 2)] {
        let mut rig = rig(cache);
        let agent = rig.start();
        let uid = rig.create(&of_account("first", "good"));
        rig.until_ready("first").await;
        rig.create(&of_account("second", "good"));
        rig.until_ready("second").await;
        assert_eq!(asked(&rig).len(), calls, "{cache}");
        // The image is there now, and still not for everyone.
        rig.create(&of_account("stranger", "other"));
        until_refused(&rig, "stranger").await;
        assert_eq!(asked(&rig).len(), calls + 1, "{cache}");
        rig.create(&of_account("unannotated", "plain"));
        until_refused(&rig, "unannotated").await;
        let questions = asked(&rig);
        assert_eq!(questions.len(), calls + 1, "{cache}: it was asked for an account without the annotation");
        assert_eq!(questions[0]["serviceAccountAnnotations"], json!({"reg.test/who": "good"}));
        let tokens = rig.api.tokens();
        let own: Vec<_> = tokens.iter().filter(|token| token.audiences == [AUDIENCE]).collect();
        assert_eq!(questions[0]["serviceAccountToken"], json!(own[0].token));
        assert_eq!((own[0].account.as_str(), own[0].pod.clone()), ("good", Some(("first".to_owned(), uid))));
        assert!(own.iter().all(|token| token.account != "plain"), "a token for nothing");
        check_canaries(&rig, &agent, &own.iter().map(|token| token.token.as_str()).collect::<Vec<_>>());
        rig.check_manners();
        agent.stop().await;
        // What was pulled for the account is its pods' without a pull, also after a restart; not on its name alone.
        let agent = rig.start();
        rig.create(&of_account("third", "good"));
        rig.until_ready("third").await;
        let events = agent.board().events();
        let admitted =
            |message: &str| message.ends_with("already present on machine and can be accessed by the pod");
        assert!(events.iter().any(|event| admitted(&event.message)), "{cache}: {events:?}");
        agent.stop().await;
        rig.images.plugins = plugins(&rig, cache);
        std::fs::remove_file(rig.make.dir.path().join("bin/ask")).unwrap();
        let agent = rig.start();
        rig.create(&of_account("orphan", "good"));
        until_refused(&rig, "orphan").await;
        agent.stop().await;
    }
}

fn check_canaries(rig: &Rig, agent: &crate::rig::Agent, tokens: &[&str]) {
    let mut told = format!("{:?}", agent.board());
    let mut left = vec![rig.make.dir.path().join("root")];
    while let Some(path) = left.pop() {
        told += &String::from_utf8_lossy(&rig.make.disk.read(Path::new(&path), u64::MAX).unwrap_or_default());
        left.extend(rig.make.disk.list(&path).unwrap());
    }
    for resource in ["pods", "events"] {
        told += &format!("{:?}", rig.api.list(resource));
    }
    for word in tokens.iter().copied().chain([PASSWORD]) {
        assert!(!told.contains(word), "{word} is told");
    }
}
