//! What a node's credentials are good for: the Node authorizer and NodeRestriction are on.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::namespace::{Namespace, fake_node};

/// The cluster refuses it to the node.
fn refused(cluster: &ControlPlane, who: &str, args: &[&str]) {
    let answer = cluster.try_kubectl(who, args, "");
    let error = answer.expect_err("must be refused");
    assert!(error.contains("(Forbidden)"), "{error}");
}

pub(crate) fn a_node_reaches_only_what_is_its_own(cluster: &ControlPlane) {
    let (node, other) = ("node-of-limits", "node-of-others");
    let who = format!("node:{node}");
    let _node = fake_node(cluster, node, "limits");
    let _other = fake_node(cluster, other, "limits");

    let mine = format!("--field-selector=spec.nodeName={node}");
    cluster.try_kubectl(&who, &["get", "pods", "-A", &mine], "").expect("its own pods");
    cluster.try_kubectl(&who, &["get", "node", node], "").expect("its own node");

    refused(cluster, &who, &["get", "pods", "-A"]);
    refused(cluster, &who, &["get", "secrets", "-A"]);
    refused(cluster, &who, &["get", "configmaps", "-n", "kube-system"]);
    refused(cluster, &who, &["delete", "--wait=false", "node", other]);
    let taint = r#"{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}"#;
    refused(cluster, &who, &["patch", "node", node, "-p", taint]);

    let foreign = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node-of-nobody" } });
    let error = cluster.create(&who, &foreign).expect_err("must be refused");
    assert!(error.contains("forbidden"), "{error}");

    let requests = cluster.requests_of(node);
    let secrets = requests.iter().find(|request| request["objectRef"]["resource"] == "secrets");
    let code = &secrets.expect("the audit log has the refusal")["responseStatus"]["code"];
    assert_eq!(code, 403);
}

pub(crate) fn a_client_with_a_nodes_credentials_lists_its_pods(cluster: &ControlPlane) {
    let namespace = Namespace::fresh(cluster, "client");
    let node = "node-of-client";
    let _node = fake_node(cluster, node, &namespace.name);
    let spec = json!({ "spec": { "nodeName": node } }).to_string();
    namespace.kubectl(&["run", "bound", "--image=pinnace.local/none", "--overrides", &spec]);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let names = runtime.block_on(async {
        let pods: Api<Pod> = Api::all(cluster.client(&format!("node:{node}")).await);
        let mine = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let list = pods.list(&mine).await.expect("its own pods");
        list.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
    });
    assert_eq!(names, ["bound"]);
}
