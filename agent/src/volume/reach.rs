//! Paths of the host that volumes name, looked at where a file system that never answers holds up nobody else. What does
//! not answer is not handed to the runtime either: each try of its would leave it one more process that hangs.

use std::collections::BTreeMap;
use std::path::Path;

use futures::future::join_all;

use crate::disk::apart::{Apart, ApartError};
use crate::pod::act::Actor;
use crate::pod::job::Failure;
use crate::pod::prepare::{Instance, REASON};
use crate::volume::host_path;
use crate::volume::plan::{HostPath, Kind, Volume};
use crate::volume::sub_path::volume_of;

/// Looks whether the paths of the host are what the spec expects, all at once; what is wrong with them, by the volume's
/// number.
pub(super) async fn check(apart: &Apart, volumes: &[Volume]) -> BTreeMap<usize, String> {
    let checks = volumes.iter().enumerate().filter_map(|(index, volume)| match &volume.kind {
        Kind::HostPath(wanted) => Some(async move { (index, check_one(apart, wanted).await) }),
        Kind::Rendered(_) | Kind::EmptyDir(_) | Kind::Image { .. } => None,
    });
    let results = join_all(checks).await;
    results.into_iter().filter_map(|(index, result)| Some((index, result.err()?))).collect()
}

async fn check_one(apart: &Apart, wanted: &HostPath) -> Result<(), String> {
    let of_disk = wanted.clone();
    let checked = apart.on(&wanted.path, move |disk| host_path::check(disk, &of_disk)).await;
    checked.unwrap_or_else(|error| Err(error.to_string()))?;
    // Nothing is expected of the path, and nothing was looked at.
    answers(apart, &wanted.path).await.map_err(|error| error.to_string())
}

/// Whether the file system of a path says anything at all about it.
async fn answers(apart: &Apart, path: &Path) -> Result<(), ApartError> {
    let of_disk = path.to_owned();
    apart.on(path, move |disk| drop(disk.kind(&of_disk))).await
}

/// Fails if a path of the host that the container mounts is on a file system that does not answer just now.
pub(crate) async fn until_answered(actor: &Actor, instance: Instance<'_>) -> Result<(), Failure> {
    for mount in instance.container.volume_mounts.iter().flatten() {
        let Some(Volume { kind: Kind::HostPath(host), .. }) = volume_of(instance, mount) else { continue };
        let answered = answers(actor.volumes.apart(), &host.path).await;
        answered.map_err(|error| Failure::plain(REASON, format!("volume {:?}: {error}", mount.name)))?;
    }
    Ok(())
}
