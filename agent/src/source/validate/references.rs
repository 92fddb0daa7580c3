//! What a static pod may not refer to: objects that only an API server has.
//!
//! ConfigMaps and Secrets are not refused here: without an API server their manifests lie beside the pod's,
//! and until they are used the gate holds the pod. The reason's first words are the kubelet's own
//! (`pkg/kubelet/config/common.go`), since people search for them.

use k8s_openapi::api::core::v1::{PodSpec, Volume};

use super::Faults;

pub(super) fn spec(spec: &PodSpec, faults: &mut Faults) {
    let accounts =
        [("serviceAccountName", &spec.service_account_name), ("serviceAccount", &spec.service_account)];
    for (name, account) in accounts {
        if account.as_ref().is_some_and(|account| !account.is_empty()) {
            refuse(format!("spec.{name}"), "serviceaccounts", faults);
        }
    }
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        refuse("spec.resourceClaims".to_owned(), "resourceclaims", faults);
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        self::volume(&format!("spec.volumes[{index}]"), volume, faults);
    }
}

fn volume(at: &str, volume: &Volume, faults: &mut Faults) {
    let kinds = [
        ("csi", volume.csi.is_some(), "csidrivers (via CSI volumes)"),
        ("glusterfs", volume.glusterfs.is_some(), "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some(), "persistentvolumeclaims"),
        ("ephemeral", volume.ephemeral.is_some(), "persistentvolumeclaims (via ephemeral volumes)"),
        ("azureFile", volume.azure_file.is_some(), "secrets (via azureFile volumes)"),
    ];
    for (name, used, what) in kinds {
        if used {
            refuse(format!("{at}.{name}"), what, faults);
        }
    }
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    for (index, source) in sources.enumerate() {
        let at = format!("{at}.projected.sources[{index}]");
        if source.service_account_token.is_some() {
            refuse(format!("{at}.serviceAccountToken"), "serviceaccounts (via projected volumes)", faults);
        }
        if source.cluster_trust_bundle.is_some() {
            refuse(format!("{at}.clusterTrustBundle"), "clustertrustbundles", faults);
        }
        if source.pod_certificate.is_some() {
            refuse(format!("{at}.podCertificate"), "podcertificates", faults);
        }
    }
}

fn refuse(field: String, what: &str, faults: &mut Faults) {
    faults.add(field, format!("static pods may not reference {what}"));
}
