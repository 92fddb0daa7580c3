//! TokenRequest: POST on `serviceaccounts/NAME/token`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::kinds::{Kind, Target};
use super::super::reading::{number, text};
use super::super::state::{State, Token};
use super::super::status::Failure;
use super::super::store::Key;
use super::super::wall::later;
use super::{Reply, held};

/// Seconds; upstream's default and least lifetime.
const DEFAULT: i64 = 3_600;
const LEAST: i64 = 600;
/// The audience of tokens that ask for none.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub fn create(state: &mut State, target: &Target, mut body: Value) -> Result<Reply, Failure> {
    let mut account = target.clone();
    account.sub = None;
    let account = held(state, &account)?;
    let (asked, held) = (text(&body, "/metadata/uid"), text(&account, "/metadata/uid"));
    if !asked.is_empty() && asked != held {
        let cause = format!(
            "the UID in the token request ({asked}) does not match the UID of the service account ({held})"
        );
        return Err(Failure::delete_conflict(Kind::named("serviceaccounts"), target.name(), &cause));
    }
    let mut lifetime = number(&body, "/spec/expirationSeconds").unwrap_or(DEFAULT);
    if lifetime < LEAST {
        let text =
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: ";
        return Err(Failure::new(
            422,
            "Invalid",
            format!("{text}{lifetime}: may not specify a duration less than 10 minutes"),
        ));
    }
    let pod = bound_pod(state, target, &body)?;
    lifetime = lifetime.min(state.longest_token.unwrap_or(i64::MAX));
    let audiences = audiences(&body);
    let wall = state.wall.now();
    let claims = json!({
        "iss": ISSUER, "aud": audiences, "iat": wall.as_second(), "nbf": wall.as_second(), "exp": wall.as_second() + lifetime,
        "jti": state.next_uid(), "sub": format!("system:serviceaccount:{}:{}", target.namespace(), target.name()),
        "kubernetes.io": {
            "namespace": target.namespace(),
            "serviceaccount": { "name": target.name(), "uid": text(&account, "/metadata/uid") },
            "pod": pod.as_ref().map(|(name, uid)| json!({ "name": name, "uid": uid })),
        },
    });
    let token = format!(
        "{}.{}.{}",
        part(&json!({ "alg": "RS256", "kid": "fake" })),
        part(&claims),
        URL_SAFE_NO_PAD.encode("signature")
    );
    state.tokens.push(Token {
        at: Instant::now(),
        namespace: target.namespace().to_owned(),
        account: target.name().to_owned(),
        pod,
        audiences: audiences.clone(),
        lifetime,
        token: token.clone(),
    });
    let expires = later(wall, Duration::from_secs(u64::try_from(lifetime).unwrap_or_default()));
    body["apiVersion"] = json!("authentication.k8s.io/v1");
    body["kind"] = json!("TokenRequest");
    body["metadata"] =
        json!({ "name": target.name(), "namespace": target.namespace(), "creationTimestamp": state.now() });
    body["spec"]["audiences"] = json!(audiences);
    body["spec"]["expirationSeconds"] = json!(lifetime);
    body["status"] = json!({ "token": token, "expirationTimestamp": expires });
    Ok(Reply::Object(201, Arc::new(body)))
}

/// Name and UID of the pod that the token is bound to.
fn bound_pod(state: &State, target: &Target, body: &Value) -> Result<Option<(String, String)>, Failure> {
    let bound = &body["spec"]["boundObjectRef"];
    if !bound.is_object() {
        return Ok(None);
    }
    let (kind, name, uid) = (text(bound, "/kind"), text(bound, "/name"), text(bound, "/uid"));
    if kind != "Pod" {
        return Err(Failure::bad_request(format!(
            "cannot bind token to object of type /{}, Kind={kind}",
            text(bound, "/apiVersion")
        )));
    }
    let pods = Kind::named("pods");
    let pod = state
        .store
        .get(&Key::new(pods, target.namespace(), name))
        .ok_or_else(|| Failure::not_found(pods, name))?;
    if text(pod, "/spec/serviceAccountName") != target.name() {
        let text = format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            target.name()
        );
        return Err(Failure::bad_request(text));
    }
    let held = text(pod, "/metadata/uid");
    if !uid.is_empty() && uid != held {
        let cause = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Failure::delete_conflict(pods, name, &cause));
    }
    Ok(Some((name.to_owned(), held.to_owned())))
}

fn audiences(body: &Value) -> Vec<String> {
    let given = body["spec"]["audiences"].as_array().into_iter().flatten();
    let given: Vec<String> = given.filter_map(Value::as_str).map(str::to_owned).collect();
    if given.is_empty() { vec![ISSUER.to_owned()] } else { given }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
