//! What an event is about. Pure.

use std::fmt;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use pinnace_cri::id::PodUid;

use crate::excerpt::excerpt;

/// Longest namespace, name and field path, in bytes: a name of the API has at most 253.
const MAX_NAME: usize = 512;

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A pod or a container of it.
    Pod {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// UID; none if it is not known, and then the writer to the API looks it up by name.
        uid: Option<PodUid>,
        /// A container, as the kubelet writes it: `spec.containers{web}`.
        field: Option<String>,
    },
    /// A node.
    Node {
        /// Name; empty for this node.
        name: String,
    },
}

impl Object {
    /// A pod.
    #[must_use]
    pub fn pod(namespace: impl Into<String>, name: impl Into<String>, uid: PodUid) -> Self {
        Self::Pod { namespace: namespace.into(), name: name.into(), uid: Some(uid), field: None }
    }

    /// A node.
    #[must_use]
    pub fn node(name: impl Into<String>) -> Self {
        Self::Node { name: name.into() }
    }

    /// One container of a pod, by its name in the pod's spec; the pod itself if the spec has none of that name.
    /// Another object stays as it is.
    #[must_use]
    pub fn container(&self, pod: &Pod, container: &str) -> Self {
        let path = pod.spec.as_ref().and_then(|spec| field_path(spec, container));
        match self {
            Self::Pod { namespace, name, uid, .. } => {
                Self::Pod { namespace: namespace.clone(), name: name.clone(), uid: uid.clone(), field: path }
            }
            Self::Node { .. } => self.clone(),
        }
    }

    /// The same without the container: what writes are kept in order for.
    #[must_use]
    pub fn whole(&self) -> Self {
        match self {
            Self::Pod { namespace, name, uid, .. } => {
                Self::Pod { namespace: namespace.clone(), name: name.clone(), uid: uid.clone(), field: None }
            }
            Self::Node { .. } => self.clone(),
        }
    }

    /// Whether both are the same pod or containers of the same pod, or the same node.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Pod { namespace, name, uid, .. },
                Self::Pod { namespace: other_namespace, name: other_name, uid: other_uid, .. },
            ) => name == other_name && namespace == other_namespace && uid == other_uid,
            (Self::Node { name }, Self::Node { name: other }) => name == other,
            _ => false,
        }
    }

    /// The same with names of bounded length on one line.
    #[must_use]
    pub fn bounded(self) -> Self {
        match self {
            Self::Pod { namespace, name, uid, field } => Self::Pod {
                namespace: excerpt(&namespace, MAX_NAME),
                name: excerpt(&name, MAX_NAME),
                uid,
                field: field.map(|field| excerpt(&field, MAX_NAME)),
            },
            Self::Node { name } => Self::Node { name: excerpt(&name, MAX_NAME) },
        }
    }
}

/// Where a container is in a pod's spec (`GenerateContainerRef` of `pkg/kubelet/container/ref.go`).
#[must_use]
pub fn field_path(spec: &PodSpec, container: &str) -> Option<String> {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let ephemeral = spec.ephemeral_containers.as_deref().unwrap_or_default();
    if spec.containers.iter().any(|known| known.name == container) {
        Some(format!("spec.containers{{{container}}}"))
    } else if init.iter().any(|known| known.name == container) {
        Some(format!("spec.initContainers{{{container}}}"))
    } else if ephemeral.iter().any(|known| known.name == container) {
        Some(format!("spec.ephemeralContainers{{{container}}}"))
    } else {
        None
    }
}

/// `namespace/name` of a pod, `node` of a node: as `pinnace events` shows it.
impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name, .. } => write!(out, "{namespace}/{name}"),
            Self::Node { .. } => out.write_str("node"),
        }
    }
}

/// `node/NAME` and `node` are a node; any other `namespace/name` is a pod whose UID is not known. Whoever knows the
/// UID should say so: events of a pod without one are told apart by name only.
impl From<&str> for Object {
    fn from(text: &str) -> Self {
        match text.split_once('/') {
            None | Some(("node", "")) => Self::node(""),
            Some(("node", name)) => Self::node(name),
            Some((namespace, name)) => {
                Self::Pod { namespace: namespace.to_owned(), name: name.to_owned(), uid: None, field: None }
            }
        }
    }
}

impl From<&String> for Object {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Object> for Object {
    fn from(object: &Object) -> Self {
        object.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_a_pod_or_a_node() {
        assert_eq!(Object::from("node/n1"), Object::node("n1"));
        assert_eq!(Object::from("node"), Object::node(""));
        let Object::Pod { namespace, name, uid: None, field: None } = Object::from("ns/web") else {
            panic!()
        };
        assert_eq!((namespace.as_str(), name.as_str()), ("ns", "web"));
    }

    #[test]
    fn containers_are_named_as_the_kubelet_names_them() {
        let spec = serde_json::json!({ "spec": {
            "containers": [{ "name": "web" }],
            "initContainers": [{ "name": "setup" }],
            "ephemeralContainers": [{ "name": "shell" }],
        }});
        let pod: Pod = serde_json::from_value(spec).unwrap();
        let object = Object::pod("ns", "web", PodUid::new("u1").unwrap());
        let field = |name| match object.container(&pod, name) {
            Object::Pod { field, .. } => field,
            Object::Node { .. } => None,
        };
        assert_eq!(field("web").as_deref(), Some("spec.containers{web}"));
        assert_eq!(field("setup").as_deref(), Some("spec.initContainers{setup}"));
        assert_eq!(field("shell").as_deref(), Some("spec.ephemeralContainers{shell}"));
        assert_eq!(field("other"), None);
        assert_eq!(object.container(&pod, "web").whole(), object);
    }
}
