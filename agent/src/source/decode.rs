//! Decides what the bytes of a manifest are: a pod, a ConfigMap or a Secret, or faults with their place.
//!
//! Two steps: `text` turns bytes into a JSON value within bounds, `typed` turns the value into a pod and `object` into
//! data, and both refuse every field that core/v1 does not have. Nothing here prints the content of a Secret.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::fault::Fault;
use crate::objects::{self, Data, Reference};

mod object;
mod text;
mod typed;

/// Largest manifest in bytes that is read: about what etcd takes as one object by default.
pub const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// A pod as written: neither defaulted nor validated.
    Pod(Box<Pod>),
    /// A ConfigMap or a Secret, validated.
    Object(Reference, Data),
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
        Kind::Object(kind) => {
            object::object(kind, &value).map(|(reference, data)| Manifest::Object(reference, data))
        }
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
    Object(objects::Kind),
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
        ("v1", "ConfigMap") => Ok(Kind::Object(objects::Kind::ConfigMap)),
        ("v1", "Secret") => Ok(Kind::Object(objects::Kind::Secret)),
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
