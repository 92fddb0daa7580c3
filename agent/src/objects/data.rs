//! What a ConfigMap or a Secret holds. Values only; bytes are never shown.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use crate::disk::contents::Opaque;

/// Content of a ConfigMap or a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// Values that may become variables of the environment: `data` of either kind.
    pub values: BTreeMap<String, Opaque>,
    /// Values that become files only: `binaryData` of a ConfigMap.
    pub binary: BTreeMap<String, Opaque>,
    /// `type` of a Secret; empty for a ConfigMap.
    pub type_: String,
    /// It never changes again.
    pub immutable: bool,
    /// UID and resource version, empty where the object did not come from an API server.
    pub version: (String, String),
}

impl Data {
    /// All keys and values, as a volume shows them.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Opaque)> {
        self.values.iter().chain(&self.binary).map(|(key, value)| (key.as_str(), value))
    }

    /// Whether a pod sees no difference: another version alone is none, another object of the same content neither.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.values, &self.binary, &self.type_) == (&other.values, &other.binary, &other.type_)
    }
}

impl From<ConfigMap> for Data {
    fn from(object: ConfigMap) -> Self {
        let ConfigMap { binary_data, data, immutable, metadata } = object;
        Self {
            values: data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes().into())).collect(),
            binary: binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0.into())).collect(),
            type_: String::new(),
            immutable: immutable.unwrap_or(false),
            version: (metadata.uid.unwrap_or_default(), metadata.resource_version.unwrap_or_default()),
        }
    }
}

impl From<Secret> for Data {
    fn from(object: Secret) -> Self {
        let Secret { data, immutable, metadata, string_data, type_ } = object;
        let plain = string_data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes().into()));
        let coded = data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0.into()));
        Self {
            // As the API server merges them: what is given as text wins.
            values: coded.chain(plain).collect(),
            binary: BTreeMap::new(),
            type_: type_.unwrap_or_default(),
            immutable: immutable.unwrap_or(false),
            version: (metadata.uid.unwrap_or_default(), metadata.resource_version.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn binary_values_are_files_and_no_variables() {
        let map: ConfigMap =
            serde_json::from_value(json!({ "data": { "b": "1" }, "binaryData": { "a": "/w==" } })).unwrap();
        let data = Data::from(map);
        assert_eq!(data.values.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(data.files().count(), 2);
    }

    #[test]
    fn a32_values_are_never_shown() {
        let secret: Secret =
            serde_json::from_value(json!({ "data": { "k": "YzRuYXJ5" }, "stringData": { "l": "c4nary" } }))
                .unwrap();
        let data = Data::from(secret);
        assert_eq!(data.values["k"].bytes(), b"c4nary");
        let shown = format!("{data:?}");
        assert!(!shown.contains("c4nary") && !shown.contains("YzRuYXJ5"), "{shown}");
    }
}
