//! A cluster for one case: the fake, or a namespace and a Node of its own in a real one.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use http::Uri;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::fake_api::FakeApi;
use crate::wire::Wire;

/// The name of a node, with `system:node:` before it, must fit the 64 characters of a certificate's subject.
const MOST: usize = 48;

/// The client, and the names that belong to this case.
pub struct Cluster {
    pub wire: Wire,
    pub namespace: String,
    pub node: String,
    /// None: a real one.
    pub fake: Option<FakeApi>,
}

impl Cluster {
    pub async fn fake() -> Self {
        let api = FakeApi::new();
        let cluster = Self::over(api.client(), "conformance", Some(api));
        cluster.prepare().await;
        cluster
    }

    /// The real cluster of the environment; None, with a message, when there is none.
    pub async fn real(case: &str) -> Option<Self> {
        let Some(script) = std::env::var_os("PINNACE_TEST_CLUSTER") else {
            let required = std::env::var_os("PINNACE_TEST_REQUIRE_CLUSTER").is_some_and(|value| value == "1");
            assert!(
                !required,
                "PINNACE_TEST_CLUSTER is not set, and PINNACE_TEST_REQUIRE_CLUSTER=1 asks for it"
            );
            eprintln!("skipped {case}: PINNACE_TEST_CLUSTER does not name the script of a cluster");
            return None;
        };
        let name = format!("conf-{}-{}", std::process::id(), case.replace('_', "-"));
        let cluster = Self::over(client(&script, "admin").await, &name, None);
        cluster.prepare().await;
        Some(cluster)
    }

    /// The same server as this case's node sees it.
    pub async fn as_node(&self) -> Wire {
        let client = match (&self.fake, std::env::var_os("PINNACE_TEST_CLUSTER")) {
            (Some(fake), _) => fake.client_of_node(&self.node),
            (None, Some(script)) => client(&script, &format!("node:{}", self.node)).await,
            (None, None) => panic!("a real cluster without its script"),
        };
        Wire { client }
    }

    fn over(client: Client, name: &str, fake: Option<FakeApi>) -> Self {
        let short: String = name.chars().take(MOST).collect();
        let name = short.trim_end_matches('-').to_owned();
        Self { wire: Wire { client }, namespace: name.clone(), node: name, fake }
    }

    async fn prepare(&self) {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace } });
        self.wire.post("/api/v1/namespaces", namespace).await.expect(201);
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": self.node } });
        self.wire.post("/api/v1/nodes", node).await.expect(201);
        if let Some(fake) = &self.fake {
            fake.create(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "elsewhere" }, "spec": { "nodeName": "other", "containers": [] } }));
        }
        let account = self.path("serviceaccounts/default");
        for _ in 0..300 {
            if self.wire.get(&account).await.code == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no default service account in {} after 30 s", self.namespace);
    }

    /// Removes what this case made.
    pub async fn remove(&self) {
        let now = json!({ "gracePeriodSeconds": 0 });
        let pods = self.wire.get(&self.path("pods")).await.expect(200);
        for pod in pods["items"].as_array().into_iter().flatten() {
            let path = self.path(&format!("pods/{}", pod["metadata"]["name"].as_str().unwrap()));
            let _none = self.wire.merge(&path, json!({ "metadata": { "finalizers": null } })).await;
            let _gone = self.wire.delete(&path, now.clone()).await;
        }
        self.wire.delete(&format!("/api/v1/nodes/{}", self.node), json!({})).await.expect(200);
        self.wire.delete(&format!("/api/v1/namespaces/{}", self.namespace), json!({})).await.expect(200);
    }

    /// The path of something in this case's namespace: core, or a group's when it starts with `apis/`.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    pub fn leases(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    /// Creates a pod of this case's node and gives it back as stored.
    pub async fn pod(&self, name: &str, more: Value) -> Value {
        let pod = crate::objects::pod(name, &self.node, more);
        self.wire.post(&self.path("pods"), pod).await.expect(201)
    }

    /// `path` with these parameters, encoded.
    pub fn with(path: &str, parameters: &[(&str, &str)]) -> String {
        let encoded: Vec<String> =
            parameters.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
        let target = format!("{path}?{}", encoded.join("&"));
        assert!(target.parse::<Uri>().is_ok(), "{target}");
        target
    }
}

/// A client with the kubeconfig that the script gives out for `who`. It retries nothing by itself.
async fn client(script: &OsStr, who: &str) -> Client {
    let name = std::env::var("PINNACE_TEST_CLUSTER_NAME").unwrap_or_else(|_| "dev".to_owned());
    let output = Command::new(script).args(["kubeconfig", &name, who]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} kubeconfig {name} {who}: {said}", script.to_string_lossy());
    let path = String::from_utf8(output.stdout).unwrap();
    let kubeconfig = Kubeconfig::read_from(path.trim()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn escape(value: &str) -> String {
    value.replace('%', "%25").replace('=', "%3D").replace('&', "%26").replace('+', "%2B").replace(',', "%2C")
}
