//! Decides whether a JSON value is a pod of core/v1, field by field.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_ignored::Path;
use serde_json::Value;

use crate::source::fault::Fault;

/// The pod, or its first type error, or every field that core/v1 does not have.
pub(super) fn pod(value: &Value) -> Result<Pod, Vec<Fault>> {
    let mut unknown = BTreeSet::new();
    let mut track = serde_path_to_error::Track::new();
    let located = serde_path_to_error::Deserializer::new(value, &mut track);
    let mut note = |path: Path<'_>| {
        unknown.insert(joined(&path));
    };
    let strict = serde_ignored::Deserializer::new(located, &mut note);
    match Pod::deserialize(strict) {
        Ok(pod) if unknown.is_empty() => Ok(pod),
        Ok(_) => Err(unknown.into_iter().map(|field| Fault::at(field, "unknown field")).collect()),
        Err(error) => {
            let path = track.path();
            let reason = error.to_string();
            Err(vec![if path.iter().len() == 0 {
                Fault::whole(reason)
            } else {
                Fault::at(path.to_string(), reason)
            }])
        }
    }
}

/// `spec.containers[0].name`: the form of `serde_path_to_error`, which `serde_ignored` does not print.
fn joined(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", joined(parent)),
        Path::Map { parent, key } => {
            let parent = joined(parent);
            if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") }
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            joined(parent)
        }
    }
}
