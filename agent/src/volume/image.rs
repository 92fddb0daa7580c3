//! Volumes that are images: pulled as a container's are, mounted by the runtime, always read-only.
//!
//! A runtime that is too old takes the mount for one without a source and fails in words that help nobody, or worse; CRI
//! has no way to ask, so the version decides.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ImageVolumeSource, PodSpec};

use crate::image::ensure::by_reference;
use crate::pod::act::Actor;
use crate::pod::job::{Failure, Job};
use crate::pod::prepare::{Instance, REASON};

/// Runtimes that mount images, and the first version that does, as people write it.
const SINCE: [(&str, (u64, u64)); 2] = [("containerd", (2, 1)), ("cri-o", (1, 31))];

/// Pulls what the pod's volumes ask for, by their policies and side by side: each of them once, in the start of the pod.
/// What goes away later is for [`of_container`] to bring back. The first failure is the pod's.
pub(super) async fn pull(actor: &Actor, job: &Job) -> Result<(), Failure> {
    let Some(pod) = &job.pod else { return Ok(()) };
    if !job.first {
        return Ok(());
    }
    let resolved = &actor.images.resolved;
    let images = pod.pod.spec.iter().flat_map(images).filter(|(name, _)| !resolved.has(&pod.uid, name));
    let pulls = images.map(|(name, source)| async move {
        can_mount(actor, name)?;
        let reference = source.reference.as_deref().unwrap_or_default();
        by_reference(actor, pod, reference, source.pull_policy.as_deref()).await?;
        resolved.add(&pod.uid, name);
        Ok(())
    });
    let pulls = async { join_all(pulls).await.into_iter().collect::<Result<(), _>>() };
    tokio::select! {
        biased;
        () = job.leaving.cancelled() => Err(Failure::plain("", "the pod is to go".to_owned())),
        pulled = Box::pin(pulls) => pulled,
    }
}

/// Images of the volumes that a container mounts, as the runtime names them, by the volume's name. One that is gone since
/// the pod was set up is pulled again, unless it may never be.
pub(crate) async fn of_container(
    actor: &Actor,
    instance: Instance<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    let mounted =
        |name: &str| instance.container.volume_mounts.iter().flatten().any(|mount| mount.name == name);
    for (name, source) in images(instance.spec).filter(|(name, _)| mounted(name)) {
        can_mount(actor, name)?;
        let policy = source.pull_policy.as_deref().filter(|policy| *policy == "Never");
        let reference = source.reference.as_deref().unwrap_or_default();
        let policy = policy.or(Some("IfNotPresent"));
        let image = Box::pin(by_reference(actor, instance.pod, reference, policy)).await?;
        found.insert(name.to_owned(), image.id);
    }
    Ok(found)
}

fn images(spec: &PodSpec) -> impl Iterator<Item = (&str, &ImageVolumeSource)> {
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|volume| Some((volume.name.as_str(), volume.image.as_ref()?)))
}

fn can_mount(actor: &Actor, volume: &str) -> Result<(), Failure> {
    let runtime = actor.runtime.borrow().version.clone();
    let why = runtime.as_deref().and_then(too_old);
    why.map_or(Ok(()), |why| Err(Failure::plain(REASON, format!("volume {volume:?} is an image: {why}"))))
}

/// Why a runtime cannot mount images, from its name and version; none if it can, or is not known here.
fn too_old(runtime: &str) -> Option<String> {
    let (name, version) = runtime.split_once(' ')?;
    let (_, (major, minor)) = SINCE.iter().find(|(known, _)| *known == name)?;
    let mut numbers = version.trim_start_matches('v').split(|other: char| !other.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u64>().ok();
    let found = (number()?, number()?);
    let old = found < (*major, *minor);
    old.then(|| format!("{runtime} cannot mount images, {name} {major}.{minor} and newer can"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_that_cannot_mount_images_are_told_by_their_version() {
        let why = too_old("containerd 1.6.20~ds1-1+deb12u1").unwrap();
        assert_eq!(why, "containerd 1.6.20~ds1-1+deb12u1 cannot mount images, containerd 2.1 and newer can");
        for old in ["containerd v2.0.5", "containerd 1.7.28", "cri-o 1.30.4"] {
            assert!(too_old(old).is_some(), "{old}");
        }
        for new in
            ["containerd v2.1.0-rc.1", "containerd v2.2.0", "containerd 10.0", "cri-o 1.31.0", "cri-o 2.0"]
        {
            assert_eq!(too_old(new), None, "{new}");
        }
        // What is not understood is for the runtime to say.
        for other in ["fake-cri 1.0.0", "containerd", "containerd dev", "containerd 2", ""] {
            assert_eq!(too_old(other), None, "{other}");
        }
    }
}
