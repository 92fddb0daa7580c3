//! A kubelet ran here before: its pods are in the runtime, their statuses in the API, and the journal is empty.

use std::time::Duration;

use pinnace_cri::fake::{PodShape, SeedPhase, container_config, sandbox_config};
use serde_json::json;
use tokio::time::sleep;

use crate::harness::{IMAGE, NODE, sleeper};
use crate::rig::{Rig, main_of};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn p3_twenty_pods_of_a_kubelet_are_taken_over_with_their_statuses() {
    let rig = Rig::new();
    let mut uids = Vec::new();
    for n in 0..20 {
        let name = format!("web{n}");
        let mut pod = sleeper(&name);
        pod["spec"]["nodeName"] = json!(NODE);
        let uid = rig.api.create(pod)["metadata"]["uid"].as_str().unwrap().to_owned();
        let shape = PodShape::static_pod(&name, &uid);
        let sandbox = rig.make.fake.seed_sandbox(sandbox_config(&shape), HOUR);
        let config = container_config(&shape, "main", IMAGE, 2);
        let id = rig.make.fake.seed_container(&sandbox, config, SeedPhase::Running, HOUR).unwrap();
        rig.api.update("pods", "default", &name, |pod| pod["status"] = status(&id));
        uids.push(uid);
    }
    let mutations = rig.mutations();
    let agent = rig.start();
    sleep(Duration::from_secs(120)).await;
    assert_eq!(rig.mutations(), mutations, "a takeover made mutating calls");
    for (n, uid) in uids.iter().enumerate() {
        let pod = rig.pod(&format!("web{n}")).unwrap();
        assert_eq!(rig.api.transitions(uid, "Ready"), ["True"], "{pod}");
        assert_eq!((&pod["status"]["phase"], &main_of(&pod)["restartCount"]), (&json!("Running"), &json!(2)));
        assert_eq!(pod["status"]["startTime"], "2026-01-01T00:00:00Z");
    }
    rig.make.fake.kill(&rig.container_id(&uids[0]));
    rig.api
        .watch_until("a restart goes on counting", Duration::from_secs(30), |_| {
            main_of(&rig.pod("web0").unwrap())["restartCount"] == 3 && rig.is_ready("web0")
        })
        .await;
    rig.api.delete("pods", "default", "web1").unwrap();
    rig.until_gone("web1", Duration::from_secs(30)).await;
    agent.stop().await;
    rig.check_manners();
}

/// As the kubelet writes it.
fn status(id: &str) -> serde_json::Value {
    let at = "2026-01-01T00:00:00Z";
    let types = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let conditions = types.map(
        |kind| json!({ "type": kind, "status": "True", "lastTransitionTime": at, "lastProbeTime": null }),
    );
    json!({
        "phase": "Running", "startTime": at, "qosClass": "BestEffort", "conditions": conditions,
        "containerStatuses": [{ "name": "main", "image": IMAGE, "imageID": IMAGE, "ready": true, "started": true,
            "restartCount": 2, "containerID": format!("containerd://{id}"), "state": { "running": { "startedAt": at } },
            "lastState": {} }],
    })
}
