//! The nested parts of a KubeletConfiguration file. Names and JSON types as in `k8s.io/kubelet` v0.36.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::duration::GoDuration;

/// Who may call the HTTPS server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Authentication {
    /// Client certificates.
    pub x509: Option<X509>,
    /// Bearer tokens, checked by the API server.
    pub webhook: Option<WebhookAuthentication>,
    /// Callers without credentials.
    pub anonymous: Option<Anonymous>,
}

/// Client certificates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509 {
    /// File with the certificate authorities of clients.
    #[serde(rename = "clientCAFile")]
    pub client_ca_file: Option<String>,
}

/// Bearer tokens, checked by the API server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookAuthentication {
    /// Whether tokens are accepted.
    pub enabled: Option<bool>,
    /// How long an answer is kept.
    #[serde(rename = "cacheTTL")]
    pub cache_ttl: Option<GoDuration>,
}

/// Callers without credentials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Anonymous {
    /// Whether they are let in as `system:anonymous`.
    pub enabled: Option<bool>,
}

/// What a caller may do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Authorization {
    /// `Webhook` or `AlwaysAllow`.
    pub mode: Option<String>,
    /// How the API server is asked.
    pub webhook: Option<WebhookAuthorization>,
}

/// How the API server is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookAuthorization {
    /// How long a yes is kept.
    #[serde(rename = "cacheAuthorizedTTL")]
    pub cache_authorized_ttl: Option<GoDuration>,
    /// How long a no is kept.
    #[serde(rename = "cacheUnauthorizedTTL")]
    pub cache_unauthorized_ttl: Option<GoDuration>,
}

/// How pods may use swap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemorySwap {
    /// `NoSwap` or `LimitedSwap`; empty is `NoSwap`.
    pub swap_behavior: Option<String>,
}

/// Restart backoff of containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CrashLoopBackOff {
    /// Longest delay between two restarts, 1 s to 300 s.
    pub max_container_restart_period: Option<GoDuration>,
}

/// Log format and verbosity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Logging {
    /// `text` or `json`.
    pub format: Option<String>,
    /// A duration, or a number of nanoseconds as older files have it.
    pub flush_frequency: Option<Value>,
    /// As `--v`.
    pub verbosity: Option<u32>,
    /// Verbosity by source file.
    pub vmodule: Option<Vec<VmoduleItem>>,
    /// Options of the formats.
    pub options: Option<Value>,
}

/// Verbosity of one source file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VmoduleItem {
    /// File name or pattern.
    pub file_pattern: Option<String>,
    /// Verbosity.
    pub verbosity: Option<u32>,
}

/// The shutdown window of one range of priorities.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShutdownWindow {
    /// Lowest priority in the range.
    pub priority: Option<i32>,
    /// Length of the window, in seconds.
    pub shutdown_grace_period_seconds: Option<i64>,
}

/// Memory kept on one NUMA node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryReservation {
    /// The NUMA node.
    pub numa_node: Option<i32>,
    /// How much of what; a quantity may be a number here.
    pub limits: Option<BTreeMap<String, Value>>,
}

/// A taint that the node registers with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// Key.
    pub key: Option<String>,
    /// Value.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: Option<String>,
    /// When it was added, in RFC 3339.
    pub time_added: Option<String>,
}

/// Where traces are sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Address of the collector.
    pub endpoint: Option<String>,
    /// Traces per million requests.
    pub sampling_rate_per_million: Option<i32>,
}

/// Ids that a user namespace gets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserNamespaces {
    /// How many ids each pod gets; a multiple of 65536.
    pub ids_per_pod: Option<i64>,
}
