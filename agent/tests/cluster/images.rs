//! Images of a registry with a password: who gets them, and how pulls share their places and tell how far they are.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::{is_ready, text};
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
