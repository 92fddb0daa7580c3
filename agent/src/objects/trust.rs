//! Bundles of certificates that the cluster vouches for: ClusterTrustBundles. Values only.
//!
//! All of them are followed at once, as upstream does (`pkg/kubelet/clustertrustbundle`): which ones a volume shows is
//! told by their signers and labels. A cluster has few.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::wire::{Item, Meta};

/// Where they are, the newest version first: which of them an API server has depends on its age, and none is there
/// unless it was told to serve one.
pub(super) const PATHS: [&str; 3] = [
    "/apis/certificates.k8s.io/v1/clustertrustbundles",
    "/apis/certificates.k8s.io/v1beta1/clustertrustbundles",
    "/apis/certificates.k8s.io/v1alpha1/clustertrustbundles",
];

/// What they are called where they are missing.
pub(super) const WHAT: &str = "clustertrustbundles.certificates.k8s.io";

/// All bundles, by name.
pub type Bundles = BTreeMap<String, Bundle>;

/// One bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Who signs with its certificates; empty for a bundle of nobody's.
    pub signer: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its certificates as PEM, and whatever else was written between them.
    pub text: String,
}

/// A bundle as the API server writes it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct BundleItem {
    metadata: BundleMeta,
    spec: Option<Spec>,
    code: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct BundleMeta {
    #[serde(flatten)]
    meta: Meta,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    signer_name: Option<String>,
    trust_bundle: Option<String>,
}

impl Item for BundleItem {
    fn meta(&self) -> &Meta {
        &self.metadata.meta
    }

    fn code(&self) -> Option<u16> {
        self.code
    }
}

impl From<BundleItem> for (String, Bundle) {
    fn from(item: BundleItem) -> Self {
        let spec = item.spec.unwrap_or_default();
        let bundle = Bundle {
            signer: spec.signer_name.unwrap_or_default(),
            labels: item.metadata.labels.unwrap_or_default(),
            text: spec.trust_bundle.unwrap_or_default(),
        };
        (item.metadata.meta.name.unwrap_or_default(), bundle)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bundle_is_its_signer_labels_and_text() {
        let item: BundleItem = serde_json::from_value(json!({
            "metadata": { "name": "s:b", "resourceVersion": "7", "labels": { "a": "b" },
                "managedFields": [{ "manager": "m" }] },
            "spec": { "signerName": "example.com/s", "trustBundle": "PEM" },
        }))
        .unwrap();
        assert_eq!(item.meta().resource_version.as_deref(), Some("7"));
        let labels = [("a".to_owned(), "b".to_owned())].into();
        let bundle = Bundle { signer: "example.com/s".into(), labels, text: "PEM".into() };
        assert_eq!(<(String, Bundle)>::from(item), ("s:b".to_owned(), bundle));
        let status: BundleItem = serde_json::from_value(json!({ "metadata": {}, "code": 410 })).unwrap();
        assert_eq!(status.code(), Some(410));
    }
}
