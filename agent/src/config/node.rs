//! How the node appears in the API: every value set and checked. Pure. Defaults are the kubelet's
//! (`pkg/kubelet/apis/config/v1beta1/defaults.go`).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use super::duration::GoDuration;
use super::file::KubeletConfiguration;
use super::node_flags::NodeFlags;
use super::range::Fault;
use super::reserve::{self, Reserved};
use super::{node_labels, section};
use crate::source::validate::names;

/// Port of the HTTPS server.
const DEFAULT_PORT: u16 = 10_250;
/// Images named in the node's status.
const DEFAULT_MAX_IMAGES: usize = 50;
/// How often the node's state is computed.
const DEFAULT_UPDATE: Duration = Duration::from_secs(10);
/// How often an unchanged state is reported.
const DEFAULT_REPORT: Duration = Duration::from_secs(300);
/// Duration of the lease.
const DEFAULT_LEASE: u32 = 40;
/// What the effect of a taint may be.
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// How the node appears in the API.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSettings {
    /// Whether the node makes its own object.
    pub register: bool,
    /// Labels that it registers with, beside the standard ones.
    pub labels: BTreeMap<String, String>,
    /// Taints that it registers with.
    pub taints: Vec<Taint>,
    /// Id of this machine at its cloud provider.
    pub provider_id: Option<String>,
    /// A cloud controller sets the addresses and removes the taint that new nodes get.
    pub external_cloud_provider: bool,
    /// Whether the controller attaches volumes.
    pub controller_attach_detach: bool,
    /// Port of the HTTPS server, as the API server reaches it; above zero.
    pub port: u16,
    /// Pods per core; none if there is no limit of its own.
    pub pods_per_core: Option<u32>,
    /// What of the machine pods may not use.
    pub reserved: Reserved,
    /// Images named in the node's status; none is no limit.
    pub max_images: Option<usize>,
    /// How often the node's state is computed; above zero.
    pub update_frequency: Duration,
    /// How often an unchanged state is reported; above zero.
    pub report_frequency: Duration,
    /// Duration of the lease in seconds; above zero.
    pub lease_seconds: u32,
    /// The node is a virtual one beside others: it carries their label and taint.
    pub is_virtual: bool,
}

/// The settings, and what is wrong with them: fields, or flags where the name begins with `--`.
#[must_use]
pub fn settle(
    flags: &NodeFlags,
    is_virtual: bool,
    file: &KubeletConfiguration,
) -> (NodeSettings, Vec<Fault>) {
    let mut faults = Vec::new();
    let labels = node_labels::read(&flags.node_labels).unwrap_or_else(|reasons| {
        faults.extend(reasons.into_iter().map(|reason| ("--node-labels".to_owned(), reason)));
        BTreeMap::new()
    });
    let reserved = reserve::read(file, &mut faults);
    let taints = taints(file.register_with_taints.as_deref().unwrap_or_default(), &mut faults);
    let positive = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let period =
        |period: Option<GoDuration>| period.and_then(GoDuration::to_std).filter(|period| !period.is_zero());
    let update = period(file.node_status_update_frequency);
    let settings = NodeSettings {
        register: file.register_node.unwrap_or(true),
        labels,
        taints,
        provider_id: file.provider_id.clone().filter(|id| !id.is_empty()),
        external_cloud_provider: flags.cloud_provider.as_deref() == Some("external"),
        controller_attach_detach: file.enable_controller_attach_detach.unwrap_or(true),
        port: positive(file.port).and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT),
        pods_per_core: positive(file.pods_per_core),
        reserved,
        max_images: match file.node_status_max_images {
            None => Some(DEFAULT_MAX_IMAGES),
            Some(most) => usize::try_from(most).ok(),
        },
        update_frequency: update.unwrap_or(DEFAULT_UPDATE),
        report_frequency: period(file.node_status_report_frequency).or(update).unwrap_or(DEFAULT_REPORT),
        lease_seconds: positive(file.node_lease_duration_seconds).unwrap_or(DEFAULT_LEASE),
        is_virtual,
    };
    (settings, faults)
}

fn taints(configured: &[section::Taint], faults: &mut Vec<Fault>) -> Vec<Taint> {
    let mut taints: Vec<Taint> = Vec::new();
    for (index, taint) in configured.iter().enumerate() {
        let key = taint.key.clone().unwrap_or_default();
        let effect = taint.effect.clone().unwrap_or_default();
        let value = taint.value.clone().filter(|value| !value.is_empty());
        let checked = names::qualified(&key)
            .map_err(|reason| format!("the key {key:?}: {reason}"))
            .and_then(|()| names::label_value(value.as_deref().unwrap_or_default()))
            .and_then(|()| match EFFECTS.contains(&effect.as_str()) {
                true => Ok(()),
                false => Err(format!("the effect must be one of {}, is {effect:?}", EFFECTS.join(", "))),
            })
            .and_then(|()| match taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
                false => Ok(()),
                true => Err(format!("{key}:{effect} is given twice")),
            });
        match checked {
            Ok(()) => taints.push(Taint { key, value, effect, time_added: None }),
            Err(reason) => faults.push((format!("registerWithTaints[{index}]"), reason)),
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settled(file: Value) -> (NodeSettings, Vec<Fault>) {
        settle(&NodeFlags::default(), false, &serde_json::from_value(file).unwrap())
    }

    #[test]
    fn the_kubelets_defaults_hold() {
        let (node, faults) = settled(json!({}));
        assert_eq!(faults, []);
        assert!(node.register && node.controller_attach_detach && !node.external_cloud_provider);
        assert_eq!((node.port, node.max_images, node.lease_seconds), (10_250, Some(50), 40));
        assert_eq!((node.update_frequency.as_secs(), node.report_frequency.as_secs()), (10, 300));
        assert_eq!((node.labels.len(), node.taints.len(), node.pods_per_core), (0, 0, None));
    }

    #[test]
    fn reports_follow_updates_when_only_those_are_set() {
        let (node, _) = settled(json!({"nodeStatusUpdateFrequency": "4s"}));
        assert_eq!((node.update_frequency.as_secs(), node.report_frequency.as_secs()), (4, 4));
        let (node, _) = settled(json!({"nodeStatusReportFrequency": "1m", "nodeStatusMaxImages": -1}));
        assert_eq!((node.update_frequency.as_secs(), node.report_frequency.as_secs()), (10, 60));
        assert_eq!(node.max_images, None);
    }

    #[test]
    fn taints_are_checked() {
        let taint = |key: &str, effect: &str| json!({"key": key, "value": "v", "effect": effect});
        let file = json!({"registerWithTaints": [
            taint("a", "NoSchedule"), taint("a", "NoExecute"), taint("a", "NoSchedule"), taint("b", "Never"),
            taint("-", "NoSchedule")]});
        let (node, faults) = settled(file);
        assert_eq!(node.taints.len(), 2);
        let fields: Vec<_> = faults.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["registerWithTaints[2]", "registerWithTaints[3]", "registerWithTaints[4]"]);
    }

    #[test]
    fn a_wrong_label_names_the_flag() {
        let flags = NodeFlags { node_labels: vec!["x.k8s.io/y=z".to_owned()], ..NodeFlags::default() };
        let (_, faults) = settle(&flags, false, &KubeletConfiguration::default());
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].0, "--node-labels");
    }
}
