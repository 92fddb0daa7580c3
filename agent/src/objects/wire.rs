//! ConfigMaps, Secrets and Services as the API server writes them, reduced to what is kept. Pure.
//!
//! The whole types would do, but owners, labels and managed fields are most of many an object and are wanted by nobody
//! here.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::data::Data;
use super::service::{ServiceInfo, ServicePort};

/// What a list and watch can be made of.
pub(super) trait Item: DeserializeOwned + Send + 'static {
    /// The resource in URLs.
    fn meta(&self) -> &Meta;
    /// Of a `Status` in the place of an object.
    fn code(&self) -> Option<u16>;
}

/// What all objects and lists have.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    #[serde(rename = "continue")]
    pub(super) more: Option<String>,
}

/// A list.
#[derive(Deserialize)]
pub(super) struct List<T> {
    #[serde(default)]
    pub(super) metadata: Meta,
    #[serde(default = "none")]
    pub(super) items: Option<Vec<T>>,
}

fn none<T>() -> Option<Vec<T>> {
    None
}

/// One event of a watch.
#[derive(Deserialize)]
pub(super) struct Line<T> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) object: T,
}

/// A ConfigMap.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MapItem {
    metadata: Meta,
    data: Option<BTreeMap<String, Option<String>>>,
    binary_data: Option<BTreeMap<String, Option<ByteString>>>,
    immutable: Option<bool>,
    code: Option<u16>,
}

/// A Secret.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SecretItem {
    metadata: Meta,
    data: Option<BTreeMap<String, Option<ByteString>>>,
    #[serde(rename = "type")]
    type_: Option<String>,
    immutable: Option<bool>,
    code: Option<u16>,
}

/// A Service.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ServiceItem {
    metadata: Meta,
    spec: Option<ServiceSpec>,
    code: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    ports: Option<Vec<PortItem>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PortItem {
    name: Option<String>,
    port: i32,
    protocol: Option<String>,
}

impl Item for MapItem {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn code(&self) -> Option<u16> {
        self.code
    }
}

impl Item for SecretItem {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn code(&self) -> Option<u16> {
        self.code
    }
}

impl Item for ServiceItem {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn code(&self) -> Option<u16> {
        self.code
    }
}

impl Meta {
    fn version(self) -> (String, String) {
        (self.uid.unwrap_or_default(), self.resource_version.unwrap_or_default())
    }
}

impl From<MapItem> for Data {
    fn from(item: MapItem) -> Self {
        let text = item.data.into_iter().flatten();
        let bytes = item.binary_data.into_iter().flatten();
        Self {
            values: text.map(|(key, text)| (key, text.unwrap_or_default().into_bytes().into())).collect(),
            binary: bytes.map(|(key, bytes)| (key, bytes.unwrap_or_default().0.into())).collect(),
            type_: String::new(),
            immutable: item.immutable.unwrap_or(false),
            version: item.metadata.version(),
        }
    }
}

impl From<SecretItem> for Data {
    fn from(item: SecretItem) -> Self {
        let bytes = item.data.into_iter().flatten();
        Self {
            values: bytes.map(|(key, bytes)| (key, bytes.unwrap_or_default().0.into())).collect(),
            binary: BTreeMap::new(),
            type_: item.type_.unwrap_or_default(),
            immutable: item.immutable.unwrap_or(false),
            version: item.metadata.version(),
        }
    }
}

impl From<ServiceItem> for ServiceInfo {
    fn from(item: ServiceItem) -> Self {
        let spec = item.spec.unwrap_or_default();
        let port = |port: PortItem| {
            let number = u16::try_from(port.port).ok()?;
            let protocol = port.protocol.filter(|protocol| !protocol.is_empty());
            let protocol = protocol.unwrap_or_else(|| "TCP".to_owned());
            Some(ServicePort { name: port.name.unwrap_or_default(), port: number, protocol })
        };
        Self {
            name: item.metadata.name.unwrap_or_default(),
            namespace: item.metadata.namespace.unwrap_or_default(),
            cluster_ip: spec.cluster_ip.unwrap_or_default(),
            ports: spec.ports.into_iter().flatten().filter_map(port).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reduced_types_read_what_the_whole_ones_read() {
        let metadata = json!({ "name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "7",
            "creationTimestamp": null, "managedFields": [{ "manager": "m" }] });
        let map = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "immutable": true,
            "data": { "a": "1", "b": "" }, "binaryData": { "c": "/w==" } });
        let whole: ConfigMap = serde_json::from_value(map.clone()).unwrap();
        let reduced: MapItem = serde_json::from_value(map).unwrap();
        assert_eq!(Data::from(reduced), Data::from(whole));
        let secret = json!({ "kind": "Secret", "apiVersion": "v1", "metadata": metadata, "type": "Opaque",
            "data": { "a": "MQ==" } });
        let whole: Secret = serde_json::from_value(secret.clone()).unwrap();
        let reduced: SecretItem = serde_json::from_value(secret).unwrap();
        assert_eq!(Data::from(reduced), Data::from(whole));
    }

    #[test]
    fn an_empty_value_of_a_secret_may_be_null() {
        let secret: SecretItem = serde_json::from_value(json!({ "data": { "a": null } })).unwrap();
        assert_eq!(Data::from(secret).values["a"].bytes(), b"");
    }

    #[test]
    fn a_service_is_its_address_and_ports() {
        let service = json!({ "metadata": { "name": "web", "namespace": "ns" }, "status": { "loadBalancer": {} },
            "spec": { "clusterIP": "10.0.0.1", "type": "ClusterIP", "selector": { "a": "b" },
                "ports": [{ "port": 80, "targetPort": "http", "protocol": "TCP" }, { "name": "dns", "port": 53, "protocol": "UDP" }] } });
        let service: ServiceItem = serde_json::from_value(service).unwrap();
        let service = ServiceInfo::from(service);
        assert!(service.has_address());
        assert_eq!((service.name.as_str(), service.cluster_ip.as_str()), ("web", "10.0.0.1"));
        let port = |name: &str, port, protocol: &str| ServicePort {
            name: name.into(),
            port,
            protocol: protocol.into(),
        };
        assert_eq!(service.ports, [port("", 80, "TCP"), port("dns", 53, "UDP")]);
    }

    #[test]
    fn a_status_in_an_objects_place_is_told_by_its_code() {
        let status = json!({ "type": "ERROR", "object": { "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": "too old", "reason": "Expired", "code": 410 } });
        let line: Line<ServiceItem> = serde_json::from_value(status).unwrap();
        assert_eq!((line.kind.as_str(), line.object.code()), ("ERROR", Some(410)));
    }
}
