//! The flags that say how the node appears in the API, by the kubelet's names. Pure.

use clap::Args;
use serde_json::{Value, json};

/// Flags about the node's own API object.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct NodeFlags {
    /// Labels that the node registers with, as key=value, separated by commas
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub node_labels: Vec<String>,
    /// Taints that the node registers with, as key=value:effect, separated by commas
    #[arg(long, value_name = "TAINTS", value_delimiter = ',')]
    pub register_with_taints: Option<Vec<String>>,
    /// Make the node's object in the API; without it the object must be made by others [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub register_node: Option<bool>,
    /// Id of this machine at its cloud provider
    #[arg(long, value_name = "ID")]
    pub provider_id: Option<String>,
    /// "external" if a cloud controller sets the node's addresses and removes its first taint
    #[arg(long, value_name = "NAME")]
    pub cloud_provider: Option<String>,
}

impl NodeFlags {
    /// What these flags say in the words of the configuration file. A taint that cannot be read is passed on with
    /// its whole text as the effect, which the check of effects then refuses by name.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, Value)> {
        let taints = self.register_with_taints.as_ref().map(|taints| {
            taints.iter().filter(|text| !text.is_empty()).map(|text| taint(text)).collect::<Vec<_>>()
        });
        let pairs = [
            ("registerWithTaints", taints.map(Value::from)),
            ("registerNode", self.register_node.map(Value::from)),
            ("providerID", self.provider_id.as_deref().map(Value::from)),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// `key=value:effect` or `key:effect`, as `ParseTaints` of `pkg/util/taints` has it.
fn taint(text: &str) -> Value {
    let Some((rest, effect)) = text.rsplit_once(':') else {
        return json!({ "key": text, "effect": "" });
    };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    json!({ "key": key, "value": value, "effect": effect })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_read_as_the_kubelet_writes_them() {
        assert_eq!(taint("a/b=c:NoSchedule"), json!({"key": "a/b", "value": "c", "effect": "NoSchedule"}));
        assert_eq!(taint("a:NoExecute"), json!({"key": "a", "value": "", "effect": "NoExecute"}));
        assert_eq!(taint("a=b"), json!({"key": "a=b", "effect": ""}));
    }

    #[test]
    fn unset_flags_say_nothing_and_an_empty_list_says_none() {
        assert_eq!(NodeFlags::default().pairs(), []);
        let none = NodeFlags { register_with_taints: Some(vec![String::new()]), ..NodeFlags::default() };
        assert_eq!(none.pairs(), [("registerWithTaints", json!([]))]);
    }
}
