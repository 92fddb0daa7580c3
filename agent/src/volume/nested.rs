//! Where a pod mounts other volumes into one of its volumes. The runtime could not make these directories in a volume
//! that is read-only, so they are made with its files. Pure.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// Directories needed in the volume `name`, relative to it. Of two, one in the other, only the outer one: the inner one
/// lies in what is mounted over it.
#[must_use]
pub(super) fn mount_points(name: &str, pod: &PodSpec) -> BTreeSet<PathBuf> {
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    containers.flat_map(|container| in_container(name, container)).collect()
}

fn in_container(name: &str, container: &Container) -> BTreeSet<PathBuf> {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let points: BTreeSet<PathBuf> = mounts.iter().map(|mount| normal(&mount.mount_path)).collect();
    let whole = |mount: &&k8s_openapi::api::core::v1::VolumeMount| {
        let part = [&mount.sub_path, &mount.sub_path_expr];
        mount.name == name && part.iter().all(|part| part.as_ref().is_none_or(String::is_empty))
    };
    let mut needed = BTreeSet::new();
    for own in mounts.iter().filter(whole).map(|mount| normal(&mount.mount_path)) {
        let inside = points.iter().filter_map(|point| point.strip_prefix(&own).ok());
        let inside: Vec<&Path> = inside.filter(|inner| !inner.as_os_str().is_empty()).collect();
        let outermost =
            |inner: &&&Path| !inside.iter().any(|other| other != *inner && inner.starts_with(other));
        needed.extend(inside.iter().filter(outermost).map(|inner| (*inner).to_owned()));
    }
    needed
}

/// The path without what changes nothing of it; a path that climbs stays as it is, and is refused later.
fn normal(path: &str) -> PathBuf {
    let named = |part: &Component<'_>| !matches!(part, Component::RootDir | Component::CurDir);
    Path::new(path).components().filter(named).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn points(mounts: &[(&str, &str)]) -> Vec<String> {
        let mounts: Vec<_> =
            mounts.iter().map(|(name, path)| json!({ "name": name, "mountPath": path })).collect();
        let spec = json!({ "containers": [{ "name": "c", "volumeMounts": mounts }] });
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        mount_points("v", &spec).into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_is_mounted_inside_is_found() {
        assert_eq!(points(&[("v", "/a"), ("w", "/b")]), Vec::<String>::new());
        assert_eq!(points(&[("v", "/a/"), ("w", "/a//b/./c"), ("x", "/ab")]), ["b/c"]);
        assert_eq!(points(&[("v", "/a"), ("w", "/a/b"), ("x", "/a/b/c"), ("y", "/a/d")]), ["b", "d"]);
        assert_eq!(points(&[("v", "/a"), ("v", "/a/b"), ("w", "/a/b/c")]), ["b", "c"]);
        assert_eq!(points(&[("v", "/"), ("w", "/etc/x")]), ["etc/x"]);
    }
}
