//! Which kinds of volume hold a pod: all but projected ones of service-account tokens, ConfigMaps and the namespace.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector,
    ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};

use super::{Filled, Holds};
use crate::volume::plan::NAMESPACE_FIELD;

pub(super) fn volume(index: usize, volume: &Volume, holds: &mut Holds) {
    match (kind(volume).unwrap_or("emptyDir"), &volume.projected) {
        ("projected", Some(source)) => projected(&format!("spec.volumes[{index}].projected"), source, holds),
        (kind, _) => holds.hold(format!("spec.volumes[{index}].{kind}")),
    }
}

fn projected(at: &str, source: &ProjectedVolumeSource, holds: &mut Holds) {
    let ProjectedVolumeSource { default_mode: _, sources } = source;
    for (index, projection) in sources.iter().flatten().enumerate() {
        let at = format!("{at}.sources[{index}]");
        let VolumeProjection {
            cluster_trust_bundle,
            config_map,
            downward_api,
            pod_certificate,
            secret,
            service_account_token,
        } = projection;
        holds.hold_if(cluster_trust_bundle.is_some(), &at, "clusterTrustBundle");
        holds.hold_if(pod_certificate.is_some(), &at, "podCertificate");
        holds.hold_if(secret.is_some(), &at, "secret");
        if let Some(config_map) = config_map {
            // All of it is built; taken apart so that a new field is noticed.
            let ConfigMapProjection { items, name: _, optional: _ } = config_map;
            for KeyToPath { key: _, mode: _, path: _ } in items.iter().flatten() {}
        }
        if let Some(token) = service_account_token {
            let ServiceAccountTokenProjection { audience: _, expiration_seconds: _, path: _ } = token;
        }
        if let Some(DownwardAPIProjection { items }) = downward_api {
            for (index, item) in items.iter().flatten().enumerate() {
                downward(&format!("{at}.downwardAPI.items[{index}]"), item, holds);
            }
        }
    }
}

fn downward(at: &str, item: &DownwardAPIVolumeFile, holds: &mut Holds) {
    let DownwardAPIVolumeFile { field_ref, mode: _, path: _, resource_field_ref } = item;
    holds.hold_if(resource_field_ref.is_some(), at, "resourceFieldRef");
    let other = |ObjectFieldSelector { api_version: _, field_path }: &ObjectFieldSelector| {
        field_path.as_str() != NAMESPACE_FIELD
    };
    let held = field_ref.as_ref().map_or(resource_field_ref.is_none(), other);
    holds.hold_if(held, at, "fieldRef");
}

/// Volumes that are built only for a pod of the API: without an API server nobody could say what is in them.
pub(super) fn of_static_pod(volumes: &[Volume], holds: &mut Holds) {
    for (index, _) in volumes.iter().enumerate().filter(|(_, volume)| volume.projected.is_some()) {
        holds.hold(format!("spec.volumes[{index}].projected"));
    }
}

pub(super) fn mount(at: &str, mount: &VolumeMount, holds: &mut Holds) {
    let VolumeMount {
        mount_path: _,
        mount_propagation,
        name: _,
        read_only: _,
        recursive_read_only,
        sub_path,
        sub_path_expr,
    } = mount;
    let other =
        |value: &Option<String>, harmless: &str| value.as_deref().is_some_and(|value| value != harmless);
    holds.hold_if(other(mount_propagation, "None"), at, "mountPropagation");
    holds.hold_if(other(recursive_read_only, "Disabled"), at, "recursiveReadOnly");
    holds.hold_if(sub_path.filled(), at, "subPath");
    holds.hold_if(sub_path_expr.filled(), at, "subPathExpr");
}

/// The field that says what the volume is made of; the first, should there be several.
fn kind(volume: &Volume) -> Option<&'static str> {
    kinds(volume).into_iter().flatten().next()
}

/// How many kinds a volume claims to be of.
pub(in crate::source) fn kinds_named(volume: &Volume) -> usize {
    kinds(volume).into_iter().flatten().count()
}

fn kinds(volume: &Volume) -> [Option<&'static str>; 30] {
    #[rustfmt::skip]
    let Volume {
        name: _, aws_elastic_block_store, azure_disk, azure_file, cephfs, cinder, config_map, csi,
        downward_api, empty_dir, ephemeral, fc, flex_volume, flocker, gce_persistent_disk, git_repo,
        glusterfs, host_path, image, iscsi, nfs, persistent_volume_claim, photon_persistent_disk,
        portworx_volume, projected, quobyte, rbd, scale_io, secret, storageos, vsphere_volume,
    } = volume;
    [
        aws_elastic_block_store.as_ref().map(|_| "awsElasticBlockStore"),
        azure_disk.as_ref().map(|_| "azureDisk"),
        azure_file.as_ref().map(|_| "azureFile"),
        cephfs.as_ref().map(|_| "cephfs"),
        cinder.as_ref().map(|_| "cinder"),
        config_map.as_ref().map(|_| "configMap"),
        csi.as_ref().map(|_| "csi"),
        downward_api.as_ref().map(|_| "downwardAPI"),
        empty_dir.as_ref().map(|_| "emptyDir"),
        ephemeral.as_ref().map(|_| "ephemeral"),
        fc.as_ref().map(|_| "fc"),
        flex_volume.as_ref().map(|_| "flexVolume"),
        flocker.as_ref().map(|_| "flocker"),
        gce_persistent_disk.as_ref().map(|_| "gcePersistentDisk"),
        git_repo.as_ref().map(|_| "gitRepo"),
        glusterfs.as_ref().map(|_| "glusterfs"),
        host_path.as_ref().map(|_| "hostPath"),
        image.as_ref().map(|_| "image"),
        iscsi.as_ref().map(|_| "iscsi"),
        nfs.as_ref().map(|_| "nfs"),
        persistent_volume_claim.as_ref().map(|_| "persistentVolumeClaim"),
        photon_persistent_disk.as_ref().map(|_| "photonPersistentDisk"),
        portworx_volume.as_ref().map(|_| "portworxVolume"),
        projected.as_ref().map(|_| "projected"),
        quobyte.as_ref().map(|_| "quobyte"),
        rbd.as_ref().map(|_| "rbd"),
        scale_io.as_ref().map(|_| "scaleIO"),
        secret.as_ref().map(|_| "secret"),
        storageos.as_ref().map(|_| "storageos"),
        vsphere_volume.as_ref().map(|_| "vsphereVolume"),
    ]
}
