//! What controllers make of pods: a Deployment, Jobs, a DaemonSet.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::admin::{is_ready, restarts, text};
use crate::agent::Agent;
use crate::case::{Case, WAIT, deployment, template};
use crate::control_plane::ControlPlane;
use crate::say;

/// Pods of the Deployment.
const REPLICAS: usize = 20;
/// Pods that are left for the roll.
const FEW: usize = 6;

pub(crate) fn a_deployment_of_20_comes_scales_rolls_and_goes(cluster: &ControlPlane) {
    let case = Case::start(cluster, "deployment");
    let script = format!("echo generation $GENERATION; {WAIT}");
    let began = Instant::now();
    case.namespace.create(&deployment("web", REPLICAS, &script));
    let (pods, up) = until_ready(&case, began, REPLICAS, None);
    let addresses: BTreeSet<_> = pods.iter().map(|pod| text(&pod["status"]["podIP"])).collect();
    assert_eq!(addresses.len(), REPLICAS, "each pod has an address of its own");
    for pod in &pods {
        assert_eq!(pod["spec"]["nodeName"], case.agent.name.as_str());
        assert_eq!(restarts(pod), 0);
        assert_eq!(pod["status"]["qosClass"], "BestEffort");
    }

    let scaled = Instant::now();
    case.namespace.kubectl(&["scale", "deployment", "web", &format!("--replicas={FEW}")]);
    let (_, down) = until_ready(&case, scaled, FEW, None);
    assert_eq!(case.agent.runtime.sandboxes(&case.agent.name).len(), FEW);

    let rolled = Instant::now();
    case.namespace.kubectl(&["set", "env", "deployment/web", "GENERATION=2"]);
    let (pods, roll) = until_ready(&case, rolled, FEW, Some("2"));
    let name = text(&pods[0]["metadata"]["name"]).to_owned();
    assert_eq!(case.namespace.kubectl(&["logs", &name]), "generation 2\n");

    case.namespace.kubectl(&["delete", "--wait=false", "deployment", "web"]);
    let gone = case.until_nothing_is_left();
    case.agent.a80_was_never_refused();
    say(&format!(
        "Deployment: {REPLICAS} Ready after {up:.1?}, {FEW} left after {down:.1?}, rolled in {roll:.1?}, gone in {gone:.1?}"
    ));
}

/// Waits until exactly so many pods are there, all Ready, all of this generation.
fn until_ready(
    case: &Case<'_>,
    since: Instant,
    count: usize,
    generation: Option<&str>,
) -> (Vec<Value>, std::time::Duration) {
    let is_right = |pod: &Value| {
        let generation = generation.map_or(Value::Null, Value::from);
        is_ready(pod) && pod["spec"]["containers"][0]["env"][0]["value"] == generation
    };
    case.until_pods(&format!("{count} pods that are Ready"), since, |pods| {
        (pods.len() == count && pods.iter().all(is_right)).then(|| pods.to_vec())
    })
}

pub(crate) fn a_job_ends_as_its_exit_code_says(cluster: &ControlPlane) {
    let case = Case::start(cluster, "job");
    for (name, code) in [("good", 0), ("bad", 7)] {
        let mut template = template(name, "Never", &format!("exit {code}"));
        template["metadata"].as_object_mut().unwrap().remove("labels");
        case.namespace.create(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
            "spec": { "backoffLimit": 0, "template": template },
        }));
    }
    for (name, code, phase, reason) in [("good", 0, "Succeeded", "Completed"), ("bad", 7, "Failed", "Error")]
    {
        let find = |pods: &[Value]| {
            let ours = |pod: &&Value| pod["metadata"]["labels"]["job-name"] == name;
            pods.iter().filter(ours).find(|pod| pod["status"]["phase"] == phase).cloned()
        };
        let (pod, _) = case.until_pods(&format!("{name} {phase}"), Instant::now(), find);
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(code), &json!(reason)), "{ended}");
    }
    for (name, wanted) in [("good", "complete"), ("bad", "failed")] {
        let wanted = format!("--for=condition={wanted}");
        case.namespace.kubectl(&["wait", "--timeout=15s", &wanted, &format!("job/{name}")]);
    }
    let failed = case.namespace.get(&["job", "bad"]).unwrap();
    assert_eq!(crate::admin::condition(&failed, "Failed")["reason"], "BackoffLimitExceeded");
    case.namespace.kubectl(&["delete", "--wait=false", "job", "good", "bad"]);
    case.until_nothing_is_left();
    case.agent.a80_was_never_refused();
}

pub(crate) fn a_daemon_set_has_a_pod_on_each_node(cluster: &ControlPlane) {
    let case = Case::start(cluster, "daemons");
    let mut template = template("daemon", "Always", WAIT);
    // Without it the controller, which does not know of the namespace's selector, would want it on every node.
    template["spec"]["nodeSelector"] = json!({ crate::namespace::CASE: case.namespace.name });
    case.namespace.create(&json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "daemon" },
        "spec": { "selector": { "matchLabels": { "app": "daemon" } }, "template": template },
    }));
    let nodes = |pods: &[Value]| -> Option<BTreeSet<String>> {
        let names = pods.iter().map(|pod| text(&pod["spec"]["nodeName"]).to_owned()).collect();
        pods.iter().all(is_ready).then_some(names)
    };
    let first = BTreeSet::from([case.agent.name.clone()]);
    case.until_pods("a pod on the node", Instant::now(), |pods| nodes(pods).filter(|found| *found == first));

    let other = Agent::start(cluster, &case.agent.runtime, &case.namespace.name);
    let both: BTreeSet<_> = [case.agent.name.clone(), other.name.clone()].into();
    case.until_pods("a pod on each", Instant::now(), |pods| nodes(pods).filter(|found| *found == both));
    case.namespace.kubectl(&["delete", "--wait=false", "daemonset", "daemon"]);
    case.until_nothing_is_left();
    other.a80_was_never_refused();
}
