//! What each verb does to the store.

mod create;
mod delete;
mod list;
mod patch;
mod token;
mod update;
mod watch;

use std::sync::Arc;

use serde_json::Value;

use super::faults::Fault;
use super::kinds::Target;
use super::query::Asked;
use super::requests::Verb;
use super::state::State;
use super::status::Failure;
use super::store::{Key, Object};
use super::watch_stream::Start;

/// A request that reached the server.
pub struct Call<'a> {
    pub verb: Verb,
    pub target: &'a Target,
    pub asked: &'a Asked,
    /// Content-Type.
    pub content: &'a str,
    /// Null when there is none.
    pub body: Value,
    pub faults: &'a [Fault],
}

/// What the server says.
#[derive(Debug)]
pub enum Reply {
    /// HTTP status and body.
    Object(u16, Object),
    Watch(Box<Start>),
}

impl Reply {
    pub fn ok(object: Object) -> Result<Self, Failure> {
        Ok(Self::Object(200, object))
    }
}

pub fn run(state: &mut State, call: Call<'_>) -> Result<Reply, Failure> {
    let has_body = matches!(call.verb, Verb::Create | Verb::Update | Verb::Patch);
    if has_body && !call.body.is_object() {
        return Err(Failure::bad_request("the body of the request is not a JSON object"));
    }
    match call.verb {
        Verb::Get => get(state, call.target),
        Verb::List => list::list(state, &call),
        Verb::Watch => watch::watch(state, &call),
        Verb::Create if call.target.sub() == "token" => token::create(state, call.target, call.body),
        Verb::Create => create::create(state, call.target, call.body),
        Verb::Update => update::put(state, call.target, call.body),
        Verb::Patch => patch::patch(state, &call),
        Verb::Delete => delete::delete(state, &call),
        Verb::DeleteCollection => delete::delete_all(state, &call),
    }
}

fn get(state: &State, target: &Target) -> Result<Reply, Failure> {
    Reply::ok(held(state, target)?)
}

/// The object that a request names.
fn held(state: &State, target: &Target) -> Result<Object, Failure> {
    let found = state.store.get(&Key::of(target)).map(Arc::clone);
    found.ok_or_else(|| Failure::not_found(target.kind, target.name()))
}

pub use update::commit;
