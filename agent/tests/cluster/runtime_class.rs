//! Runtime classes of a real API server: admission writes their overhead, the node asks for their handler.

use std::time::Instant;

use serde_json::{Value, json};

use crate::case::{Case, SOON, WAIT, pod};
use crate::control_plane::ControlPlane;

/// A class, gone with its test: classes belong to no namespace.
struct Class<'a> {
    cluster: &'a ControlPlane,
    name: String,
}

impl<'a> Class<'a> {
    fn new(case: &Case<'a>, cluster: &'a ControlPlane, handler: &str) -> Self {
        let name = format!("{handler}-{}", case.namespace.name);
        let object = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
            "metadata": { "name": name }, "handler": handler,
            "overhead": { "podFixed": { "cpu": "250m", "memory": "16Mi" } },
        });
        cluster.create("admin", &object).expect("a runtime class");
        Self { cluster, name }
    }

    fn pod(&self, name: &str) -> Value {
        let mut pod = pod(name, "Always", WAIT);
        pod["spec"]["runtimeClassName"] = json!(self.name);
        pod["spec"]["containers"][0]["resources"] = json!({ "limits": { "cpu": "500m", "memory": "32Mi" } });
        pod
    }
}

impl Drop for Class<'_> {
    fn drop(&mut self) {
        // What stays is wiped with the cluster.
        let _ = self.cluster.try_kubectl("admin", &["delete", "runtimeclass", &self.name], "");
    }
}

pub(crate) fn a_pod_runs_with_the_handler_and_the_overhead_of_its_class(cluster: &ControlPlane) {
    let case = Case::start(cluster, "class");
    let (good, bad) = (Class::new(&case, cluster, "runc"), Class::new(&case, cluster, "nohandler"));
    case.namespace.create(&good.pod("good"));
    case.namespace.create(&bad.pod("bad"));
    let good = case.until_phase("good", "Running");
    assert_eq!(good["spec"]["overhead"], json!({ "cpu": "250m", "memory": "16Mi" }));
    assert_eq!(good["status"]["qosClass"], "Guaranteed");

    let runtime = &case.agent.runtime;
    let sandboxes = runtime.sandboxes(&case.agent.name);
    let ids: Vec<_> = sandboxes.iter().filter_map(|sandbox| sandbox["id"].as_str()).collect();
    assert_eq!(ids.len(), 1, "{sandboxes:?}");
    let info = runtime.sandbox(ids[0])["info"].clone();
    assert_eq!(info["runtimeHandler"], "runc", "{info}");
    let linux = &info["config"]["linux"];
    assert_eq!(linux["overhead"]["cpu_shares"], 256, "{linux}");
    assert_eq!(linux["overhead"]["memory_limit_in_bytes"], 16 << 20, "{linux}");
    assert_eq!(linux["resources"]["cpu_quota"], 50_000, "{linux}");
    let containers = runtime.containers(&case.agent.name);
    let id = containers[0]["id"].as_str().unwrap();
    let asked = runtime.container(id)["info"]["config"]["linux"]["resources"].clone();
    assert_eq!(asked["oom_score_adj"], -997, "{asked}");

    let told = || {
        let events = case.namespace.get(&["events"])?;
        let is_it = |event: &&Value| event["reason"] == "FailedCreatePodSandBox";
        let event = events["items"].as_array().and_then(|all| all.iter().find(is_it));
        let message = event.and_then(|event| event["message"].as_str()).unwrap_or_default().to_owned();
        if message.contains("nohandler") { Ok(()) } else { Err(message) }
    };
    case.agent.until("an event with the runtime's own error", Instant::now(), SOON, told);
    case.agent.a80_was_never_refused();
}
