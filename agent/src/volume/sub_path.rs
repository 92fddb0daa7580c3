//! Parts of volumes: which one a mount of a container asks for, and mounting it where the container is shown it.
//!
//! A part is looked for when an instance is made, and the instance keeps it: an update of the volume does not reach it.
//! What is mounted goes with the pod, or is replaced by the next instance. The details of a failure may tell a pod
//! what is on the node, so they go to the log only, as the kubelet does it (`makeMounts` of
//! `pkg/kubelet/kubelet_pods.go`, all texts too).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::VolumeMount;

use crate::chain::Chain;
use crate::disk::apart::ApartError;
use crate::disk::contents::{SubPath, SubPathError};
use crate::pod::act::Actor;
use crate::pod::env::Environment;
use crate::pod::env::expand::expand;
use crate::pod::job::Failure;
use crate::pod::mounts;
use crate::pod::paths::is_component;
use crate::pod::prepare::{Instance, REASON};
use crate::volume::plan::{self, Volume};

/// Longest path that a part may have, as the kernel takes it (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Mounts the parts of volumes that a container asks for; where, by the number of the mount in the spec. What is asked
/// for of an image is the runtime's to mount: its path there.
pub(crate) async fn prepare(
    actor: &Actor,
    instance: Instance<'_>,
    env: &Environment,
) -> Result<BTreeMap<usize, PathBuf>, Failure> {
    let container = instance.container;
    let mut paths = BTreeMap::new();
    // First all that needs no disk: a mistake in the spec mounts nothing.
    let mut parts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let part = part(mount, |name| env.get(name)).map_err(|why| Failure::plain(REASON, why))?;
        let (Some(inner), Some(volume)) = (part, volume_of(instance, mount)) else { continue };
        let Some(volume) = mounts::place(&volume, &instance.pod.uid, &actor.dirs) else {
            paths.insert(index, inner);
            continue;
        };
        if !is_component(&mount.name) || !is_component(&container.name) {
            return Err(Failure::plain(REASON, format!("cannot find volume {:?} to mount", mount.name)));
        }
        let target = actor.dirs.sub_path(&instance.pod.uid, &mount.name, &container.name, index);
        parts.push((index, mount, SubPath { volume, inner, target }));
    }
    for (index, mount, part) in parts {
        paths.insert(index, part.target.clone());
        bind(actor, instance, mount, part).await?;
    }
    Ok(paths)
}

/// The volume of a mount; that there is none is told when mounts are made.
pub(super) fn volume_of(instance: Instance<'_>, mount: &VolumeMount) -> Option<Volume> {
    let volumes = instance.spec.volumes.iter().flatten();
    let volume = volumes.into_iter().find(|volume| volume.name == mount.name)?;
    plan::of_spec(volume, instance.spec)
}

async fn bind(
    actor: &Actor,
    instance: Instance<'_>,
    mount: &VolumeMount,
    part: SubPath,
) -> Result<(), Failure> {
    let volume = part.volume.clone();
    let bound = actor.volumes.apart().on(&volume, move |disk| disk.bind_sub_path(&part)).await;
    let of = format!("for volumeMount {:?} of container {:?}", mount.name, instance.container.name);
    let (told, why) = match &bound {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error @ SubPathError::Make(_))) => {
            (format!("failed to create subPath directory {of}"), Chain(error).to_string())
        }
        Ok(Err(error @ SubPathError::Prepare(_))) => {
            (format!("failed to prepare subPath {of}"), Chain(error).to_string())
        }
        // Where the volume is, is in the spec.
        Err(error @ (ApartError::NoAnswer(_) | ApartError::TooMany)) => {
            (format!("failed to prepare subPath {of}: {error}"), Chain(error).to_string())
        }
        Err(error @ ApartError::Failed { .. }) => {
            (format!("failed to prepare subPath {of}"), Chain(error).to_string())
        }
    };
    tracing::warn!(pod = instance.pod.full_name(), error = why, "{told}");
    Err(Failure::plain(REASON, told))
}

/// The part that a mount asks for, relative to its volume; none if it is the whole.
pub(crate) fn part<'a>(
    mount: &VolumeMount,
    variable: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<Option<PathBuf>, String> {
    let expression = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty());
    let path = match expression {
        Some(expression) => expanded(expression, variable)?,
        None => mount.sub_path.clone().unwrap_or_default(),
    };
    if path.is_empty() {
        return Ok(None);
    }
    if Path::new(&path).is_absolute() {
        return Err(format!("error SubPath `{path}` must not be an absolute path"));
    }
    if path.split('/').any(|name| name == "..") {
        return Err(format!("unable to provision SubPath `{path}`: must not contain '..'"));
    }
    if path.contains('\0') {
        return Err("unable to provision SubPath: must not contain a zero byte".to_owned());
    }
    Ok(Some(path.into()))
}

/// An expression with the values of its variables, each of which must have one.
fn expanded<'a>(expression: &str, variable: impl Fn(&str) -> Option<&'a [u8]>) -> Result<String, String> {
    let missing = RefCell::new(BTreeSet::new());
    let lookup = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        let value = variable(&name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.borrow_mut().insert(name.into_owned());
        }
        value
    };
    let path = expand(expression.as_bytes(), lookup, MAX_PATH);
    let missing: Vec<String> = missing.into_inner().into_iter().collect();
    if !missing.is_empty() {
        return Err(format!("missing value for {}", missing.join(", ")));
    }
    let path = path.ok_or_else(|| format!("subPathExpr is longer than {MAX_PATH} bytes"))?;
    String::from_utf8(path).map_err(|_| "subPathExpr is not valid UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str) -> Option<&'static [u8]> {
        match name {
            "POD" => Some(b"web-0"),
            "DEEP" => Some(b"a/b"),
            "UP" => Some(b"x/.."),
            "ROOT" => Some(b"/etc"),
            "EMPTY" => Some(b""),
            "BYTES" => Some(b"\xff"),
            _ => None,
        }
    }

    fn of(path: &str, expression: &str) -> Result<Option<PathBuf>, String> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mount =
            VolumeMount { sub_path: text(path), sub_path_expr: text(expression), ..VolumeMount::default() };
        part(&mount, variable)
    }

    #[test]
    fn a21_what_a_mount_asks_for() {
        let found = |path: &str| Ok(Some(PathBuf::from(path)));
        assert_eq!(of("", ""), Ok(None));
        assert_eq!(of("a/./b", ""), found("a/./b"));
        assert_eq!(of("$(POD)", ""), found("$(POD)"), "only an expression is expanded");
        assert_eq!(of("", "logs/$(POD)/$(DEEP)"), found("logs/web-0/a/b"));
        assert_eq!(of("", "$$(POD)"), found("$(POD)"));
        assert_eq!(of("", "plain"), found("plain"));
        assert_eq!(of("a..b/...", ""), found("a..b/..."));
    }

    #[test]
    fn a21_refusals_are_in_the_kubelets_words() {
        let refused = |path: &str, expression: &str| of(path, expression).unwrap_err();
        assert_eq!(refused("/etc", ""), "error SubPath `/etc` must not be an absolute path");
        assert_eq!(refused("a/../..", ""), "unable to provision SubPath `a/../..`: must not contain '..'");
        assert_eq!(refused("", "$(ROOT)"), "error SubPath `/etc` must not be an absolute path");
        assert_eq!(refused("", "$(UP)/y"), "unable to provision SubPath `x/../y`: must not contain '..'");
        assert_eq!(refused("", "$(B)/$(A)/$(B)/$(EMPTY)"), "missing value for A, B, EMPTY");
        assert_eq!(refused("", "$(BYTES)"), "subPathExpr is not valid UTF-8");
    }

    proptest! {
        #[test]
        fn a21_no_text_leads_upwards(text in "([a-z./]|\\$\\(UP\\)|\\$\\(ROOT\\)|\\$\\(DEEP\\)|\0){0,8}") {
            for found in [of(&text, ""), of("", &text)] {
                let Ok(Some(path)) = found else { continue };
                prop_assert!(path.is_relative());
                prop_assert!(path.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
            }
        }
    }
}
