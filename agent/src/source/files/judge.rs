//! Decides what the content of one manifest wants on this node.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::source::decode::{self, Manifest};
use crate::source::desired::{DesiredPod, Problem};
use crate::source::fault::Fault;
use crate::source::static_pod;

/// Most faults of one file that are reported: a person mends a few at a time.
const MAX_FAULTS: usize = 50;

/// The pod that the content asks for, or everything that is wrong with it.
pub(super) fn judge(
    bytes: &[u8],
    file: &Path,
    node: &str,
    seen: Timestamp,
) -> Result<Arc<DesiredPod>, Vec<Problem>> {
    // A parser's own fault must cost one file, not the node; the values inside are dropped with it.
    let judged = std::panic::catch_unwind(|| pod(bytes, file, node, seen))
        .unwrap_or_else(|_| Err(vec![Fault::whole("could not be parsed: the parser failed inside")]));
    judged
        .map(Arc::new)
        .map_err(|faults| faults.into_iter().take(MAX_FAULTS).map(|fault| fault.into_problem(file)).collect())
}

fn pod(bytes: &[u8], file: &Path, node: &str, seen: Timestamp) -> Result<DesiredPod, Vec<Fault>> {
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    match decode::decode(bytes, is_json)? {
        Manifest::Pod(pod) => static_pod::desired(*pod, file, node, seen),
        Manifest::ConfigMap(_) => Err(vec![waits("ConfigMap")]),
        Manifest::Secret(_) => Err(vec![waits("Secret")]),
    }
}

fn waits(kind: &str) -> Fault {
    Fault::at(
        "kind",
        format!(
            "is {kind}: ConfigMap and Secret files are not used yet, a pod that refers to one waits in Pending"
        ),
    )
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

    fn judged(value: &Value) -> Result<Arc<DesiredPod>, Vec<Problem>> {
        judge(value.to_string().as_bytes(), Path::new("/m/f.json"), "n", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_rich_manifest_is_a_pod() {
        let pod = judged(&rich()).unwrap_or_else(|problems| panic!("{problems:?}"));
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
