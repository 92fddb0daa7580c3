//! Mounts of a container: where its volumes lie on the node, and how they are shown to it. Pure.

use k8s_openapi::api::core::v1::{Container, VolumeMount};
use pinnace_cri::id::PodUid;
use pinnace_cri::v1::Mount;

use crate::pod::paths::{Dirs, is_component};

/// The mounts of a container's volumes, in the order of the spec.
#[must_use]
pub fn of_volumes(uid: &PodUid, container: &Container, dirs: &Dirs) -> Vec<Mount> {
    let volumes = container.volume_mounts.iter().flatten().filter(|mount| is_component(&mount.name));
    volumes.map(|mount| of_volume(mount, dirs, uid)).collect()
}

/// A projected volume: the only kind that the gate lets through, and read-only whatever the spec says.
fn of_volume(mount: &VolumeMount, dirs: &Dirs, uid: &PodUid) -> Mount {
    let path = mount.mount_path.trim_start_matches('/');
    Mount {
        container_path: format!("/{path}"),
        host_path: dirs.projected_volume(uid, &mount.name).to_string_lossy().into_owned(),
        readonly: true,
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a23_projected_volumes_are_mounted_read_only() {
        let mounts = json!([{ "name": "v", "mountPath": "/var/run/secrets", "readOnly": false }]);
        let container = serde_json::from_value(json!({ "name": "c", "volumeMounts": mounts })).unwrap();
        let dirs = Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None };
        let volume = Mount {
            container_path: "/var/run/secrets".into(),
            host_path: "/r/pods/u1/volumes/kubernetes.io~projected/v".into(),
            readonly: true,
            ..Mount::default()
        };
        assert_eq!(of_volumes(&PodUid::new("u1").unwrap(), &container, &dirs), [volume]);
    }
}
