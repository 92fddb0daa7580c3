//! One write of a pod to the API server, and what its answer means. Owns nothing; each call ends within its deadline.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::patch;
use crate::api::decoded::Decoded;
use crate::api::fault::meaning;
use crate::api::patience::CALL;
use crate::chain::Chain;
use crate::excerpt::excerpt;

/// Largest answer: twice the largest object that etcd takes, with room for what JSON adds.
const MOST_BYTES: usize = 8 << 20;
/// Most of an error's body that a log line holds.
const MOST_DETAIL: usize = 512;
/// What `Retry-After` means where it is no number of seconds.
const UNNAMED_PATIENCE: Duration = Duration::from_secs(1);

/// How the Node authorizer refuses a node an object that it does not know to be this node's: of a pod that was bound
/// or deleted a moment ago, before its graph or our watch has it.
const UNRELATED: &str = "no relationship found";
/// The kind of such a refusal, which is nothing to warn of.
pub(super) const LAG: &str = "lag";

/// What came of a write.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// It is in, and this is the object now.
    Written(Arc<Pod>),
    /// The deletion is ordered.
    Deleted,
    /// The API server refused for what the object is; this is the object now.
    Refetched(Arc<Pod>),
    /// There is no such object any more, or another has its name.
    Gone,
    /// The API server asked for patience.
    Asked(Duration, Cause),
    /// It may not be in.
    Failed(Cause),
}

/// Why a write failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    /// The kind, by which log lines are held back.
    pub(super) kind: String,
    /// The whole story.
    pub(super) detail: String,
}

impl Cause {
    fn new(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into() }
    }
}

/// Writes a difference of the status.
pub(super) async fn status(client: Client, object: Arc<Pod>, difference: Value) -> Answer {
    let body = patch::body(uid(&object), &difference);
    let answer = ask(&client, &object, Ask::Patch(&body)).await;
    match answer {
        Ok(pod) if pod.metadata.uid == object.metadata.uid => Answer::Written(Arc::new(pod)),
        Ok(_) => Answer::Gone,
        Err(refusal) => decide(&client, &object, refusal).await,
    }
}

/// Deletes the object for good.
pub(super) async fn delete(client: Client, object: Arc<Pod>) -> Answer {
    let body = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
        "preconditions": { "uid": uid(&object) },
    });
    match ask(&client, &object, Ask::Delete(&body)).await {
        Ok(_) => Answer::Deleted,
        Err(refusal) => decide(&client, &object, refusal).await,
    }
}

fn uid(object: &Pod) -> &str {
    object.metadata.uid.as_deref().unwrap_or_default()
}

#[derive(Debug, Clone, Copy)]
enum Ask<'a> {
    Get,
    Patch(&'a Value),
    Delete(&'a Value),
}

#[derive(Debug)]
enum Refusal {
    /// 404 or 409: the object is not what we think.
    Stale,
    Asked(Duration, Cause),
    Failed(Cause),
}

/// What is thought of the object is read anew once, and only when it proved wrong.
async fn decide(client: &Client, object: &Pod, refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Stale => {}
        Refusal::Asked(patience, cause) => return Answer::Asked(patience, cause),
        Refusal::Failed(cause) => return Answer::Failed(cause),
    }
    match ask(client, object, Ask::Get).await {
        Ok(pod) if pod.metadata.uid == object.metadata.uid => Answer::Refetched(Arc::new(pod)),
        Ok(_) | Err(Refusal::Stale) => Answer::Gone,
        Err(Refusal::Asked(patience, cause)) => Answer::Asked(patience, cause),
        Err(Refusal::Failed(cause)) => Answer::Failed(cause),
    }
}

fn request(object: &Pod, ask: Ask<'_>) -> Result<Request<Body>, http::Error> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let bytes = |value: &Value| Body::from(value.to_string().into_bytes());
    let (method, path, kind, body) = match ask {
        Ask::Get => (Method::GET, path, "application/json", Body::empty()),
        Ask::Patch(patch) => {
            (Method::PATCH, format!("{path}/status"), "application/strategic-merge-patch+json", bytes(patch))
        }
        Ask::Delete(options) => (Method::DELETE, path, "application/json", bytes(options)),
    };
    let request = Request::builder().method(method).uri(path);
    request.header(header::ACCEPT, "application/json").header(header::CONTENT_TYPE, kind).body(body)
}

async fn ask(client: &Client, object: &Pod, ask: Ask<'_>) -> Result<Pod, Refusal> {
    let request = request(object, ask)
        .map_err(|error| Refusal::Failed(Cause::new("no request", Chain(&error).to_string())))?;
    let (status, patience, body) = tokio::time::timeout(CALL, exchange(client, request))
        .await
        .map_err(|_| {
            let seconds = CALL.as_secs();
            Refusal::Failed(Cause::new("no answer", format!("no answer within {seconds} s")))
        })?
        .map_err(|detail| Refusal::Failed(Cause::new("no connection", detail)))?;
    if status.is_success() {
        return read(ask, &body);
    }
    let cause = Cause::new(status.as_str(), format!("{status}: {}", said(&body)));
    match (status, patience) {
        (StatusCode::NOT_FOUND | StatusCode::CONFLICT, _) => Err(Refusal::Stale),
        // How a status with another object's UID is refused: the object of that name is another one by now.
        (StatusCode::UNPROCESSABLE_ENTITY, _) if cause.detail.contains("metadata.uid") => Err(Refusal::Stale),
        (StatusCode::FORBIDDEN, None) if cause.detail.contains(UNRELATED) => {
            Err(Refusal::Failed(Cause { kind: LAG.to_owned(), ..cause }))
        }
        (StatusCode::TOO_MANY_REQUESTS, None) => Err(Refusal::Asked(UNNAMED_PATIENCE, cause)),
        (_, Some(patience)) => Err(Refusal::Asked(patience, cause)),
        (_, None) => Err(Refusal::Failed(cause)),
    }
}

async fn exchange(
    client: &Client,
    request: Request<Body>,
) -> Result<(StatusCode, Option<Duration>, Vec<u8>), String> {
    let response = client.send(request).await.map_err(|error| meaning(&error))?;
    let status = response.status();
    let patience = response.headers().get(header::RETRY_AFTER).map(|value| {
        let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        seconds.map_or(UNNAMED_PATIENCE, Duration::from_secs)
    });
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|error| Chain(error.as_ref()).to_string())?;
    Ok((status, patience, body.to_bytes().to_vec()))
}

/// The answer to a deletion may be the object or a mere status.
fn read(ask: Ask<'_>, body: &[u8]) -> Result<Pod, Refusal> {
    if matches!(ask, Ask::Delete(_)) {
        return Ok(Pod::default());
    }
    serde_json::from_slice::<Decoded<Pod>>(body)
        .map(|Decoded(pod)| pod)
        .map_err(|error| Refusal::Failed(Cause::new("unreadable", Chain(&error).to_string())))
}

/// The message of an API error.
fn said(body: &[u8]) -> String {
    let status: Option<Value> = serde_json::from_slice(body).ok();
    let message = status.as_ref().and_then(|status| status.get("message")).and_then(Value::as_str);
    let text = message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), ToOwned::to_owned);
    excerpt(&text, MOST_DETAIL)
}
