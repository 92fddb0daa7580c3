//! Desired pods for tests, as a source would publish them. One place, so that a new field of a pod is set once.

use std::sync::Arc;

use pinnace_cri::id::PodUid;
use serde::Deserialize;
use serde::de::value::Error as NoValue;
use serde::de::{Deserializer, Error as _, Visitor};
use serde_json::{Value, json};

use super::desired::{DesiredPod, Origin};
use crate::pod::container::Site;
use crate::pod::dns::Settings;
use crate::pod::resources::Node;
use crate::pod::security::Defaults;

/// The pod of a manifest, neither defaulted nor validated.
pub(crate) fn manifest(uid: &str, namespace: &str, name: &str, manifest: Value) -> DesiredPod {
    DesiredPod {
        uid: PodUid::new(uid).unwrap(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(serde_json::from_value(manifest).unwrap()),
        held: Vec::new(),
    }
}

/// A node of a cluster, as it enters messages.
pub(crate) fn site() -> Site {
    Site {
        owner: "node1".into(),
        node: Node { memory: 4 << 30, cfs_period: Some(100_000), ..Node::default() },
        security: Defaults::bare("/r/seccomp".into()),
        dns: Settings { domain: "cluster.local".into(), ..Settings::default() },
    }
}

/// `default/x` with UID `u1`, this restart policy and containers of these names, all of image `i`.
pub(crate) fn pod(policy: &str, names: &[&str]) -> DesiredPod {
    let containers: Vec<_> = names.iter().map(|name| json!({ "name": name, "image": "i" })).collect();
    let spec = json!({ "restartPolicy": policy, "containers": containers });
    manifest("u1", "default", "x", json!({ "metadata": {}, "spec": spec }))
}

/// Learns which fields a type has from what it asks its deserializer for.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("only structs are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        Err(NoValue::custom("the names are enough"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The names of a type's fields, as JSON has them.
pub(crate) fn field_names<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    assert!(T::deserialize(FieldNames(&mut names)).is_err());
    assert!(!names.is_empty());
    names
}
