//! Makes and deletes one mirror pod. Decides only what an answer means.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, Error};
use tokio::time::timeout;

use super::plan::{Mirror, as_mirror};
use crate::api::decoded::Decoded;
use crate::report::refusal::{is_namespace_terminating, pause, why};

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The mirror is in the API, made now or before.
    There(Mirror),
    /// The mirror of this UID is not in the API any more.
    Gone {
        uid: String,
    },
    /// Something keeps the mirror from being made that people have to put right.
    Prevented(String),
    /// The API server cannot do it now.
    Busy {
        why: String,
        pause: Option<Duration>,
    },
    Unreachable(String),
}

/// Makes a mirror, within `deadline`.
pub(super) async fn create(client: Client, mirror: Pod, deadline: Duration) -> Answer {
    bounded(deadline, async move {
        let api = api(client, &mirror);
        let wanted = Decoded(mirror);
        let made = api.create(&PostParams::default(), &wanted).await;
        let Decoded(mirror) = wanted;
        match made {
            Ok(Decoded(made)) => there(made, &mirror),
            Err(Error::Api(status)) if status.code == 409 => look(&api, &mirror).await,
            Err(error) => refused(&error),
        }
    })
    .await
}

/// Deletes the mirror of this UID at once, within `deadline`. Another pod of the same name is left alone.
pub(super) async fn delete(client: Client, name: String, uid: String, deadline: Duration) -> Answer {
    bounded(deadline, async move {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", &name));
        let api: Api<Decoded<Pod>> = Api::namespaced(client, namespace);
        let this = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(this),
            ..DeleteParams::default()
        };
        match api.delete(name, &params).await {
            Ok(_) => Answer::Gone { uid },
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Answer::Gone { uid },
            Err(error) => refused(&error),
        }
    })
    .await
}

async fn bounded(deadline: Duration, attempt: impl Future<Output = Answer>) -> Answer {
    let none = |_| Answer::Unreachable(format!("no answer within {} s", deadline.as_secs()));
    timeout(deadline, attempt).await.unwrap_or_else(none)
}

fn api(client: Client, pod: &Pod) -> Api<Decoded<Pod>> {
    Api::namespaced(client, pod.metadata.namespace.as_deref().unwrap_or("default"))
}

/// The name is taken: by our own mirror, which the watch does not show yet, or by another's pod.
async fn look(api: &Api<Decoded<Pod>>, wanted: &Pod) -> Answer {
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    match api.get_opt(name).await {
        Ok(Some(Decoded(found))) => there(found, wanted),
        Ok(None) => Answer::Busy { why: format!("pod {name} went away while it was looked at"), pause: None },
        // A node may only read pods that are bound to it.
        Err(Error::Api(status)) if status.code == 403 => taken(name),
        Err(error) => refused(&error),
    }
}

fn there(found: Pod, wanted: &Pod) -> Answer {
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    match as_mirror(&found).filter(|_| node(&found) == node(wanted)) {
        Some(mirror) => Answer::There(mirror),
        None => taken(wanted.metadata.name.as_deref().unwrap_or_default()),
    }
}

fn taken(name: &str) -> Answer {
    let why = format!(
        "a pod named {name} that mirrors no static pod of this node is in the API; delete or rename it"
    );
    Answer::Prevented(why)
}

fn refused(error: &Error) -> Answer {
    let why = why(error);
    let Error::Api(status) = error else { return Answer::Unreachable(why) };
    match status.code {
        // NodeRestriction looks the node up in a cache of its own, which may lag behind its registration.
        404 if kind(status) == Some("nodes") => Answer::Busy { why, pause: None },
        404 => Answer::Prevented(format!("{why}; make the namespace")),
        403 if is_namespace_terminating(status) => Answer::Prevented(why),
        401 | 408 | 409 | 429 | 500.. => Answer::Busy { why, pause: pause(status) },
        _ => Answer::Prevented(why),
    }
}

fn kind(status: &Status) -> Option<&str> {
    status.details.as_ref().map(|details| details.kind.as_str())
}
