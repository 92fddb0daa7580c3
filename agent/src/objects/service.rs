//! What of a Service becomes variables of a container's environment. Values only; the rest of the object is not kept.

use serde::{Deserialize, Serialize};

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `spec.clusterIP`: empty where it has none yet or never, `None` for a headless one.
    pub cluster_ip: String,
    /// Its ports, in the order of the object.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Its name, empty if it has none.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

impl ServiceInfo {
    /// Whether it has an address: one that has none is no variable (`IsServiceIPSet` of `pkg/apis/core/v1/helper`).
    #[must_use]
    pub fn has_address(&self) -> bool {
        !self.cluster_ip.is_empty() && self.cluster_ip != "None"
    }
}
