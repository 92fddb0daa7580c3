//! Decides what the content of one manifest is good for on this node.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::objects::{Data, Kind, Reference};
use crate::source::decode::{self, Manifest};
use crate::source::desired::{DesiredPod, Problem};
use crate::source::fault::Fault;
use crate::source::{static_pod, validate};

/// Most faults of one file that are reported: a person mends a few at a time.
const MAX_FAULTS: usize = 50;

/// What a file is good for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Good {
    /// A pod that should run.
    Pod(Arc<DesiredPod>),
    /// A ConfigMap or a Secret that pods may refer to.
    Object(Reference, Arc<Data>),
}

/// Where the file is.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// The node's name.
    pub(super) node: String,
    /// No API server is configured: files are the only source of ConfigMaps and Secrets, and else none.
    pub(super) is_alone: bool,
}

/// What the content asks for, or everything that is wrong with it.
pub(super) fn judge(
    bytes: &[u8],
    file: &Path,
    ground: &Ground,
    seen: Timestamp,
) -> Result<Good, Vec<Problem>> {
    // A parser's own fault must cost one file, not the node; the values inside are dropped with it.
    let judged = std::panic::catch_unwind(|| good(bytes, file, ground, seen))
        .unwrap_or_else(|_| Err(vec![Fault::whole("could not be parsed: the parser failed inside")]));
    judged
        .map_err(|faults| faults.into_iter().take(MAX_FAULTS).map(|fault| fault.into_problem(file)).collect())
}

fn good(bytes: &[u8], file: &Path, ground: &Ground, seen: Timestamp) -> Result<Good, Vec<Fault>> {
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    match decode::decode(bytes, is_json)? {
        Manifest::Pod(pod) => {
            let references = if ground.is_alone { Vec::new() } else { validate::references(&pod) };
            let mut pod = static_pod::desired(*pod, file, &ground.node, seen);
            if !references.is_empty() {
                pod = Err(pod.err().into_iter().flatten().chain(references).collect());
            }
            Ok(Good::Pod(Arc::new(pod?)))
        }
        Manifest::Object(reference, data) if ground.is_alone => Ok(Good::Object(reference, Arc::new(data))),
        Manifest::Object(reference, _) => Err(vec![needless(reference.kind)]),
    }
}

fn needless(kind: Kind) -> Fault {
    let kind = match kind {
        Kind::ConfigMap => "ConfigMap",
        Kind::Secret => "Secret",
    };
    Fault::at("kind", format!("is {kind}: such files are used only where no API server is configured"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn rich() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "ns", "uid": "u", "labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
                "restartPolicy": "Never", "hostNetwork": true, "terminationGracePeriodSeconds": 5,
                "tolerations": [{"operator": "Exists"}], "securityContext": {"runAsUser": 1, "supplementalGroups": [2]},
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
                "containers": [{
                    "name": "c", "image": "i:1", "command": ["x"], "env": [{"name": "A", "value": "b"}],
                    "ports": [{"containerPort": 80, "name": "web"}],
                    "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}},
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    "livenessProbe": {"httpGet": {"port": 80}},
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "capabilities": {"add": ["A"]}},
                }],
            },
        })
    }

    /// Pointers to every value within.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found))
            }
            Value::Array(list) => {
                list.iter()
                    .enumerate()
                    .for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
            }
            _ => {}
        }
    }

    fn judged_beside(is_alone: bool, value: &Value) -> Result<Good, Vec<Problem>> {
        let ground = Ground { node: "n".to_owned(), is_alone };
        judge(value.to_string().as_bytes(), Path::new("/m/f.json"), &ground, Timestamp::UNIX_EPOCH)
    }

    fn judged(value: &Value) -> Result<Good, Vec<Problem>> {
        judged_beside(true, value)
    }

    #[test]
    fn a67_beside_an_api_server_files_are_no_source_of_objects() {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" }, "data": { "k": "v" } });
        assert!(matches!(judged_beside(true, &map), Ok(Good::Object(..))));
        let mut pod = rich();
        pod["spec"]["containers"][0]["env"] =
            json!([{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "k" } } }]);
        pod["spec"]["imagePullSecrets"] = json!([{ "name": "s" }]);
        assert!(matches!(judged_beside(true, &pod), Ok(Good::Pod(_))));
        let told = |value| {
            let problems = judged_beside(false, value).err().unwrap_or_default();
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&map),
            ["/m/f.json: kind: is ConfigMap: such files are used only where no API server is configured"]
        );
        assert_eq!(
            told(&pod),
            [
                "/m/f.json: spec.containers[0].env[0].valueFrom.configMapKeyRef: static pods may not reference configmaps",
                "/m/f.json: spec.imagePullSecrets[0]: static pods may not reference secrets",
            ]
        );
        assert!(matches!(judged_beside(false, &rich()), Ok(Good::Pod(_))));
    }

    #[test]
    fn the_rich_manifest_is_a_pod() {
        let pod = judged(&rich()).unwrap_or_else(|problems| panic!("{problems:?}"));
        let Good::Pod(pod) = pod else { panic!("{pod:?}") };
        assert_eq!((pod.full_name(), pod.held.len()), ("ns/web-n".to_owned(), 1));
    }

    proptest! {
        #[test]
        fn a_value_of_any_kind_anywhere_is_a_pod_or_a_problem(
            at in any::<prop::sample::Index>(),
            value in prop_oneof![
                Just(Value::Null), Just(json!([])), Just(json!({})), any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from), ".{0,300}".prop_map(Value::from),
                Just(json!([null])), Just(json!({"": null})),
            ],
        ) {
            let mut manifest = rich();
            let mut found = Vec::new();
            places(&manifest, "", &mut found);
            let place = at.get(&found);
            if let Some(slot) = manifest.pointer_mut(place) {
                *slot = value;
            }
            if let Err(problems) = judged(&manifest) {
                prop_assert!(!problems.is_empty() && problems.len() <= MAX_FAULTS);
                prop_assert!(!problems[0].reason.contains("failed inside"), "a panic at {}", place);
            }
        }
    }
}
