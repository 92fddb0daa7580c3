//! What a node may and may not do, under the Node authorizer and NodeRestriction.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::{lease, pod, text, uid};
use crate::wire::Answer;

cases! {
    a_node_lists_its_own_pods_only,
    a_node_writes_its_own_node_only,
    a_node_writes_the_status_of_its_own_pods_only,
    a_node_creates_mirror_pods_only,
    a_node_renews_its_own_lease_only,
    a_node_reads_what_its_pods_need_only,
    a_node_watches_what_its_pods_need_by_name,
    a_node_watches_all_services,
    a_node_asks_tokens_for_its_pods_only,
}

/// Checks a refusal by its beginning and its end: the middle of some has an order that is not told.
#[track_caller]
fn denied(answer: Answer, parts: &[&str]) {
    let body = answer.expect(403);
    assert_eq!(body["reason"], "Forbidden");
    for part in parts {
        assert!(text(&body, "/message").contains(part), "{part:?} is not in {body}");
    }
}

async fn a_node_lists_its_own_pods_only(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let node = cluster.as_node().await;
    let mine =
        Cluster::with("/api/v1/pods", &[("fieldSelector", &format!("spec.nodeName={}", cluster.node))]);
    let list = node.get(&mine).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let user = format!(
        "User \"system:node:{}\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
        cluster.node
    );
    denied(node.get("/api/v1/pods").await, &["pods is forbidden: ", &user]);
}

async fn a_node_writes_its_own_node_only(cluster: &Cluster) {
    let node = cluster.as_node().await;
    let mine = format!("/api/v1/nodes/{}", cluster.node);
    let heartbeat = json!({ "status": { "phase": "Running" } });
    node.patch(&format!("{mine}/status"), heartbeat.clone()).await.expect(200);
    let others = format!("/api/v1/nodes/{}-b", cluster.node);
    let words = [
        format!("nodes \"{0}-b\" is forbidden: ", cluster.node),
        format!("node \"{0}\" is not allowed to modify node \"{0}-b\"", cluster.node),
    ];
    let other =
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": format!("{}-b", cluster.node) } });
    cluster.wire.post("/api/v1/nodes", other).await.expect(201);
    let refused = node.patch(&format!("{others}/status"), heartbeat).await;
    cluster.wire.delete(&others, json!({})).await.expect(200);
    denied(refused, &[&words[0], &words[1]]);
    let taint = json!({ "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
    denied(
        node.patch(&mine, taint).await,
        &[&format!("node \"{}\" is not allowed to modify taints", cluster.node)],
    );
    let label = |key: &str| json!({ "metadata": { "labels": { key: "x" } } });
    node.patch(&mine, label("type")).await.expect(200);
    node.patch(&mine, label("node.kubernetes.io/x")).await.expect(200);
    denied(
        node.patch(&mine, label("kubernetes.io/x")).await,
        &["is not allowed to modify labels: kubernetes.io/x"],
    );
    let restricted = label("node-restriction.kubernetes.io/x");
    denied(
        node.patch(&mine, restricted).await,
        &["is not allowed to modify labels: node-restriction.kubernetes.io/x"],
    );
}

async fn a_node_writes_the_status_of_its_own_pods_only(cluster: &Cluster) {
    cluster.pod("mine", json!({})).await;
    cluster.pod("theirs", json!({ "spec": { "nodeName": "another" } })).await;
    let node = cluster.as_node().await;
    let status = json!({ "status": { "phase": "Running" } });
    node.patch(&cluster.path("pods/mine/status"), status.clone()).await.expect(200);
    let words = format!(
        "node \"{}\" can only update pod status for pods with spec.nodeName set to itself",
        cluster.node
    );
    denied(
        node.patch(&cluster.path("pods/theirs/status"), status).await,
        &["pods \"theirs\" is forbidden: ", &words],
    );
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    let words = format!("node \"{}\" cannot update labels through pod status", cluster.node);
    denied(node.patch(&cluster.path("pods/mine/status"), label.clone()).await, &[&words]);
    denied(node.patch(&cluster.path("pods/mine"), label).await, &["cannot patch resource \"pods\""]);
    let words = format!("node \"{}\" can only delete pods with spec.nodeName set to itself", cluster.node);
    denied(node.delete(&cluster.path("pods/theirs"), json!({})).await, &[&words]);
    node.delete(&cluster.path("pods/mine"), json!({ "gracePeriodSeconds": 0 })).await.expect(200);
}

async fn a_node_creates_mirror_pods_only(cluster: &Cluster) {
    let node = cluster.as_node().await;
    let words = format!(
        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"{}\" can only create mirror pods",
        cluster.node
    );
    denied(node.post(&cluster.path("pods"), pod("p", &cluster.node, json!({}))).await, &[&words]);
    let object = cluster.wire.get(&format!("/api/v1/nodes/{}", cluster.node)).await.expect(200);
    let owner = json!({ "apiVersion": "v1", "kind": "Node", "name": cluster.node, "uid": uid(&object), "controller": true });
    let mirror = json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "hash" }, "ownerReferences": [owner] } });
    node.post(&cluster.path("pods"), pod("p", &cluster.node, mirror.clone())).await.expect(201);
    let elsewhere = node.post(&cluster.path("pods"), pod("q", "another", mirror)).await;
    denied(
        elsewhere,
        &[&format!("node \"{}\" can only create pods with spec.nodeName set to itself", cluster.node)],
    );
    let orphan = json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "hash" } } });
    let words =
        format!("node \"{}\" can only create pods with an owner reference set to itself", cluster.node);
    let refused = node.post(&cluster.path("pods"), pod("r", &cluster.node, orphan)).await;
    denied(refused, &[&words]);
}

async fn a_node_renews_its_own_lease_only(cluster: &Cluster) {
    let node = cluster.as_node().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    node.post(leases, lease(&cluster.node, &cluster.node)).await.expect(201);
    let mine = format!("{leases}/{}", cluster.node);
    let renewal = json!({ "spec": { "renewTime": "2026-01-02T03:05:05.000000Z" } });
    node.merge(&mine, renewal).await.expect(200);
    cluster.wire.delete(&mine, json!({})).await.expect(200);
    denied(
        node.get(&format!("{leases}/another")).await,
        &["can only access node lease with the same name as the requesting node"],
    );
    denied(
        node.get(&format!("{}/{}", cluster.leases(), cluster.node)).await,
        &["can only access leases in the \"kube-node-lease\" system namespace"],
    );
}

async fn a_node_reads_what_its_pods_need_only(cluster: &Cluster) {
    let node = cluster.as_node().await;
    let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "k": "v" } });
    cluster.wire.post(&cluster.path("configmaps"), map("needed")).await.expect(201);
    cluster.wire.post(&cluster.path("configmaps"), map("foreign")).await.expect(201);
    let volume = json!({ "spec": { "volumes": [{ "name": "v", "configMap": { "name": "needed" } }] } });
    cluster.pod("p", volume).await;
    let path = cluster.path("configmaps/needed");
    // The authorizer learns of a pod from a watch of its own.
    for _ in 0..100 {
        if node.get(&path).await.code == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    node.get(&path).await.expect(200);
    let words = "no relationship found between node ";
    denied(
        node.get(&cluster.path("configmaps/foreign")).await,
        &["configmaps \"foreign\" is forbidden: ", words],
    );
    denied(
        node.get(&cluster.path("secrets")).await,
        &["secrets is forbidden: ", "cannot list resource \"secrets\""],
    );
}

async fn a_node_watches_what_its_pods_need_by_name(cluster: &Cluster) {
    let node = cluster.as_node().await;
    // What is text in the one kind is base64 in the other.
    let object = |kind: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "needed" }, "data": { "k": "MQ==" } });
    let volumes = json!([{ "name": "m", "configMap": { "name": "needed" } },
        { "name": "s", "secret": { "secretName": "needed" } }]);
    cluster.pod("p", json!({ "spec": { "volumes": volumes } })).await;
    for (kind, plural) in [("ConfigMap", "configmaps"), ("Secret", "secrets")] {
        let all = cluster.path(plural);
        let named = |name: &str, more: &[(&str, &str)]| {
            let selector = format!("metadata.name={name}");
            Cluster::with(&all, &[&[("fieldSelector", &*selector)], more].concat())
        };
        // The authorizer learns of a pod from a watch of its own.
        for _ in 0..100 {
            if node.get(&named("needed", &[])).await.code == 200 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let list = node.get(&named("needed", &[("limit", "500")])).await.expect(200);
        assert_eq!(list["items"], json!([]), "an object that is not there yet is an empty list");
        let from = text(&list, "/metadata/resourceVersion").to_owned();
        let mut watch = node
            .watch(&named(
                "needed",
                &[("resourceVersion", &from), ("allowWatchBookmarks", "true"), ("timeoutSeconds", "60")],
            ))
            .await;
        for _ in 0..2 {
            cluster.wire.post(&all, object(kind)).await.expect(201);
            watch.event("ADDED", "needed").await;
            let path = format!("{all}/needed");
            cluster.wire.merge(&path, json!({ "data": { "k": "Mg==" } })).await.expect(200);
            let seen = watch.event("MODIFIED", "needed").await;
            assert_eq!(seen["data"]["k"], "Mg==");
            cluster.wire.delete(&path, json!({})).await.expect(200);
            watch.event("DELETED", "needed").await;
        }
        let refused = format!("cannot list resource {plural:?}");
        denied(node.get(&named("foreign", &[])).await, &["is forbidden: ", &refused]);
        let refused = format!("cannot watch resource {plural:?}");
        denied(node.get(&Cluster::with(&all, &[("watch", "true")])).await, &["is forbidden: ", &refused]);
    }
}

async fn a_node_watches_all_services(cluster: &Cluster) {
    let node = cluster.as_node().await;
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }], "clusterIP": "None" } });
    let list = node.get(&Cluster::with("/api/v1/services", &[("limit", "500")])).await.expect(200);
    let from = text(&list, "/metadata/resourceVersion").to_owned();
    cluster.wire.post(&cluster.path("services"), service).await.expect(201);
    let parameters = [("resourceVersion", &*from), ("timeoutSeconds", "60")];
    let mut watch = node.watch(&Cluster::with("/api/v1/services", &parameters)).await;
    let seen = loop {
        let event = watch.next().await.expect("an event");
        if text(&event, "/object/metadata/namespace") == cluster.namespace {
            break event;
        }
    };
    assert_eq!((text(&seen, "/type"), text(&seen, "/object/metadata/name")), ("ADDED", "web"));
    assert_eq!(seen["object"]["spec"]["ports"][0]["port"], 80);
    cluster.wire.delete(&cluster.path("services/web"), json!({})).await.expect(200);
}

async fn a_node_asks_tokens_for_its_pods_only(cluster: &Cluster) {
    let source = json!({ "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } });
    let volume = json!({ "spec": { "volumes": [{ "name": "t", "projected": { "sources": [source] } }] } });
    let mine = cluster.pod("mine", volume).await;
    let bare = cluster.pod("bare", json!({})).await;
    let theirs = cluster.pod("theirs", json!({ "spec": { "nodeName": "another" } })).await;
    let node = cluster.as_node().await;
    let path = cluster.path("serviceaccounts/default/token");
    let request = |bound: Value| {
        let spec = json!({ "audiences": [], "expirationSeconds": 3607, "boundObjectRef": bound });
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec })
    };
    let bound = |pod: &Value| json!({ "kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": uid(pod) });
    // The authorizer learns of a pod from a watch of its own.
    for _ in 0..100 {
        if node.post(&path, request(bound(&mine))).await.code == 201 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    node.post(&path, request(bound(&mine))).await.expect(201);
    denied(node.post(&path, request(Value::Null)).await, &["node requested token not bound to a pod"]);
    let words = "node requested token bound to a pod scheduled on a different node";
    denied(node.post(&path, request(bound(&theirs))).await, &[words]);
    let words = format!(
        "audience \"\" not found in pod spec volume, system:node:{} is not authorized to request tokens for this audience",
        cluster.node
    );
    denied(node.post(&path, request(bound(&bare))).await, &[&words]);
    let unknown = json!({ "kind": "Pod", "apiVersion": "v1", "name": "none", "uid": "u" });
    node.post(&path, request(unknown)).await.refused(404, "NotFound", "pod \"none\" not found");
}
