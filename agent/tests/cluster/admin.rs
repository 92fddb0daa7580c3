//! The administrator's look at objects, cheap enough to look often.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::control_plane::ControlPlane;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A client with a connection that stays.
pub(crate) struct Admin {
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
}

impl Admin {
    /// The administrator of a cluster.
    pub(crate) fn of(cluster: &ControlPlane) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let client = runtime.block_on(cluster.client("admin"));
        Self { runtime, client }
    }

    /// The answer to a GET of a path of the API.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        self.ask(http::Request::get(path).body(Vec::new()).expect("a request"))
    }

    /// The answer to a POST of an object.
    pub(crate) fn post(&self, path: &str, object: &Value) -> Result<Value, String> {
        let request = http::Request::post(path).header("Content-Type", "application/json");
        self.ask(request.body(object.to_string().into_bytes()).expect("a request"))
    }

    /// The answer to a PATCH of these fields of an object.
    pub(crate) fn merge(&self, path: &str, fields: &Value) -> Result<Value, String> {
        let request = http::Request::patch(path).header("Content-Type", "application/merge-patch+json");
        self.ask(request.body(fields.to_string().into_bytes()).expect("a request"))
    }

    fn ask(&self, request: http::Request<Vec<u8>>) -> Result<Value, String> {
        self.runtime.block_on(async {
            match tokio::time::timeout(ANSWER, self.client.request::<Value>(request)).await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {ANSWER:?}")),
            }
        })
    }

    /// Pods of a namespace by their names.
    pub(crate) fn pods(&self, namespace: &str) -> Result<BTreeMap<String, Value>, String> {
        let mut list = self.get(&format!("/api/v1/namespaces/{namespace}/pods"))?;
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(items.into_iter().map(|pod| (text(&pod["metadata"]["name"]).to_owned(), pod)).collect())
    }

    /// The Node object.
    pub(crate) fn node(&self, name: &str) -> Result<Value, String> {
        self.get(&format!("/api/v1/nodes/{name}"))
    }
}

/// A string, empty if it is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// Whether a Node or a Pod is Ready.
pub(crate) fn is_ready(object: &Value) -> bool {
    condition(object, "Ready")["status"] == "True"
}

/// Restarts of all of a pod's containers.
pub(crate) fn restarts(pod: &Value) -> u64 {
    let statuses = pod["status"]["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    statuses.iter().filter_map(|status| status["restartCount"].as_u64()).sum()
}
