//! Mounts of a container: where its volumes lie on the node, and how they are shown to it. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};
use pinnace_cri::id::PodUid;
use pinnace_cri::v1::{ImageSpec, Mount, MountPropagation};

use crate::pod::paths::Dirs;
use crate::volume::plan::{self, Kind, Plugin, Volume};

/// What the mounts of a container are made from, beside its spec.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The pod.
    pub uid: &'a PodUid,
    /// Where volumes lie.
    pub dirs: &'a Dirs,
    /// The part of a volume that is mounted in the place of the whole, by the index of the volume mount; of an image the
    /// path within it.
    pub sub_paths: &'a BTreeMap<usize, PathBuf>,
    /// Image volumes as the runtime names their images, by the volume's name.
    pub images: &'a BTreeMap<String, String>,
    /// The pod's runtime handler makes mounts read-only with all that is below them.
    pub recursive_read_only: bool,
    /// SELinux is enabled on the node.
    pub se_linux: bool,
}

/// The mounts of a container's volumes, in the order of the spec; or why there are none to be had.
pub fn of_volumes(spec: &PodSpec, container: &Container, around: &Around<'_>) -> Result<Vec<Mount>, String> {
    let mounts = container.volume_mounts.iter().flatten().enumerate();
    mounts.map(|(index, mount)| of_mount(spec, index, mount, around)).collect()
}

fn of_mount(spec: &PodSpec, index: usize, mount: &VolumeMount, around: &Around<'_>) -> Result<Mount, String> {
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
    let volume = volume.and_then(|volume| plan::of_spec(volume, spec)).ok_or_else(|| {
        format!("mount cannot be satisfied for volume {:?}, because the volume is missing", mount.name)
    })?;
    let recursive_read_only = recursive_read_only(mount, around.recursive_read_only)
        .map_err(|why| format!("failed to resolve recursive read-only mode: {why}"))?;
    let container_path = format!("/{}", mount.mount_path.trim_start_matches('/'));
    let mut made = Mount {
        container_path,
        readonly: mount.read_only.unwrap_or(false) || is_read_only(&volume),
        recursive_read_only,
        propagation: propagation(mount)?.into(),
        selinux_relabel: around.se_linux && is_the_pods(&volume),
        ..Mount::default()
    };
    match (&volume.kind, around.sub_paths.get(&index)) {
        (Kind::Image { reference }, _) => {
            let image = around.images.get(&mount.name).unwrap_or(reference).clone();
            let user_specified_image = reference.clone();
            made.image = Some(ImageSpec { image, user_specified_image, ..ImageSpec::default() });
            let part = around.sub_paths.get(&index).map(|part| part.to_string_lossy().into_owned());
            made.image_sub_path = part.or_else(|| mount.sub_path.clone()).unwrap_or_default();
        }
        (_, Some(part)) => made.host_path = part.to_string_lossy().into_owned(),
        (_, None) => {
            let path = place(&volume, around.uid, around.dirs).unwrap_or_default();
            made.host_path = path.to_string_lossy().into_owned();
        }
    }
    Ok(made)
}

/// Where a volume lies, a path of the host as the spec has it: its links are followed. None for an image, which only the
/// runtime can mount.
pub(crate) fn place(volume: &Volume, uid: &PodUid, dirs: &Dirs) -> Option<PathBuf> {
    let dir = |plugin| dirs.volume(uid, plugin, &volume.name);
    match &volume.kind {
        Kind::Rendered(rendered) => Some(dir(rendered.plugin)),
        Kind::EmptyDir(_) => Some(dir(Plugin::EmptyDir)),
        Kind::HostPath(host) => Some(host.path.clone()),
        Kind::Image { .. } => None,
    }
}

/// What the agent writes is the agent's: a container that could plant links there would make it write elsewhere.
fn is_read_only(volume: &Volume) -> bool {
    match volume.kind {
        Kind::Rendered(_) | Kind::Image { .. } => true,
        Kind::EmptyDir(_) | Kind::HostPath(_) => false,
    }
}

/// Whether the files may get the labels of the container: those that were made for its pod. The host's and an image's
/// are others' too (`SELinuxRelabel` of the plugins in `pkg/volume`).
fn is_the_pods(volume: &Volume) -> bool {
    match volume.kind {
        Kind::Rendered(_) | Kind::EmptyDir(_) => true,
        Kind::HostPath(_) | Kind::Image { .. } => false,
    }
}

fn propagation(mount: &VolumeMount) -> Result<MountPropagation, String> {
    match mount.mount_propagation.as_deref() {
        None | Some("" | "None") => Ok(MountPropagation::PropagationPrivate),
        Some("HostToContainer") => Ok(MountPropagation::PropagationHostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::PropagationBidirectional),
        Some(other) => Err(format!("invalid MountPropagation mode: {other:?}")),
    }
}

/// Whether a mount is read-only with all that is below it. Words and order are those of `resolveRecursiveReadOnly` in
/// `pkg/kubelet/kubelet_pods.go`.
fn recursive_read_only(mount: &VolumeMount, supported: bool) -> Result<bool, String> {
    let mode = match mount.recursive_read_only.as_deref() {
        None | Some("" | "Disabled") => return Ok(false),
        Some(mode) => mode,
    };
    let asked = format!("volume {:?} requested recursive read-only mode, but it is", mount.name);
    if !mount.read_only.unwrap_or(false) {
        return Err(format!("{asked} not read-only"));
    }
    match mount.mount_propagation.as_deref() {
        None | Some("" | "None") => {}
        Some(other) => return Err(format!("{asked} not compatible with propagation {other:?}")),
    }
    match mode {
        "IfPossible" => Ok(supported),
        "Enabled" if supported => Ok(true),
        "Enabled" => Err(format!("{asked} not supported by the runtime")),
        other => Err(format!("unknown recursive read-only mode {other:?}")),
    }
}

#[cfg(test)]
mod tests;
