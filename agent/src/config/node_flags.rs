//! The flags that say how the node appears in the API and have no key in the configuration file, by the kubelet's names.

use clap::Args;

/// Flags about the node's own API object.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct NodeFlags {
    /// Labels that the node registers with, as key=value, separated by commas
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub node_labels: Vec<String>,
    /// "external" if a cloud controller sets the node's addresses and removes its first taint
    #[arg(long, value_name = "NAME")]
    pub cloud_provider: Option<String>,
}
