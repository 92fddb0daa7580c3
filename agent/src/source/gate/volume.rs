//! Which kinds of volume hold a pod, and what of a kind that is built does.

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMapProjection, ConfigMapVolumeSource, DownwardAPIProjection,
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource,
    ImageVolumeSource, KeyToPath, ObjectFieldSelector, ProjectedVolumeSource, ResourceFieldSelector,
    SecretProjection, SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};

use super::Holds;

pub(super) fn volume(index: usize, volume: &Volume, holds: &mut Holds) {
    let Some(kind) = kind(volume) else {
        // Of a kind that is not known here, nothing was read.
        return holds.hold(format!("spec.volumes[{index}]"));
    };
    let at = format!("spec.volumes[{index}].{kind}");
    // What is built is taken apart so that a new field is noticed.
    if let Some(source) = &volume.projected {
        projected(&at, source, holds);
    } else if let Some(source) = &volume.config_map {
        let ConfigMapVolumeSource { default_mode: _, items: keys, name: _, optional: _ } = source;
        items(keys.as_deref());
    } else if let Some(source) = &volume.secret {
        let SecretVolumeSource { default_mode: _, items: keys, optional: _, secret_name: _ } = source;
        items(keys.as_deref());
    } else if let Some(source) = &volume.downward_api {
        let DownwardAPIVolumeSource { default_mode: _, items } = source;
        downward(&at, items.as_deref(), holds);
    } else if let Some(source) = &volume.empty_dir {
        let EmptyDirVolumeSource { medium, size_limit: _ } = source;
        let other =
            medium.as_deref().is_some_and(|medium| !matches!(medium, "" | "Memory") && !is_huge(medium));
        holds.hold_if(other, &at, "medium");
    } else if let Some(source) = &volume.host_path {
        let HostPathVolumeSource { path: _, type_: _ } = source;
    } else if let Some(source) = &volume.image {
        let ImageVolumeSource { pull_policy: _, reference: _ } = source;
    } else {
        holds.hold(at);
    }
}

fn is_huge(medium: &str) -> bool {
    medium == "HugePages" || medium.starts_with("HugePages-")
}

fn items(items: Option<&[KeyToPath]>) {
    for KeyToPath { key: _, mode: _, path: _ } in items.unwrap_or_default() {}
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
        if let Some(bundle) = cluster_trust_bundle {
            let ClusterTrustBundleProjection { label_selector: _, name, optional: _, path: _, signer_name } =
                bundle;
            // One of the two; an API server admits nothing else.
            let chosen = name.is_some() != signer_name.is_some();
            holds.hold_if(!chosen, &at, "clusterTrustBundle");
        }
        holds.hold_if(pod_certificate.is_some(), &at, "podCertificate");
        if let Some(SecretProjection { items: keys, name: _, optional: _ }) = secret {
            items(keys.as_deref());
        }
        if let Some(ConfigMapProjection { items: keys, name: _, optional: _ }) = config_map {
            items(keys.as_deref());
        }
        if let Some(token) = service_account_token {
            let ServiceAccountTokenProjection { audience: _, expiration_seconds: _, path: _ } = token;
        }
        if let Some(DownwardAPIProjection { items }) = downward_api {
            downward(&format!("{at}.downwardAPI"), items.as_deref(), holds);
        }
    }
}

/// All fields and resources that a volume may show are built; an item that names neither is of a later kind.
fn downward(at: &str, items: Option<&[DownwardAPIVolumeFile]>, holds: &mut Holds) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let DownwardAPIVolumeFile { field_ref, mode: _, path: _, resource_field_ref } = item;
        if let Some(ObjectFieldSelector { api_version: _, field_path: _ }) = field_ref {}
        if let Some(ResourceFieldSelector { container_name: _, divisor: _, resource: _ }) = resource_field_ref
        {
        }
        let neither = field_ref.is_none() && resource_field_ref.is_none();
        holds.hold_if(neither, at, &format!("items[{index}]"));
    }
}

/// All of a mount is built; taken apart so that a new field is noticed.
pub(super) fn mount(mount: &VolumeMount) {
    let VolumeMount {
        mount_path: _,
        mount_propagation: _,
        name: _,
        read_only: _,
        recursive_read_only: _,
        sub_path: _,
        sub_path_expr: _,
    } = mount;
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
