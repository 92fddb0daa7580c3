//! A namespace of one case, whose pods the scheduler puts on that case's nodes only.

use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, until};

/// Label of a case's nodes; the value is the namespace.
pub(crate) const CASE: &str = "pinnace.dev/case";

/// The namespace; deleted when dropped, with what is in it.
pub(crate) struct Namespace<'a> {
    cluster: &'a ControlPlane,
    /// Its name.
    pub(crate) name: String,
}

impl<'a> Namespace<'a> {
    /// A fresh one, ready for pods. Nodes of the case carry the label [`CASE`] with its name.
    pub(crate) fn fresh(cluster: &'a ControlPlane, case: &str) -> Self {
        // Not the name of the run before, which may still be going.
        let name = format!("{case}-{}", std::process::id());
        let selector = "scheduler.alpha.kubernetes.io/node-selector";
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "annotations": { selector: format!("{CASE}={name}") } },
        });
        cluster.create("admin", &object).expect("a namespace");
        let namespace = Self { cluster, name };
        for needed in ["serviceaccount/default", "configmap/kube-root-ca.crt"] {
            until(needed, || namespace.get(&[needed]));
        }
        namespace
    }

    /// An object in it, by the words of `kubectl get`.
    pub(crate) fn get(&self, args: &[&str]) -> Result<Value, String> {
        self.cluster.get(&[&["-n", &self.name], args].concat())
    }

    /// Creates an object in it.
    pub(crate) fn create(&self, object: &Value) {
        let args = ["-n", &self.name, "create", "-f", "-"];
        self.cluster
            .try_kubectl("admin", &args, &object.to_string())
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// What kubectl prints about it for the administrator, or its error.
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.cluster.try_kubectl("admin", &[&["-n", &self.name], args].concat(), "")
    }

    /// What kubectl prints about it for the administrator.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.cluster.kubectl(&[&["-n", &self.name], args].concat())
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // What stays is wiped with the cluster.
        let delete = ["delete", "--wait=false", "namespace", &self.name];
        let _ = self.cluster.try_kubectl("admin", &delete, "");
        // The node may be gone before they are, and then nobody says that they have ended.
        let pods =
            ["-n", &self.name, "delete", "--wait=false", "--grace-period=0", "--force", "pods", "--all"];
        let _ = self.cluster.try_kubectl("admin", &pods, "");
    }
}

/// A Node without an agent behind it, registered with its own credentials and Ready until the controllers miss it.
pub(crate) fn fake_node<'a>(cluster: &'a ControlPlane, name: &str, case: &str) -> FakeNode<'a> {
    // A run that was killed may have left it.
    cluster.kubectl(&["delete", "--ignore-not-found", "node", name]);
    let who = format!("node:{name}");
    let labels = json!({ CASE: case, "kubernetes.io/hostname": name });
    // Status comes with the registration, as a kubelet's does: kubectl could not patch it, since it reads first
    // and a node may not read the subresource.
    let object = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels },
        "status": {
            "capacity": { "cpu": "1", "memory": "1Gi", "pods": "10" },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Test", "message": "a node of a test" }],
        },
    });
    cluster.create(&who, &object).expect("a node registers itself");
    FakeNode { cluster, name: name.to_owned() }
}

/// The Node object; deleted when dropped.
pub(crate) struct FakeNode<'a> {
    cluster: &'a ControlPlane,
    name: String,
}

impl Drop for FakeNode<'_> {
    fn drop(&mut self) {
        let _ = self.cluster.try_kubectl("admin", &["delete", "--wait=false", "node", &self.name], "");
    }
}

pub(crate) fn a_pod_gets_its_volume_and_its_node(cluster: &ControlPlane) {
    let namespace = Namespace::fresh(cluster, "scheduled");
    let node = "node-of-scheduled";
    let _node = fake_node(cluster, node, &namespace.name);
    namespace.kubectl(&["run", "lonely", "--image=pinnace.local/none"]);
    let pod = until("a node for the pod", || {
        let pod = namespace.get(&["pod", "lonely"])?;
        let unscheduled = || pod["status"]["conditions"].to_string();
        pod["spec"]["nodeName"].as_str().map(str::to_owned).ok_or_else(unscheduled).map(|_| pod)
    });
    assert_eq!(pod["spec"]["nodeName"], node);
    let sources = pod["spec"]["volumes"][0]["projected"]["sources"].as_array().expect("a projected volume");
    assert!(sources[0]["serviceAccountToken"].is_object(), "{sources:?}");
    assert_eq!(sources[1]["configMap"]["name"], "kube-root-ca.crt");
    assert_eq!(sources[2]["downwardAPI"]["items"][0]["path"], "namespace");
    let mounted = &pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"];
    assert_eq!(mounted, "/var/run/secrets/kubernetes.io/serviceaccount");
}
