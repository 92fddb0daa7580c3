//! An API server of a few lines: one ConfigMap, tokens, and what else a test puts there.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Value, json};

use super::super::*;
use crate::volume::token::tests::jwt;

/// What the API server holds and how it behaves.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ca: Option<&'static str>,
    /// Answers of the token call: refused with this message.
    pub(super) refused: Option<&'static str>,
    pub(super) hangs: bool,
    /// So many further requests are forbidden.
    pub(super) forbidden: usize,
    /// For so many further tokens the pod is not there yet.
    pub(super) pod_unknown: usize,
    pub(super) requests: Vec<(String, Value)>,
    pub(super) tokens: usize,
    /// Further objects, by path.
    pub(super) objects: BTreeMap<&'static str, Value>,
}

impl Default for State {
    fn default() -> Self {
        let (requests, objects) = (Vec::new(), BTreeMap::new());
        Self {
            ca: Some("CA"),
            refused: None,
            hangs: false,
            forbidden: 0,
            pod_unknown: 0,
            requests,
            tokens: 0,
            objects,
        }
    }
}

impl Server {
    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub(super) fn tokens(&self) -> usize {
        self.state.lock().unwrap().tokens
    }

    pub(super) fn calls(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    pub(super) async fn answer(&self, clock: &Clock, request: Request<Body>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let path = parts.uri.path().to_owned();
        let hangs = {
            let mut state = self.state.lock().unwrap();
            state.requests.push((path.clone(), body.clone()));
            state.hangs
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut state = self.state.lock().unwrap();
        if let Some(left) = state.forbidden.checked_sub(1) {
            state.forbidden = left;
            return refused(403, "Forbidden", "no relationship found between node 'n' and this object");
        }
        match (parts.method, path.as_str()) {
            (Method::GET, "/api/v1/namespaces/ns/configmaps/kube-root-ca.crt") => match state.ca {
                Some(ca) => ok(&json!({ "metadata": {}, "data": { "ca.crt": ca } })),
                None => refused(404, "NotFound", "configmaps \"kube-root-ca.crt\" not found"),
            },
            (Method::POST, "/api/v1/namespaces/ns/serviceaccounts/default/token") => match state.refused {
                Some(why) => refused(500, "InternalError", why),
                None if state.pod_unknown > 0 => {
                    state.pod_unknown -= 1;
                    let details = json!({ "name": "web", "kind": "pods" });
                    refused_with(404, "NotFound", "pods \"web\" not found", &details)
                }
                None => {
                    state.tokens += 1;
                    let now = clock.now().wall.as_second();
                    let token = String::from_utf8(jwt(now, now + 3607).bytes().to_vec()).unwrap();
                    ok(&json!({ "metadata": {}, "spec": { "audiences": [], "expirationSeconds": 3607 },
                        "status": { "token": format!("{token}-{}", state.tokens), "expirationTimestamp": null } }))
                }
            },
            (Method::GET, path) if path.contains("/ns/secrets/") || path.contains("/ns/configmaps/") => {
                let found = state.objects.get(path);
                found.map_or_else(|| refused(404, "NotFound", "not found"), ok)
            }
            (method, path) => refused(403, "Forbidden", &format!("{method} {path}")),
        }
    }
}

pub(super) fn ok(value: &Value) -> Response<Full<Bytes>> {
    Response::new(Full::new(value.to_string().into()))
}

pub(super) fn refused(code: u16, reason: &str, message: &str) -> Response<Full<Bytes>> {
    refused_with(code, reason, message, &json!({}))
}

pub(super) fn refused_with(code: u16, reason: &str, message: &str, details: &Value) -> Response<Full<Bytes>> {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "reason": reason, "message": message, "code": code, "details": details });
    let mut response = ok(&status);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
