//! Gathers what a container's environment is made from: objects, Services, addresses. All of the waiting for them is
//! here.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Container;

use super::file::{self, Files};
use super::{Environment, Fetched, Sources, assemble, references, services};
use crate::objects::told;
use crate::pod::act::Actor;
use crate::pod::field::Facts;
use crate::pod::job::Failure;
use crate::pod::mounts;
use crate::pod::prepare::{Instance, REASON};
use crate::pod::surroundings::Surroundings;
use crate::source::desired::{DesiredPod, Origin};
use crate::volume::plan::{self, Kind};

/// Most bytes of a file of variables: as many as a ConfigMap may have, since a container of the pod has written it.
const FILE: u64 = 1 << 20;

/// What the kubelet says of a pod that came before the list of Services.
const NO_SERVICES: &str = "services have not yet been read at least once, cannot construct envvars";

/// The environment of an instance.
pub(crate) async fn environment(
    actor: &Actor,
    instance: Instance<'_>,
    around: &Surroundings,
) -> Result<Environment, Failure> {
    let Instance { pod, spec, container, .. } = instance;
    let facts = Facts { pod, pod_ips: &around.pod_ips, host_ips: &around.place.ips };
    let failed = |message: String| Failure::of_objects(REASON, message);
    let (objects, files, services) =
        tokio::join!(objects(actor, container, facts), files(actor, instance), of_services(actor, pod));
    let services = services.map_err(failed)?;
    let sources = Sources {
        facts,
        spec,
        allocatable: &around.place.room,
        objects: &objects,
        files: &files,
        services: &services,
    };
    let (environment, complaints) =
        assemble(container, sources).map_err(|error| failed(error.to_string()))?;
    for message in complaints {
        let (object, wall) = (pod.object(), actor.clock.now().wall);
        actor.events.warning(object, "InvalidEnvironmentVariableNames", &message, wall);
    }
    Ok(environment)
}

async fn objects(actor: &Actor, container: &Container, facts: Facts<'_>) -> Fetched {
    let fetch = |reference| async {
        let found = actor.objects.get(&reference).await;
        (reference, found.map_err(|error| told(&error)))
    };
    join_all(references(container, facts).into_iter().map(fetch)).await.into_iter().collect()
}

/// The files as they are now: what changes in them afterwards the instance does not see.
async fn files(actor: &Actor, instance: Instance<'_>) -> Files {
    let read = |(volume, path): file::File| async move {
        let found = read(actor, instance, &volume, path.clone()).await;
        ((volume, path), found)
    };
    join_all(file::wanted(instance.container).into_iter().map(read)).await.into_iter().collect()
}

/// Only a directory that begins empty is read from, as the API has it. Where it lies is no matter of the pod's.
async fn read(
    actor: &Actor,
    instance: Instance<'_>,
    name: &str,
    path: String,
) -> Result<Option<Vec<u8>>, String> {
    let mut volumes = instance.spec.volumes.iter().flatten();
    let volume = volumes.find(|volume| volume.name == name);
    let volume = volume.and_then(|volume| plan::of_spec(volume, instance.spec));
    let volume = volume.filter(|volume| matches!(volume.kind, Kind::EmptyDir(_)));
    let place = volume.and_then(|volume| mounts::place(&volume, &instance.pod.uid, &actor.dirs));
    let place = place.ok_or_else(|| file::no_volume(name))?;
    let told = format!("couldn't parse env file: failed to read {path:?} of volume {name:?}");
    let read = actor.on_disk(REASON, move |disk| disk.read_beneath(&place, path.as_ref(), FILE)).await;
    read.map_err(|failure| format!("{told}: {}", failure.message))
}

/// A pod of the API waits until the Services were listed once. A static one does not: the API server that they come
/// from may be what it runs.
async fn of_services(actor: &Actor, pod: &DesiredPod) -> Result<BTreeMap<String, String>, String> {
    let links = pod.pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let is_static = matches!(pod.origin, Origin::File(_));
    let mut all = Vec::new();
    for namespace in namespaces(&pod.namespace, links) {
        let listing = actor.objects.services(namespace);
        let listed = if is_static { listing.now_or_never().and_then(Result::ok) } else { listing.await.ok() };
        match listed {
            Some(listed) => all.extend(listed.iter().cloned()),
            None if is_static => {}
            None => return Err(NO_SERVICES.to_owned()),
        }
    }
    Ok(services::variables(&all, &pod.namespace, links))
}

/// Namespaces whose Services a container may be told of. The API server's own is always.
fn namespaces(own: &str, links: bool) -> impl Iterator<Item = &str> {
    let own = (links && own != services::API_SERVER.0).then_some(own);
    std::iter::once(services::API_SERVER.0).chain(own)
}
