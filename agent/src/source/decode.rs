//! Decides what the bytes of a manifest are: a pod, data that is recognised, or faults with their place.
//!
//! Two steps: `text` turns bytes into a JSON value within bounds, `typed` turns the value into a pod and
//! refuses every field that core/v1 does not have. Nothing here keeps or prints the content of a Secret.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::fault::Fault;

mod text;
mod typed;

/// Largest manifest in bytes that is read: about what etcd takes as one object by default.
pub const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// A pod as written: neither defaulted nor validated.
    Pod(Box<Pod>),
    /// A ConfigMap, by name.
    ConfigMap(Named),
    /// A Secret, by name. Its data is dropped here.
    Secret(Named),
}

/// Which object a manifest describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Namespace, `default` if the manifest has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Reads a manifest. `is_json` says that the file's name ends in `.json`: it only chooses which of two
/// syntax errors is reported when the content is neither.
pub fn decode(bytes: &[u8], is_json: bool) -> Result<Manifest, Vec<Fault>> {
    let mut value = text::to_value(bytes, is_json).map_err(|fault| vec![fault])?;
    let kind = kind_of(&value).map_err(|fault| vec![fault])?;
    match kind {
        Kind::Pod => {
            forget_exported_parts(&mut value);
            typed::pod(&value).map(|pod| Manifest::Pod(Box::new(pod)))
        }
        Kind::ConfigMap => named(&value).map(Manifest::ConfigMap).map_err(|fault| vec![fault]),
        Kind::Secret => named(&value).map(Manifest::Secret).map_err(|fault| vec![fault]),
    }
}

/// An export from a cluster carries a status, perhaps a newer one than ours, which nobody reads.
fn forget_exported_parts(value: &mut Value) {
    if let Some(pod) = value.as_object_mut() {
        pod.remove("status");
    }
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

enum Kind {
    Pod,
    ConfigMap,
    Secret,
}

fn kind_of(value: &Value) -> Result<Kind, Fault> {
    let Some(object) = value.as_object() else {
        return Err(Fault::whole(format!(
            "is {}, expected an object with apiVersion and kind",
            shape(value)
        )));
    };
    let version = header(object.get("apiVersion"), "apiVersion", "expected v1")?;
    let kind = header(object.get("kind"), "kind", "expected Pod, ConfigMap or Secret")?;
    match (version, kind) {
        ("v1", "Pod") => Ok(Kind::Pod),
        ("v1", "ConfigMap") => Ok(Kind::ConfigMap),
        ("v1", "Secret") => Ok(Kind::Secret),
        (other, "Pod" | "ConfigMap" | "Secret") => {
            Err(Fault::at("apiVersion", format!("is {}, expected v1", quoted(other))))
        }
        (version, other) => Err(Fault::at(
            "kind",
            format!(
                "is {} of {}: a manifest is one Pod, ConfigMap or Secret of v1",
                quoted(other),
                quoted(version)
            ),
        )),
    }
}

fn header<'a>(value: Option<&'a Value>, field: &str, expected: &str) -> Result<&'a str, Fault> {
    match value {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Err(Fault::at(field, format!("is missing, {expected}"))),
        Some(other) => Err(Fault::at(field, format!("is {}, {expected}", shape(other)))),
    }
}

fn named(value: &Value) -> Result<Named, Fault> {
    let text = |pointer: &str, field: &str| match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(other) => Err(Fault::at(field, format!("is {}, expected a string", shape(other)))),
    };
    let name = text("/metadata/name", "metadata.name")?;
    let namespace = text("/metadata/namespace", "metadata.namespace")?;
    Ok(Named {
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        name: name.ok_or_else(|| Fault::at("metadata.name", "is missing"))?,
    })
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// At most 64 characters of a string that a person wrote, for a message.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(64).collect::<String>())
}

#[cfg(test)]
mod tests;
