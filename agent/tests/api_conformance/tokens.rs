//! TokenRequest.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::{text, uid};

cases! {
    a_token_is_bound_to_its_pod,
    a_token_for_a_pod_that_is_not_there_is_refused,
    a_token_for_a_pod_of_another_uid_is_refused,
    a_token_must_live_ten_minutes,
}

fn request(pod: &str, uid: &str, seconds: i64) -> Value {
    let bound = json!({ "kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid });
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": { "audiences": [], "expirationSeconds": seconds, "boundObjectRef": bound },
    })
}

async fn a_token_is_bound_to_its_pod(cluster: &Cluster) {
    let pod = cluster.pod("p", json!({})).await;
    let path = cluster.path("serviceaccounts/default/token");
    let given = cluster.wire.post(&path, request("p", uid(&pod), 3600)).await.expect(201);
    assert!(given["status"]["expirationTimestamp"].is_string());
    let token = text(&given, "/status/token");
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["kubernetes.io"]["pod"], json!({ "name": "p", "uid": uid(&pod) }));
    assert_eq!(claims["sub"], format!("system:serviceaccount:{}:default", cluster.namespace));
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 3600);
}

async fn a_token_for_a_pod_that_is_not_there_is_refused(cluster: &Cluster) {
    let path = cluster.path("serviceaccounts/default/token");
    let refused = cluster.wire.post(&path, request("none", "u", 3600)).await;
    refused.refused(404, "NotFound", "pods \"none\" not found");
    let account = cluster.path("serviceaccounts/nobody/token");
    let refused = cluster.wire.post(&account, request("none", "u", 3600)).await;
    refused.refused(404, "NotFound", "serviceaccounts \"nobody\" not found");
}

async fn a_token_for_a_pod_of_another_uid_is_refused(cluster: &Cluster) {
    cluster.pod("p", json!({})).await;
    let path = cluster.path("serviceaccounts/default/token");
    let refused = cluster.wire.post(&path, request("p", "not-the-one", 3600)).await;
    let message = "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (not-the-one) does not \
                   match the UID in record. The object might have been deleted and then recreated";
    refused.refused(409, "Conflict", message);
}

async fn a_token_must_live_ten_minutes(cluster: &Cluster) {
    let pod = cluster.pod("p", json!({})).await;
    let path = cluster.path("serviceaccounts/default/token");
    let refused = cluster.wire.post(&path, request("p", uid(&pod), 60)).await;
    let message = "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 60: may not \
                   specify a duration less than 10 minutes";
    refused.refused(422, "Invalid", message);
}
