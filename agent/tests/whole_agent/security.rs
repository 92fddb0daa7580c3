//! What a pod may be on the node: whom it runs as, which profiles, parameters and ids it has.

use std::collections::BTreeSet;
use std::time::Duration;

use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{Ending, Sandbox};
use pinnace_cri::v1::{ContainerConfig, LinuxContainerSecurityContext, NamespaceMode, UserNamespace};
use serde_json::{Value, json};

use crate::harness::{Make, NODE, Node, sleeper};

const LIMIT: Duration = Duration::from_secs(60);
const IMAGE: &str = "pinnace.local/somebody:1";

fn of_image(name: &str, image: &str) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod
}

fn with(mut pod: Value, context: Value) -> Value {
    pod["spec"]["securityContext"] = context;
    pod
}

fn told(node: &Node, reason: &str) -> Vec<String> {
    let events = node.board.events();
    events.iter().filter(|event| event.reason == reason).map(|event| event.message.clone()).collect()
}

/// The message of the pod's running container, less what tells one instance from the next.
fn message(node: &Node, pod: &str) -> ContainerConfig {
    let label = format!("{pod}-{NODE}");
    let runtime = node.runtime();
    let is_its = |config: &ContainerConfig| config.labels.get("io.kubernetes.pod.name") == Some(&label);
    let mut running = runtime.running().into_iter().map(|container| container.config.clone());
    let mut config = running.rfind(is_its).unwrap();
    config.metadata.as_mut().unwrap().attempt = 0;
    config.log_path.clear();
    config.annotations.remove("io.kubernetes.container.restartCount");
    config.mounts.retain(|mount| mount.container_path != "/dev/termination-log");
    config
}

fn context(config: &ContainerConfig) -> &LinuxContainerSecurityContext {
    config.linux.as_ref().unwrap().security_context.as_ref().unwrap()
}

async fn crash(make: &Make, node: &Node, pod: &str, restarts: u32) {
    let name = format!("{pod}-{NODE}");
    let runtime = node.runtime();
    let all = runtime.running();
    let its = all.iter().find(|container| container.config.labels["io.kubernetes.pod.name"] == name).unwrap();
    make.fake.end(&its.id, Ending::code(1));
    let again = |node: &Node| node.is_running(pod) && node.pod(pod).unwrap().restarts == restarts;
    node.until("restarted", Duration::from_secs(400), again).await;
}

#[tokio::test(start_paused = true)]
async fn a40_the_images_user_is_the_same_every_time() {
    let make = Make::new();
    make.fake.seed_image_user(IMAGE, Some(1000), "");
    let mut pod = of_image("first", IMAGE);
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let cached = of_image("cached", IMAGE);
    let node = make.start(&[pod.clone()]);
    node.until_running("first").await;
    let first = message(&node, "first");
    assert_eq!(context(&first).run_as_user.map(|user| user.value), Some(1000));
    for restarts in 1..=5 {
        crash(&make, &node, "first", restarts).await;
        assert_eq!(message(&node, "first"), first, "restart {restarts}");
    }
    node.want(&[pod.clone(), cached.clone()]);
    node.until_running("cached").await;
    assert_eq!(context(&message(&node, "cached")), context(&first));
    node.stop().await;
    let node = make.start(&[pod, cached]);
    node.until_running("first").await;
    crash(&make, &node, "first", 6).await;
    assert_eq!(message(&node, "first"), first, "after a restart of the agent");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a41_who_may_be_root_is_not_started() {
    let must = || json!({ "runAsNonRoot": true });
    for (uid, name, words) in [
        (Some(0), "", "image will run as root"),
        (None, "", "image will run as root"),
        (None, "root", "image has non-numeric user (root), cannot verify user is non-root"),
        (None, "www", "image has non-numeric user (www), cannot verify user is non-root"),
    ] {
        let make = Make::new();
        make.fake.seed_image_user(IMAGE, uid, name);
        let node = make.start(&[with(of_image("web", IMAGE), must())]);
        node.until("refused", LIMIT, |node| !told(node, "Failed").is_empty()).await;
        let view = node.container("web", "main").unwrap();
        assert_eq!(view.reason, "CreateContainerConfigError");
        let wanted = format!("container has runAsNonRoot and {words} (pod: \"web-{NODE}_default(");
        assert!(view.message.starts_with(&wanted), "{}", view.message);
        assert!(view.message.ends_with(")\", container: main)"), "{}", view.message);
        assert_eq!(told(&node, "Failed"), [format!("Error: {}", view.message)]);
        assert_eq!(make.fake.count_calls(|record| record.call == Call::CreateContainer), 0);
        // The image is mended under the same name.
        make.fake.seed_image_user(IMAGE, Some(5), "");
        node.until_running("web").await;
        assert_eq!(context(&message(&node, "web")).run_as_user.map(|user| user.value), Some(5));
        node.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a42_a_seccomp_profile_that_is_missing_makes_no_container() {
    let make = Make::new();
    let profile = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "a/p.json" } });
    let node = make.start(&[with(sleeper("web"), profile)]);
    node.until("refused", LIMIT, |node| !told(node, "Failed").is_empty()).await;
    let view = node.container("web", "main").unwrap();
    let path = make.dir.path().join("root/seccomp/a/p.json");
    let wanted = format!("failed to read seccomp profile {}: No such file", path.display());
    assert_eq!(view.reason, "CreateContainerConfigError");
    assert!(view.message.starts_with(&wanted), "{}", view.message);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "{}").unwrap();
    node.until_running("web").await;
    let seccomp = context(&message(&node, "web")).seccomp.clone().unwrap();
    assert_eq!(seccomp.localhost_ref, path.display().to_string());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a44_forbidden_parameters_and_profiles_fail_the_pod() {
    let sysctl = |name: &str, value: &str| json!({ "sysctls": [{ "name": name, "value": value }] });
    let profile = json!({ "appArmorProfile": { "type": "RuntimeDefault" } });
    for (asked, reason, message) in [
        (
            sysctl("kernel.msgmax", "1"),
            "SysctlForbidden",
            "forbidden sysctl: \"kernel.msgmax\" not allowlisted",
        ),
        (
            sysctl("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x"),
            "SysctlForbidden",
            "forbidden sysctl: \"kernel.shm_rmid_forced\" has a value with a character that no sysctl takes",
        ),
        (profile, "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"),
    ] {
        let make = Make::new();
        let node = make.start(&[with(sleeper("web"), asked)]);
        node.until("failed", LIMIT, |node| node.pod("web").is_some_and(|pod| pod.phase == "Failed")).await;
        assert_eq!(told(&node, reason), [message]);
        node.at_rest().await;
        assert_eq!(make.fake.count_calls(|record| record.call == Call::RunPodSandbox), 0);
        node.stop().await;
    }
    let make = Make::new();
    let node = make.start(&[with(sleeper("web"), sysctl("net/ipv4/tcp_syncookies", "0"))]);
    node.until_running("web").await;
    let runtime = node.runtime();
    let linux = runtime.sandboxes.values().next().unwrap().config.linux.clone().unwrap();
    assert_eq!(linux.sysctls, [("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned())].into());
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn strict_groups_wait_for_the_runtimes_word() {
    let strict = with(sleeper("web"), json!({ "supplementalGroupsPolicy": "Strict" }));
    for (says, phase) in [(Some(true), "Running"), (Some(false), "Failed"), (None, "Failed")] {
        let make = Make::new();
        make.fake.configure(|switches| switches.supplemental_groups_policy = says);
        let node = make.start(std::slice::from_ref(&strict));
        node.until(phase, LIMIT, |node| node.pod("web").is_some_and(|pod| pod.phase == phase)).await;
        let refused = told(&node, "SupplementalGroupsPolicyNotSupported");
        assert_eq!(refused.len(), usize::from(phase == "Failed"), "{says:?}");
        node.stop().await;
    }
}

fn own_users(name: &str) -> Value {
    let mut pod = sleeper(name);
    pod["spec"]["hostUsers"] = json!(false);
    pod
}

fn userns(sandbox: &Sandbox) -> UserNamespace {
    let context = sandbox.config.linux.as_ref().unwrap().security_context.as_ref().unwrap();
    context.namespace_options.as_ref().unwrap().userns_options.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_runtime_without_user_namespaces_makes_no_sandbox() {
    let make = Make::new();
    let node = make.start(&[own_users("web")]);
    node.until("refused", LIMIT, |node| !told(node, "FailedCreatePodSandBox").is_empty()).await;
    let message = &told(&node, "FailedCreatePodSandBox")[0];
    assert!(
        message.starts_with("Failed to create pod sandbox: failed to generate sandbox config"),
        "{message}"
    );
    let words = "can't set `spec.hostUsers: false`, runtime does not support user namespaces";
    assert!(message.ends_with(words), "{message}");
    assert_eq!(make.fake.count_calls(|record| record.call == Call::RunPodSandbox), 0);
    make.fake.configure(|switches| switches.user_namespaces = true);
    node.until("it runs", Duration::from_secs(400), |node| node.is_running("web")).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_user_namespace_is_the_pods_own_for_as_long_as_it_lives() {
    let make = Make::new();
    make.fake.configure(|switches| switches.user_namespaces = true);
    let pods: Vec<_> = ["a", "b", "c"].into_iter().map(own_users).collect();
    let node = make.start(&pods);
    for name in ["a", "b", "c"] {
        node.until_running(name).await;
    }
    let given: Vec<_> = node.runtime().sandboxes.values().map(userns).collect();
    let firsts: BTreeSet<u32> = given.iter().map(|given| given.uids[0].host_id).collect();
    assert_eq!(firsts.len(), 3, "{given:?}");
    assert!(given.iter().all(|given| given.mode() == NamespaceMode::Pod && given.uids == given.gids));
    assert!(firsts.iter().all(|first| *first >= 65_536 && first % 65_536 == 0));
    let before = message(&node, "b");
    let own = context(&before).namespace_options.clone().unwrap().userns_options.unwrap();
    assert!(given.contains(&own));
    let runtime = node.runtime();
    let mounts =
        runtime.running().into_iter().find(|container| context(&container.config) == context(&before));
    for mount in &mounts.unwrap().config.mounts {
        assert_eq!(
            (&mount.uid_mappings, &mount.gid_mappings),
            (&own.uids, &own.gids),
            "{}",
            mount.container_path
        );
    }
    node.stop().await;

    let node = make.start(&pods[1..]);
    node.until("the first is gone", LIMIT, |node| node.runtime().sandboxes.len() == 2).await;
    crash(&make, &node, "b", 1).await;
    assert_eq!(message(&node, "b"), before, "after a restart of the agent");
    let mut more = pods[1..].to_vec();
    more.push(own_users("d"));
    node.want(&more);
    node.until_running("d").await;
    let runtime = node.runtime();
    let now: BTreeSet<u32> =
        runtime.sandboxes.values().map(|sandbox| userns(sandbox).uids[0].host_id).collect();
    assert_eq!(now.len(), 3);
    node.want(&[]);
    node.until("all are gone", LIMIT, |node| node.is_empty()).await;
    node.stop().await;
}
