//! What may be wrong with a pod's metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Faults, names};

/// Most bytes of all annotations together, keys and values.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

pub(super) fn metadata(metadata: &ObjectMeta, faults: &mut Faults) {
    // An absent name is reported where the manifest is judged.
    if let Some(name) = metadata.name.as_deref().filter(|name| !name.is_empty()) {
        faults.check("metadata.name", names::subdomain(name));
    }
    if let Some(namespace) = &metadata.namespace {
        faults.check("metadata.namespace", names::label(namespace));
    }
    for (key, value) in metadata.labels.iter().flatten() {
        faults.check(format!("metadata.labels[{key}]"), names::qualified(key));
        faults.check(format!("metadata.labels[{key}]"), names::label_value(value));
    }
    let mut bytes = 0_usize;
    for (key, value) in metadata.annotations.iter().flatten() {
        faults.check(format!("metadata.annotations[{key}]"), names::qualified(&key.to_lowercase()));
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
    }
    if bytes > MAX_ANNOTATION_BYTES {
        let reason = format!("have {bytes} bytes in all, expected at most {MAX_ANNOTATION_BYTES}");
        faults.add("metadata.annotations", reason);
    }
}
