//! What a static pod may not refer to: objects that only an API server has.
//!
//! ConfigMaps and Secrets are refused apart: without an API server their manifests lie beside the pod's. The reason's first words are the kubelet's own
//! (`pkg/kubelet/config/common.go`), since people search for them.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, PodSpec, Volume};

use super::Faults;

/// Resources of the API as refusals name them.
const CONFIG_MAPS: &str = "configmaps";
const SECRETS: &str = "secrets";

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

/// References to ConfigMaps and Secrets.
pub(super) fn objects(spec: &PodSpec, faults: &mut Faults) {
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        volume_objects(&format!("spec.volumes[{index}]"), volume, faults);
    }
    let init = spec.init_containers.iter().flatten();
    let containers = spec.containers.iter().enumerate().map(|(index, one)| ("containers", index, one));
    let init = init.enumerate().map(|(index, one)| ("initContainers", index, one));
    for (list, index, container) in containers.chain(init) {
        let at = format!("spec.{list}[{index}]");
        environment(&at, container.env_from.iter().flatten(), container.env.iter().flatten(), faults);
    }
    for (index, _) in spec.image_pull_secrets.iter().flatten().enumerate() {
        refuse(format!("spec.imagePullSecrets[{index}]"), SECRETS, faults);
    }
}

fn volume_objects(at: &str, volume: &Volume, faults: &mut Faults) {
    refuse_if(volume.config_map.is_some(), at, "configMap", CONFIG_MAPS, faults);
    refuse_if(volume.secret.is_some(), at, "secret", SECRETS, faults);
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    for (index, source) in sources.enumerate() {
        let at = format!("{at}.projected.sources[{index}]");
        refuse_if(source.config_map.is_some(), &at, "configMap", CONFIG_MAPS, faults);
        refuse_if(source.secret.is_some(), &at, "secret", SECRETS, faults);
    }
}

fn environment<'a>(
    at: &str,
    from: impl Iterator<Item = &'a EnvFromSource>,
    env: impl Iterator<Item = &'a EnvVar>,
    faults: &mut Faults,
) {
    for (index, source) in from.enumerate() {
        let at = format!("{at}.envFrom[{index}]");
        refuse_if(source.config_map_ref.is_some(), &at, "configMapRef", CONFIG_MAPS, faults);
        refuse_if(source.secret_ref.is_some(), &at, "secretRef", SECRETS, faults);
    }
    for (index, variable) in env.enumerate() {
        let Some(source) = &variable.value_from else { continue };
        let at = format!("{at}.env[{index}].valueFrom");
        refuse_if(source.config_map_key_ref.is_some(), &at, "configMapKeyRef", CONFIG_MAPS, faults);
        refuse_if(source.secret_key_ref.is_some(), &at, "secretKeyRef", SECRETS, faults);
    }
}

fn refuse_if(used: bool, at: &str, name: &str, what: &str, faults: &mut Faults) {
    if used {
        refuse(format!("{at}.{name}"), what, faults);
    }
}

fn refuse(field: String, what: &str, faults: &mut Faults) {
    faults.add(field, format!("static pods may not reference {what}"));
}
