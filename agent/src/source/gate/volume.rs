//! Which kinds of volume hold a pod: all of them, until volumes are built.

use k8s_openapi::api::core::v1::Volume;

use super::Holds;

pub(super) fn volume(index: usize, volume: &Volume, holds: &mut Holds) {
    let kind = kind(volume).unwrap_or("emptyDir");
    holds.hold(format!("spec.volumes[{index}].{kind}"));
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
