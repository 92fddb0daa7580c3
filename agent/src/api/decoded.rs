//! Objects of the API, decoded by way of a JSON value.
//!
//! A reader of `core/v1` types is compiled for each kind of input that it is used with, and one of a pod takes several
//! hundred kilobytes. Lists, watches, answers and the journal come in different ways: by way of a value there is one
//! reader for all of them, for some microseconds more.

use std::borrow::Cow;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An object of the API; reads and writes as `K` itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded<K>(pub K);

/// Reads any `K` by way of a value.
pub fn by_value<'de, K: DeserializeOwned, D: Deserializer<'de>>(input: D) -> Result<K, D::Error> {
    let value = Value::deserialize(input)?;
    serde_json::from_value(value).map_err(D::Error::custom)
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        by_value(input).map(Self)
    }
}

impl<K: Serialize> Serialize for Decoded<K> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(output)
    }
}

impl<K: Resource> Resource for Decoded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_writes_as_the_object_itself() {
        let manifest = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web" },
            "spec": { "containers": [{ "name": "c" }] } });
        let pod: Decoded<Pod> = serde_json::from_str(&manifest.to_string()).unwrap();
        assert_eq!(pod.0, serde_json::from_value::<Pod>(manifest.clone()).unwrap());
        assert_eq!(serde_json::to_value(&pod).unwrap(), manifest);
        assert_eq!(Decoded::<Pod>::url_path(&(), Some("ns")), Pod::url_path(&(), Some("ns")));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for text in ["{\"spec\":7}", "[]", "{\"metadata\":{\"name\":1}}", "{"] {
            assert!(serde_json::from_str::<Decoded<Pod>>(text).is_err(), "{text}");
        }
    }
}
