//! One request, answered: who calls, what is meant, whether it is allowed, and then the handler.
//!
//! The order is fixed. A caller whom nobody knows is told nothing but 401, one who may not nothing but 403; only then
//! is it said whether the path is plain (400), whether there is one (404) and such a method (405).

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{StatusCode, Uri};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use super::container_logs;
use super::identity::{Access, Caller, Verdict};
use super::log_query;
use super::routes::{Handler, Route, find, is_plain};
use crate::clock::Clock;
use crate::server::views::Views;

/// An answer.
pub(super) type Reply = http::Response<Body>;

/// The pods of this node as the API has them.
pub trait Pods: Send + Sync + 'static {
    /// Every pod that should be here, whole. Answers from memory.
    fn pods(&self) -> Vec<Pod>;
}

/// What answers are made from.
pub(super) struct Context {
    pub(super) views: Arc<dyn Views>,
    pub(super) pods: Arc<dyn Pods>,
    /// The body of `/configz`.
    pub(super) configz: Bytes,
    /// Logs are beneath it.
    pub(super) log_root: PathBuf,
    pub(super) access: Access,
    /// Whether exec, logs and the like are served.
    pub(super) debugging: bool,
    pub(super) clock: Clock,
    /// Ends logs that are followed.
    pub(super) stop: CancellationToken,
}

/// Through which door a request comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// HTTPS, with the caller if a verified certificate names one.
    Https(Option<Caller>),
    /// The read-only port of this machine.
    ReadOnly,
}

impl Context {
    /// Answers a request. Its body is not looked at: nothing here takes one.
    pub(super) async fn answer(&self, door: Door, request: &http::request::Parts) -> Reply {
        let verdict = match &door {
            Door::Https(caller) => self.access.verdict(caller.as_ref()),
            Door::ReadOnly => Verdict::Allowed,
        };
        if verdict == Verdict::Unknown {
            let mut reply = text(StatusCode::UNAUTHORIZED, "Unauthorized");
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return reply;
        }
        let path = request.uri.path();
        if verdict == Verdict::Forbidden {
            return text(StatusCode::FORBIDDEN, forbidden(&door, path));
        }
        if !is_plain(path) {
            return text(StatusCode::BAD_REQUEST, "the path can be read in more than one way");
        }
        let is_open = |route: &Route| door != Door::ReadOnly || route.read_only;
        let Some((route, names)) = find(path).filter(|(route, _)| is_open(route)) else {
            return text(StatusCode::NOT_FOUND, "404 page not found");
        };
        if route.debugging && !self.debugging {
            return text(StatusCode::METHOD_NOT_ALLOWED, "Debug endpoints are disabled.");
        }
        if !route.methods.contains(&request.method) {
            return not_allowed(route);
        }
        self.handle(route.handler, &names, &request.uri).await
    }

    async fn handle(&self, handler: Handler, names: &[&str], uri: &Uri) -> Reply {
        match (handler, names) {
            (Handler::Health, _) => match self.views.health() {
                Ok(()) => text(StatusCode::OK, "ok"),
                Err(reason) => text(StatusCode::INTERNAL_SERVER_ERROR, reason),
            },
            (Handler::Pods, _) => self.pods(),
            (Handler::Configz, _) => json(self.configz.clone()),
            (Handler::ContainerLogs, &[namespace, pod, container]) => {
                let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
                let pairs = pairs.map(|Query(pairs)| pairs).unwrap_or_default();
                match log_query::read(&pairs, self.clock.now().wall) {
                    Ok(query) => container_logs::answer(self, [namespace, pod, container], query).await,
                    Err((code, reason)) => text(code, reason),
                }
            }
            (Handler::ContainerLogs, _) => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    fn pods(&self) -> Reply {
        let mut pods = self.pods.pods();
        let key =
            |pod: &Pod| (pod.metadata.namespace.clone(), pod.metadata.name.clone(), pod.metadata.uid.clone());
        pods.sort_by_cached_key(key);
        match serde_json::to_vec(&List { items: pods, ..List::default() }) {
            Ok(body) => json(body.into()),
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to encode the pods: {error}"))
            }
        }
    }
}

/// The kubelet's words, less the verb: it is refused whatever it is.
fn forbidden(door: &Door, path: &str) -> String {
    let user = match door {
        Door::Https(Some(caller)) => caller.user.as_str(),
        _ => "system:anonymous",
    };
    let asked = find(path).and_then(|(route, _)| route.subresources.first()).unwrap_or(&"proxy");
    format!("Forbidden (user={user}, resource=nodes, subresource={asked})")
}

fn not_allowed(route: &Route) -> Reply {
    let methods = route.methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        reply.headers_mut().insert(ALLOW, methods);
    }
    reply
}

/// An answer for people.
pub(super) fn text(code: StatusCode, body: impl Into<String>) -> Reply {
    plain(code, Body::from(body.into()))
}

/// A text, and not to be taken for anything else: what a container writes may look like a page.
pub(super) fn plain(code: StatusCode, body: Body) -> Reply {
    let mut reply = with(code, "text/plain; charset=utf-8", body);
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

fn json(body: Bytes) -> Reply {
    with(StatusCode::OK, "application/json", Body::from(body))
}

fn with(code: StatusCode, kind: &'static str, body: Body) -> Reply {
    let mut reply = Reply::new(body);
    *reply.status_mut() = code;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
