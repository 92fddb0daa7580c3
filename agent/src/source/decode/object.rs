//! Decides whether a JSON value is a ConfigMap or a Secret as the API would admit it, and what it holds. Rules and
//! limits are those of `ValidateConfigMap` and `ValidateSecret` in `pkg/apis/core/validation` of Kubernetes 1.36.
//!
//! A fault names the field and never what is in it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::shape;
use crate::disk::contents::Opaque;
use crate::objects::{Data, Kind, Reference};
use crate::source::fault::Fault;
use crate::source::validate::names;

/// Most bytes of all values together (`MaxSecretSize` in `pkg/apis/core/types.go`).
const MAX_VALUES: usize = 1024 * 1024;
/// Longest key (`IsConfigMapKey` of `k8s.io/apimachinery`, which takes it for a file's name).
const MAX_KEY: usize = 253;

/// A ConfigMap or a Secret with its name.
pub(super) fn object(kind: Kind, value: &Value) -> Result<(Reference, Data), Vec<Fault>> {
    let mut reader = Reader { kind, faults: Vec::new() };
    let reference = reader.reference(value);
    reader.unknown(value);
    let data = reader.data(value);
    match reference {
        Some(reference) if reader.faults.is_empty() => Ok((reference, data)),
        _ => Err(reader.faults),
    }
}

struct Reader {
    kind: Kind,
    faults: Vec<Fault>,
}

type Values = BTreeMap<String, Opaque>;

impl Reader {
    fn fault(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.faults.push(Fault::at(field, reason));
    }

    fn reference(&mut self, value: &Value) -> Option<Reference> {
        let namespace = self.text(value, "/metadata/namespace", "metadata.namespace");
        let namespace = namespace.filter(|text| !text.is_empty()).unwrap_or_else(|| "default".to_owned());
        let name = self.text(value, "/metadata/name", "metadata.name").filter(|text| !text.is_empty());
        let Some(name) = name else {
            if self.faults.iter().all(|fault| fault.field.as_deref() != Some("metadata.name")) {
                self.fault("metadata.name", "is missing");
            }
            return None;
        };
        for (field, result) in
            [("metadata.name", names::subdomain(&name)), ("metadata.namespace", names::label(&namespace))]
        {
            if let Err(reason) = result {
                self.fault(field, reason);
            }
        }
        Some(Reference { kind: self.kind, namespace, name })
    }

    fn text(&mut self, value: &Value, pointer: &str, field: &str) -> Option<String> {
        match value.pointer(pointer) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                self.fault(field, format!("is {}, expected a string", shape(other)));
                None
            }
        }
    }

    fn unknown(&mut self, value: &Value) {
        let known: &[&str] = match self.kind {
            Kind::ConfigMap => &["apiVersion", "kind", "metadata", "data", "binaryData", "immutable"],
            Kind::Secret => &["apiVersion", "kind", "metadata", "data", "stringData", "immutable", "type"],
        };
        let fields = value.as_object().into_iter().flat_map(Map::keys);
        for field in fields.filter(|field| !known.contains(&field.as_str())) {
            self.fault(field.clone(), "unknown field");
        }
    }

    fn data(&mut self, value: &Value) -> Data {
        let immutable = match value.get("immutable") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(immutable)) => *immutable,
            Some(other) => {
                self.fault("immutable", format!("is {}, expected a boolean", shape(other)));
                false
            }
        };
        let type_ = self.text(value, "/type", "type").unwrap_or_default();
        let (values, binary) = match self.kind {
            Kind::ConfigMap => (self.map(value, "data", plain), self.map(value, "binaryData", coded)),
            Kind::Secret => {
                let mut values = self.map(value, "data", coded);
                // As the API server merges them: what is given as text wins.
                values.extend(self.map(value, "stringData", plain));
                (values, Values::new())
            }
        };
        for key in values.keys().filter(|key| binary.contains_key(*key)) {
            self.fault(format!("binaryData[{key}]"), "is a key of data too");
        }
        let size: usize = values.values().chain(binary.values()).map(|value| value.bytes().len()).sum();
        if size > MAX_VALUES {
            self.fault("data", format!("has {size} bytes, expected at most {MAX_VALUES}"));
        }
        if self.kind == Kind::Secret {
            self.needs(&type_, &values);
        }
        let type_ = if self.kind == Kind::Secret && type_.is_empty() { "Opaque".to_owned() } else { type_ };
        Data { values, binary, type_, immutable, ..Data::default() }
    }

    fn map(&mut self, value: &Value, field: &str, read: fn(&str) -> Result<Vec<u8>, &'static str>) -> Values {
        let mut values = Values::new();
        let map = match value.get(field) {
            None | Some(Value::Null) => return values,
            Some(Value::Object(map)) => map,
            Some(other) => {
                self.fault(field, format!("is {}, expected an object", shape(other)));
                return values;
            }
        };
        for (key, value) in map {
            let at = format!("{field}[{key}]");
            if let Err(reason) = checked(key) {
                self.fault(at.clone(), reason);
            }
            match value {
                Value::String(text) => match read(text) {
                    Ok(bytes) => drop(values.insert(key.clone(), bytes.into())),
                    Err(reason) => self.fault(at, reason),
                },
                Value::Null => drop(values.insert(key.clone(), Opaque::from(Vec::new()))),
                other => self.fault(at, format!("is {}, expected a string", shape(other))),
            }
        }
        values
    }

    /// Keys that a Secret of its type must have.
    fn needs(&mut self, type_: &str, values: &Values) {
        let (all, any): (&[&str], &[&str]) = match type_ {
            "kubernetes.io/dockercfg" => (&[".dockercfg"], &[]),
            "kubernetes.io/dockerconfigjson" => (&[".dockerconfigjson"], &[]),
            "kubernetes.io/basic-auth" => (&[], &["username", "password"]),
            "kubernetes.io/ssh-auth" => (&["ssh-privatekey"], &[]),
            "kubernetes.io/tls" => (&["tls.crt", "tls.key"], &[]),
            _ => return,
        };
        for key in all.iter().filter(|key| !values.contains_key(**key)) {
            self.fault(format!("data[{key}]"), format!("is missing in a Secret of type {type_}"));
        }
        if !any.is_empty() && !any.iter().any(|key| values.contains_key(*key)) {
            self.fault("data", format!("has neither {} in a Secret of type {type_}", any.join(" nor ")));
        }
        for key in [".dockercfg", ".dockerconfigjson"].iter().filter(|key| all.contains(key)) {
            let value = values.get(*key);
            let is_json =
                |value: &Opaque| serde_json::from_slice::<Map<String, Value>>(value.bytes()).is_ok();
            if value.is_some_and(|value| !is_json(value)) {
                self.fault(format!("data[{key}]"), "is not a JSON object");
            }
        }
    }
}

fn plain(text: &str) -> Result<Vec<u8>, &'static str> {
    Ok(text.as_bytes().to_vec())
}

/// Base64 as Go reads it: padded, with line breaks anywhere.
fn coded(text: &str) -> Result<Vec<u8>, &'static str> {
    let text: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    STANDARD.decode(text).map_err(|_| "is not base64")
}

/// Keys become names of files.
fn checked(key: &str) -> Result<(), String> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if key.len() > MAX_KEY {
        return Err(format!("its name has {} characters, expected at most {MAX_KEY}", key.len()));
    }
    if key.is_empty() || !key.bytes().all(harmless) {
        return Err("its name is expected to be letters, digits, '-', '_' and '.'".to_owned());
    }
    if key == "." || key.starts_with("..") {
        return Err("its name may not be '.' or begin with '..'".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(kind: Kind, more: Value) -> Result<(Reference, Data), Vec<String>> {
        let mut value =
            json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": "n", "namespace": "ns" } });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let told = |fault: Fault| format!("{}: {}", fault.field.unwrap_or_default(), fault.reason);
        object(kind, &value).map_err(|faults| faults.into_iter().map(told).collect())
    }

    fn faults(kind: Kind, more: Value) -> Vec<String> {
        read(kind, more).err().unwrap_or_default()
    }

    #[test]
    fn values_are_what_the_api_would_hold() {
        let more = json!({ "data": { "a": "MQ==\n", "b": "Mg==" }, "stringData": { "b": "two" }, "immutable": true });
        let (reference, data) = read(Kind::Secret, more).unwrap();
        assert_eq!((reference.namespace.as_str(), reference.name.as_str()), ("ns", "n"));
        assert_eq!((data.values["a"].bytes(), data.values["b"].bytes()), (&b"1"[..], &b"two"[..]));
        assert_eq!((data.type_.as_str(), data.immutable), ("Opaque", true));
        let more = json!({ "data": { "a": "1", "empty": null }, "binaryData": { "b": "/w==" } });
        let (_, data) = read(Kind::ConfigMap, more).unwrap();
        assert_eq!((data.values["a"].bytes(), data.binary["b"].bytes()), (&b"1"[..], &b"\xff"[..]));
        assert_eq!(data.values["empty"].bytes(), b"");
    }

    #[test]
    fn a67_what_the_api_would_refuse_is_a_problem_that_names_the_field() {
        let cases = [
            (Kind::Secret, json!({ "data": { "k": "c4nary!" } }), "data[k]: is not base64"),
            (Kind::Secret, json!({ "data": { "k": 7 } }), "data[k]: is a number, expected a string"),
            (Kind::Secret, json!({ "data": ["c4nary"] }), "data: is a list, expected an object"),
            (Kind::ConfigMap, json!({ "binaryData": { "k": "c4nary!" } }), "binaryData[k]: is not base64"),
            (
                Kind::ConfigMap,
                json!({ "data": { "k": "" }, "binaryData": { "k": "" } }),
                "binaryData[k]: is a key of data too",
            ),
            (Kind::ConfigMap, json!({ "stringData": { "k": "c4nary" } }), "stringData: unknown field"),
            (Kind::ConfigMap, json!({ "immutable": "c4nary" }), "immutable: is a string, expected a boolean"),
            (
                Kind::ConfigMap,
                json!({ "metadata": { "name": "N" } }),
                "metadata.name: is \"N\", expected lower case letters, digits, '-' and '.', with a letter or digit at either end of each part",
            ),
            (
                Kind::ConfigMap,
                json!({ "metadata": { "name": 1 } }),
                "metadata.name: is a number, expected a string",
            ),
            (Kind::ConfigMap, json!({ "metadata": {} }), "metadata.name: is missing"),
            (
                Kind::Secret,
                json!({ "type": "kubernetes.io/tls", "stringData": { "tls.crt": "" } }),
                "data[tls.key]: is missing in a Secret of type kubernetes.io/tls",
            ),
            (
                Kind::Secret,
                json!({ "type": "kubernetes.io/basic-auth" }),
                "data: has neither username nor password in a Secret of type kubernetes.io/basic-auth",
            ),
            (
                Kind::Secret,
                json!({ "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": "c4nary" } }),
                "data[.dockerconfigjson]: is not a JSON object",
            ),
            (
                Kind::Secret,
                json!({ "stringData": { "k": "c".repeat(MAX_VALUES + 1) } }),
                "data: has 1048577 bytes, expected at most 1048576",
            ),
        ];
        for (kind, more, expected) in cases {
            let found = faults(kind, more);
            assert_eq!(found, [expected]);
            assert!(!found.concat().contains("c4nary"));
        }
        for key in ["", ".", "..", "..a", "a/b", "a b", "é", &"k".repeat(254)] {
            let found = faults(Kind::Secret, json!({ "stringData": { key: "c4nary" } }));
            assert!(found.len() == 1 && found[0].contains("its name"), "{key:?}: {found:?}");
        }
        for key in ["a", ".a", "A_b-c.d", &"k".repeat(253)] {
            assert!(faults(Kind::Secret, json!({ "stringData": { key: "" } })).is_empty(), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (_, data) = read(Kind::Secret, json!({ "data": { "k": STANDARD.encode(&bytes) } })).unwrap();
            prop_assert_eq!(data.values["k"].bytes(), bytes);
        }

        #[test]
        fn a67_no_fault_repeats_a_value(text in "[a-zA-Z!=/ ]{8,40}", field in "data|stringData|type|immutable") {
            for value in [json!(text), json!({ "k": text }), json!([text]), json!({ "k": [text] })] {
                // The type is no secret, and is repeated.
                if field != "type" {
                    let told = faults(Kind::Secret, json!({ &field: value })).concat();
                    prop_assert!(!told.contains(&text), "{}", told);
                }
            }
        }
    }
}
