//! One request from its bytes to its answer: parse, log, network and faults, the verb, the answer.

use std::future::pending;
use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::FakeApi;
use super::faults::Fault;
use super::identity::Identity;
use super::kinds::Target;
use super::network;
use super::node_rules;
use super::query::Asked;
use super::requests::{Open, Verb};
use super::status::Failure;
use super::store::Object;
use super::verbs::{self, Call, Reply};
use super::watch_stream;

/// Answers a request, or fails as a connection fails.
pub async fn answer<B>(api: FakeApi, identity: Identity, request: Request<B>) -> io::Result<Response<Body>>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|error| io::Error::other(error.to_string()))?.to_bytes();
    let (verb, target, asked) = match understand(&parts) {
        Ok(understood) => understood,
        Err(failure) => {
            network::pass(&api).await?;
            return Ok(plain(&api, &parts, &failure));
        }
    };
    let parsed = serde_json::from_slice::<Value>(&bytes);
    let body = if bytes.is_empty() { Ok(Value::Null) } else { parsed };
    let open = Open::begin(&api, &identity, &parts, verb, &target, body.as_ref().unwrap_or(&Value::Null));
    // After the log: a test may want to count what was tried while nobody listened.
    network::pass(&api).await?;
    let faults = meet_faults(&api, &open);
    delay(&faults).await?;
    let outcome = match (refusal(&faults), body) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(Failure::bad_request(format!("the body is not JSON: {error}"))),
        (None, Ok(body)) => {
            let content = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let call = Call {
                verb,
                target: &target,
                asked: &asked,
                content: content.unwrap_or_default(),
                body,
                faults: &faults,
            };
            run(&api, &identity, call, &open)
        }
    };
    network::answer_passes(&open).await?;
    lost(&faults).await?;
    Ok(respond(&api, outcome, open, faults))
}

fn understand(parts: &http::request::Parts) -> Result<(Verb, Target, Asked), Failure> {
    let target = Target::parse(parts.uri.path()).ok_or_else(Failure::no_such_resource)?;
    let asked = Asked::parse(&parts.uri)?;
    let verb = Verb::of(&parts.method, &target, &asked).ok_or_else(Failure::no_such_resource)?;
    Ok((verb, target, asked))
}

fn meet_faults(api: &FakeApi, open: &Open) -> Vec<Fault> {
    let mut state = api.lock();
    let request = state.requests[open.id].clone();
    let now = Instant::now();
    state.rules.iter_mut().filter_map(|rule| rule.meets(&request, now)).collect()
}

/// What happens before the request reaches the server.
async fn delay(faults: &[Fault]) -> io::Result<()> {
    let wait: Duration = faults
        .iter()
        .map(|fault| if let Fault::Latency(time) = fault { *time } else { Duration::ZERO })
        .sum();
    if !wait.is_zero() {
        sleep(wait).await;
    }
    for fault in faults {
        match fault {
            Fault::BlackHole => pending().await,
            Fault::Refuse => {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refusal(faults: &[Fault]) -> Option<Failure> {
    faults
        .iter()
        .find_map(|fault| if let Fault::Fail(failure) = fault { Some(failure.clone()) } else { None })
}

async fn lost(faults: &[Fault]) -> io::Result<()> {
    for fault in faults {
        match fault {
            Fault::HoldReply => pending().await,
            Fault::LoseReply => return Err(network::reset()),
            _ => {}
        }
    }
    Ok(())
}

fn run(api: &FakeApi, identity: &Identity, call: Call<'_>, open: &Open) -> Result<Reply, Failure> {
    let mut state = api.lock();
    let before = state.store.version();
    node_rules::check(&state, identity, &call)?;
    let reply = verbs::run(&mut state, call);
    let changed = state.store.version() != before;
    state.requests[open.id].committed = changed;
    drop(state);
    if changed {
        api.wake();
    }
    reply
}

fn respond(api: &FakeApi, outcome: Result<Reply, Failure>, open: Open, faults: Vec<Fault>) -> Response<Body> {
    match outcome {
        Ok(Reply::Object(code, object)) => {
            open.answered(code);
            let body = if faults.iter().any(|fault| matches!(fault, Fault::CutReply)) {
                half(&object)
            } else {
                Body::from(object.to_string())
            };
            response(api, code, body)
        }
        Ok(Reply::Watch(start)) => {
            open.answered(200);
            response(api, 200, Body::from_stream(watch_stream::events(api.clone(), *start, open, faults)))
        }
        Err(failure) => {
            open.answered(failure.code);
            refused(api, &failure)
        }
    }
}

/// Half of the bytes, then an error.
fn half(object: &Object) -> Body {
    let text = object.to_string();
    let some = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    Body::from_stream(futures::stream::iter([Ok(some), Err(network::reset())]))
}

/// Paths that are no resources.
fn plain(api: &FakeApi, parts: &http::request::Parts, failure: &Failure) -> Response<Body> {
    match parts.uri.path() {
        "/version" => {
            let version = json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "clean",
                "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64" });
            response(api, 200, Body::from(version.to_string()))
        }
        "/healthz" | "/livez" | "/readyz" => response(api, 200, Body::from("ok")),
        _ => refused(api, failure),
    }
}

fn refused(api: &FakeApi, failure: &Failure) -> Response<Body> {
    let mut refused = response(api, failure.code, Body::from(failure.body().to_string()));
    if let Some(seconds) = failure.retry_after {
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    refused
}

fn response(api: &FakeApi, code: u16, body: Body) -> Response<Body> {
    let date = api.lock().wall.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    answer.header(header::DATE, date).body(body).unwrap()
}
