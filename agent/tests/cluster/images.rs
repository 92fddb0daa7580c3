//! Images of a registry with a password: who gets them, and how pulls share their places and tell how far they are.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::admin::{is_ready, text};
use crate::agent::Agent;
use crate::case::{Case, SOON, WAIT, pod};
use crate::control_plane::ControlPlane;
use crate::registry::{self, Registry};
use crate::say;

fn with_image(name: &str, image: &str, policy: &str, secrets: &[&str]) -> Value {
    let mut pod = pod(name, "Always", WAIT);
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
    pod["spec"]["imagePullSecrets"] = secrets.iter().map(|name| json!({"name": name})).collect();
    pod
}

fn until_ready(case: &Case<'_>, name: &str) -> Duration {
    let find = |pods: &[Value]| {
        pods.iter().any(|pod| pod["metadata"]["name"] == name && is_ready(pod)).then_some(())
    };
    case.until_pods(&format!("{name} Ready"), Instant::now(), find).1
}

/// Waits until its container waits for this reason; the message.
fn until_waiting(case: &Case<'_>, name: &str, reason: &str) -> String {
    let find = |pods: &[Value]| {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name)?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == reason).then(|| text(&waiting["message"]).to_owned())
    };
    case.until_pods(&format!("{name} {reason}"), Instant::now(), find).0
}

pub(crate) fn a45_a_private_image_is_for_pods_with_its_secret(cluster: &ControlPlane) {
    let case = Case::start(cluster, "private-images");
    let registry = Registry::start();
    let image = registry.push(&case.agent.runtime, "team/private:1");
    let host = registry.host.as_str();
    case.namespace.create(&Registry::secret("right", host, None));
    case.namespace.create(&Registry::secret("wrong", host, Some("guess")));
    case.namespace.create(&Registry::secret("copy", &format!("http://{host}/v2/"), None));
    case.namespace.create(&Registry::secret("elsewhere", "127.0.0.1:1", None));
    // Not there yet: nobody without the right secret gets it.
    for (name, secrets) in [("early", &[][..]), ("guess", &["wrong"]), ("astray", &["elsewhere"])] {
        case.namespace.create(&with_image(name, &image, "IfNotPresent", secrets));
        let why = until_waiting(&case, name, "ErrImagePull");
        assert!(why.contains("failed to pull and unpack image"), "{name}: {why}");
    }
    case.namespace.create(&with_image("first", &image, "IfNotPresent", &["wrong", "right"]));
    until_ready(&case, "first");
    // There now, and still not for everyone.
    case.namespace.create(&with_image("late", &image, "IfNotPresent", &[]));
    case.namespace.create(&with_image("never", &image, "Never", &["wrong"]));
    case.namespace.create(&with_image("same", &image, "Never", &["right"]));
    case.namespace.create(&with_image("other", &image, "IfNotPresent", &["copy"]));
    until_waiting(&case, "never", "ErrImageNeverPull");
    until_waiting(&case, "late", "ErrImagePull");
    until_ready(&case, "same");
    until_ready(&case, "other");
    let log = case.agent.log();
    for word in ["let-me-in", "guess"] {
        let told = log.lines().filter(|line| line.contains(word) && !line.contains("/guess")).count();
        assert_eq!(told, 0, "{word} is in the log");
    }
    case.namespace.kubectl(&["delete", "--wait=false", "pods", "--all"]);
    case.until_nothing_is_left();
    registry::forget(&case.agent.runtime, &image);
    case.agent.a80_was_never_refused();
}

pub(crate) fn b54_slow_registries_leave_a_place_and_a_pull_says_how_far_it_is(cluster: &ControlPlane) {
    let case = Case::start(cluster, "slow-images");
    let registry = Registry::start();
    let image = registry.push(&case.agent.runtime, "team/quick:1");
    let other = registry.push_new(&case.agent.runtime, "team/slow:1", 4 << 20);
    let silent = registry::silent();
    case.namespace.create(&Registry::secret("right", &registry.host, None));
    for name in ["hangs-1", "hangs-2", "hangs-3"] {
        case.namespace.create(&with_image(name, &format!("{silent}/{name}:1"), "Always", &[]));
    }
    std::thread::sleep(Duration::from_secs(1));
    case.namespace.create(&with_image("quick", &image, "Always", &["right"]));
    let quick = until_ready(&case, "quick");
    case.namespace.kubectl(&["delete", "--wait=false", "pods", "hangs-1", "hangs-2", "hangs-3"]);

    // 4 MiB at 128 KiB a second.
    let slowed = registry::slowed(&registry.host, 128 << 10);
    let slow = other.replace(&registry.host, &slowed);
    case.namespace.create(&Registry::secret("slow", &slowed, None));
    case.namespace.create(&with_image("slow", &slow, "Always", &["slow"]));
    let explain = || {
        let told = case.agent.explain(&format!("{}/slow", case.namespace.name));
        let line = told.lines().find(|line| line.contains("iB of ")).map(ToOwned::to_owned);
        line.ok_or(told)
    };
    let (told, _) = case.agent.until("how far the pull is", Instant::now(), SOON, explain);
    let began = Instant::now();
    case.namespace.kubectl(&["delete", "--wait=false", "pod", "slow", "quick"]);
    case.until_nothing_is_left();
    registry::forget(&case.agent.runtime, &image);
    say(&format!(
        "images: quick beside three that hang after {quick:.1?}; {}; gone in {:.1?}",
        told.trim(),
        began.elapsed()
    ));
    case.agent.a80_was_never_refused();
}

/// Whom the tokens of the test are for.
const AUDIENCE: &str = "tests-registry";

/// A program that knows the registry's password for accounts that are annotated as good, and notes what it is asked.
fn provide(agent: &Agent<'_>, host: &str) {
    let dir = agent.path("providers");
    fs::create_dir(&dir).expect("a directory of providers");
    let auth = format!(r#"{{"{host}": {{"username": "{}", "password": "'$password'"}}}}"#, registry::USER);
    let script = format!(
        r#"#!/bin/sh
asked=$(cat); echo "$asked" >> {}
case "$asked" in *'"tests/who":"good"'*) password={};; *) password=guess;; esac
echo '{{"kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "cacheKeyType": "Image", "auth": {auth}}}'
"#,
        agent.path("asked").display(),
        registry::PASSWORD,
    );
    fs::write(dir.join("ask"), script).expect("a program");
    fs::set_permissions(dir.join("ask"), Permissions::from_mode(0o755)).expect("a program that can be run");
    let provider = json!({
        "name": "ask", "matchImages": [host], "defaultCacheDuration": "1h",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "tokenAttributes": {
            "serviceAccountTokenAudience": AUDIENCE, "cacheType": "ServiceAccount",
            "requireServiceAccount": true, "requiredServiceAccountAnnotationKeys": ["tests/who"],
        },
    });
    let config = json!({
        "kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1", "providers": [provider],
    });
    fs::write(dir.join("config.yaml"), config.to_string()).expect("a configuration of providers");
}

/// Lets nodes ask for tokens for the audience, and makes two accounts.
fn allow(case: &Case<'_>) {
    let name = &case.namespace.name;
    let rules = json!([{
        "apiGroups": [""], "resources": [AUDIENCE], "verbs": ["request-serviceaccounts-token-audience"],
    }]);
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name });
    let nodes = json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes" }]);
    let version = "rbac.authorization.k8s.io/v1";
    case.namespace.create(&json!({
        "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules,
    }));
    case.namespace.create(&json!({
        "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": { "name": name },
        "roleRef": role, "subjects": nodes,
    }));
    for who in ["good", "other"] {
        case.namespace.create(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": who, "annotations": { "tests/who": who } },
        }));
    }
}

pub(crate) fn a45_a_provider_is_given_the_token_of_the_pods_account(cluster: &ControlPlane) {
    let mut case = Case::prepared("debian", cluster, "provider-tokens");
    let registry = Registry::start();
    let image = registry.push(&case.agent.runtime, "team/own:1");
    provide(&case.agent, &registry.host);
    case.agent.launch();
    case.until_node_ready(Instant::now(), SOON);
    allow(&case);
    let of_account = |name: &str| {
        let mut pod = with_image(name, &image, "IfNotPresent", &[]);
        pod["spec"]["serviceAccountName"] = json!(name);
        pod
    };
    case.namespace.create(&of_account("good"));
    let took = until_ready(&case, "good");
    case.namespace.create(&of_account("other"));
    until_waiting(&case, "other", "ErrImagePull");
    let asked = fs::read_to_string(case.agent.path("asked")).expect("what the program was asked");
    let first: Value = serde_json::from_str(asked.lines().next().expect("a question")).expect("JSON");
    let token = text(&first["serviceAccountToken"]);
    let claims = token.split('.').nth(1).expect("claims");
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
    assert_eq!(claims["aud"], json!([AUDIENCE]));
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "good");
    assert_eq!(claims["kubernetes.io"]["serviceaccount"]["name"], "good");
    assert!(!case.agent.log().contains(token), "the token is in the log");
    case.namespace.kubectl(&["delete", "--wait=false", "pods", "--all"]);
    case.namespace.kubectl(&["delete", "clusterrole,clusterrolebinding", &case.namespace.name]);
    case.until_nothing_is_left();
    registry::forget(&case.agent.runtime, &image);
    say(&format!("images: a pod with its account's credentials after {took:.1?}"));
    case.agent.a80_was_never_refused();
}

/// Takes the minute that it is about: whole runs only.
pub(crate) fn b54_a_registry_that_goes_silent_in_a_layer_is_asked_again(cluster: &ControlPlane) {
    if std::env::var_os("PINNACE_TEST_ALL").is_none() {
        return say("b54: a registry that goes silent for a minute is left to PINNACE_TEST_ALL=1");
    }
    let case = Case::start(cluster, "silent-images");
    let registry = Registry::start();
    let other = registry.push_new(&case.agent.runtime, "team/silent:1", 4 << 20);
    let (silent, is_open) = registry::stalling(&registry.host, 1 << 20);
    case.namespace.create(&Registry::secret("right", &silent, None));
    let image = other.replace(&registry.host, &silent);
    let began = Instant::now();
    case.namespace.create(&with_image("waits", &image, "Always", &["right"]));
    let look = || {
        let pods = case.admin.pods(&case.namespace.name)?;
        let told = format!("{:?}", pods.values().map(|pod| &pod["status"]).collect::<Vec<_>>());
        if told.contains("no bytes came from the registry") { Ok(()) } else { Err(told) }
    };
    let (_, took) = case.agent.until("the pull is given up", began, 2 * SOON, look);
    assert!((60..80).contains(&took.as_secs()), "given up after {took:?}");
    is_open.store(true, Ordering::Relaxed);
    let look = || {
        let events = case.namespace.get(&["events"])?.to_string();
        if events.contains("Successfully pulled image") { Ok(()) } else { Err(events) }
    };
    let (_, again) = case.agent.until("the next pull succeeds", Instant::now(), SOON, look);
    case.namespace.kubectl(&["delete", "--wait=false", "pods", "--all"]);
    case.until_nothing_is_left();
    registry::forget(&case.agent.runtime, &image);
    say(&format!("images: a silent registry given up after {took:.1?}, its image there {again:.1?} later"));
    case.agent.a80_was_never_refused();
}
