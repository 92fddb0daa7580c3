//! Which volumes of a pod are built, and what each is. Pure. The gate holds a pod with anything else, so that what is
//! an error here never runs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, HostPathVolumeSource, ImageVolumeSource, Pod, PodSpec, Volume as Spec,
};

use crate::quantity::Quantity;
use crate::source::desired::DesiredPod;
use crate::volume::{huge_pages, nested};

mod sources;

pub use sources::{Chosen, FieldSource, Item, ObjectSource, Shown, Source, TokenSource, TrustSource};

/// Mode of files where a volume says nothing (`pkg/apis/core/v1/defaults.go`).
const DEFAULT_MODE: u32 = 0o644;

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Its name within its pod, one path component.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Files that the agent writes, from objects and from what it knows.
    Rendered(Rendered),
    /// A directory that begins empty and goes with its pod.
    EmptyDir(EmptyDir),
    /// A path of the host.
    HostPath(HostPath),
    /// An image, which the runtime mounts.
    Image {
        /// Its reference.
        reference: String,
    },
}

/// Whose place a volume has in its pod's directory: the kubelet's plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// `configMap`.
    ConfigMap,
    /// `secret`.
    Secret,
    /// `downwardAPI`.
    DownwardApi,
    /// `projected`.
    Projected,
    /// `emptyDir`.
    EmptyDir,
}

/// A volume of files that the agent writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Its name within its pod, one path component.
    pub name: String,
    /// Which kind of volume this is.
    pub plugin: Plugin,
    /// Mode of files whose item has none of its own.
    pub mode: u32,
    /// What is put together in it, in the order of the spec.
    pub sources: Vec<Source>,
    /// Directories in it over which the pod mounts other volumes, relative; not yet checked.
    pub nested: BTreeSet<PathBuf>,
}

/// A directory that begins empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyDir {
    /// Where it lies.
    pub medium: Medium,
    /// `sizeLimit` in bytes, if it has one above 0.
    pub limit: Option<u64>,
}

/// Where a directory that begins empty lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// On the disk of the pods' directory.
    Disk,
    /// In a file system in memory.
    Memory,
    /// In huge pages, of this size in bytes if the spec names one.
    HugePages(Option<i64>),
}

/// A path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPath {
    /// The path, as the spec has it.
    pub path: PathBuf,
    /// What must be there.
    pub expected: Expected,
}

/// What must be at a path of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nobody looks.
    Anything,
    /// A directory, made if `create` and nothing is there.
    Directory {
        /// Whether it is made.
        create: bool,
    },
    /// A regular file, made if `create` and nothing is there.
    File {
        /// Whether it is made.
        create: bool,
    },
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Plugin {
    /// Name of its directory among a pod's volumes.
    #[must_use]
    pub fn directory(self) -> &'static str {
        match self {
            Self::ConfigMap => "kubernetes.io~configmap",
            Self::Secret => "kubernetes.io~secret",
            Self::DownwardApi => "kubernetes.io~downward-api",
            Self::Projected => "kubernetes.io~projected",
            Self::EmptyDir => "kubernetes.io~empty-dir",
        }
    }

    /// Whether its volumes lie in memory whatever the spec says: what may be a secret is never on a disk.
    #[must_use]
    pub fn is_in_memory(self) -> bool {
        match self {
            Self::Secret | Self::DownwardApi | Self::Projected => true,
            Self::ConfigMap | Self::EmptyDir => false,
        }
    }
}

/// Whether there is anything to set up before a container of the pod may start.
#[must_use]
pub fn has_volumes(pod: &DesiredPod) -> bool {
    pod.pod.spec.as_ref().is_some_and(|spec| spec.volumes.as_ref().is_some_and(|all| !all.is_empty()))
}

/// The pod's volumes; or the name of one that is not built.
pub fn volumes(pod: &Pod) -> Result<Vec<Volume>, String> {
    let Some(spec) = &pod.spec else { return Ok(Vec::new()) };
    let volumes = spec.volumes.iter().flatten();
    volumes.map(|volume| of_spec(volume, spec).ok_or_else(|| volume.name.clone())).collect()
}

/// A volume of a pod's spec; none if it is not built.
#[must_use]
pub fn of_spec(volume: &Spec, pod: &PodSpec) -> Option<Volume> {
    let name = volume.name.clone();
    let rendered = |plugin, mode: Option<i32>, sources| {
        let (name, nested) = (name.clone(), nested::mount_points(&name, pod));
        let mode = mode.and_then(mode_bits).unwrap_or(DEFAULT_MODE);
        Kind::Rendered(Rendered { name, plugin, mode, sources, nested })
    };
    let kind = if let Some(source) = &volume.projected {
        rendered(Plugin::Projected, source.default_mode, sources::of_projected(source)?)
    } else if let Some(source) = &volume.config_map {
        rendered(Plugin::ConfigMap, source.default_mode, vec![sources::of_config_map(source)])
    } else if let Some(source) = &volume.secret {
        rendered(Plugin::Secret, source.default_mode, vec![sources::of_secret(source)])
    } else if let Some(source) = &volume.downward_api {
        rendered(Plugin::DownwardApi, source.default_mode, sources::of_fields(source.items.as_deref())?)
    } else if let Some(source) = &volume.empty_dir {
        Kind::EmptyDir(empty_dir(source)?)
    } else if let Some(source) = &volume.host_path {
        Kind::HostPath(host_path(source)?)
    } else if let Some(ImageVolumeSource { pull_policy: _, reference }) = &volume.image {
        Kind::Image { reference: reference.clone().unwrap_or_default() }
    } else {
        return None;
    };
    Some(Volume { name, kind })
}

fn empty_dir(source: &EmptyDirVolumeSource) -> Option<EmptyDir> {
    let EmptyDirVolumeSource { medium, size_limit } = source;
    let medium = match medium.as_deref() {
        None | Some("") => Medium::Disk,
        Some("Memory") => Medium::Memory,
        Some(medium) => Medium::HugePages(huge_pages::of_medium(medium)?),
    };
    let limit = size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0).ok());
    let limit = limit.and_then(|limit| u64::try_from(limit.value()).ok()).filter(|limit| *limit > 0);
    Some(EmptyDir { medium, limit })
}

fn host_path(source: &HostPathVolumeSource) -> Option<HostPath> {
    let HostPathVolumeSource { path, type_ } = source;
    let expected = match type_.as_deref() {
        None | Some("") => Expected::Anything,
        Some("Directory") => Expected::Directory { create: false },
        Some("DirectoryOrCreate") => Expected::Directory { create: true },
        Some("File") => Expected::File { create: false },
        Some("FileOrCreate") => Expected::File { create: true },
        Some("Socket") => Expected::Socket,
        Some("CharDevice") => Expected::CharDevice,
        Some("BlockDevice") => Expected::BlockDevice,
        Some(_) => return None,
    };
    Some(HostPath { path: path.into(), expected })
}

/// The API admits modes from 0 to 0777.
fn mode_bits(mode: i32) -> Option<u32> {
    u32::try_from(mode).ok().map(|mode| mode & 0o777)
}

impl Volume {
    /// The volume, if the agent writes its files.
    #[must_use]
    pub fn rendered(&self) -> Option<&Rendered> {
        match &self.kind {
            Kind::Rendered(rendered) => Some(rendered),
            Kind::EmptyDir(_) | Kind::HostPath(_) | Kind::Image { .. } => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
