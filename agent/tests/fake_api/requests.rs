//! The log of requests, which tests count calls in.

use std::fmt;

use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::FakeApi;
use super::identity::Identity;
use super::kinds::Target;
use super::query::Asked;

/// What a request does, in the words of authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub fn of(method: &Method, target: &Target, asked: &Asked) -> Option<Self> {
        let named = target.name.is_some();
        Some(match *method {
            Method::GET if asked.watch => Self::Watch,
            Method::GET if named => Self::Get,
            Method::GET => Self::List,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE if named => Self::Delete,
            Method::DELETE => Self::DeleteCollection,
            _ => return None,
        })
    }

    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One request, or one attempt while nobody listened: that has no status and changed nothing.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    /// When the answer, or the end of the watch, was there; None while it is under way.
    pub ended: Option<Instant>,
    pub verb: Verb,
    /// Qualified plural: `pods`, `leases.coordination.k8s.io`.
    pub resource: String,
    pub namespace: String,
    /// Of a create, from the body.
    pub name: String,
    /// `status`, `token` or empty.
    pub sub: String,
    pub path: String,
    pub query: String,
    pub user: String,
    /// Of a write; Null else.
    pub body: Value,
    /// Content-Type of the body.
    pub content: String,
    /// None while under way, and when the client went away or got no answer.
    pub status: Option<u16>,
    /// The object was changed, whatever the client heard of it.
    pub committed: bool,
    /// How many other writes of the same object were under way when this one came.
    pub others: usize,
    /// What happens to this request at the next chance.
    pub(super) mark: Option<Mark>,
}

/// What befalls a request that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing is heard of it any more.
    Mute,
    /// The connection is reset.
    Reset,
    /// A watch gets half an event and then a reset.
    Cut,
    /// A watch is told that its version has expired.
    Expire,
    /// A watch ends in order, as after its timeout.
    End,
}

impl Request {
    /// Of the same object (a status is part of its object).
    pub fn same_object(&self, other: &Self) -> bool {
        (&self.resource, &self.namespace, &self.name) == (&other.resource, &other.namespace, &other.name)
    }

    pub fn is_write(&self) -> bool {
        self.verb.is_write()
    }
}

/// A request under way; dropping it writes its end into the log, also when the client went away.
pub struct Open {
    api: FakeApi,
    pub id: usize,
}

impl Open {
    pub fn begin(
        api: &FakeApi,
        identity: &Identity,
        parts: &http::request::Parts,
        verb: Verb,
        target: &Target,
        body: &Value,
    ) -> Self {
        let named = target.name.clone().or_else(|| body["metadata"]["name"].as_str().map(str::to_owned));
        let content = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut request = Request {
            at: Instant::now(),
            ended: None,
            verb,
            resource: target.kind.qualified(),
            namespace: target.namespace().to_owned(),
            name: named.unwrap_or_default(),
            sub: target.sub().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            user: identity.user(),
            body: if verb.is_write() { body.clone() } else { Value::Null },
            content: content.unwrap_or_default().to_owned(),
            status: None,
            committed: false,
            others: 0,
            mark: None,
        };
        let mut state = api.lock();
        let open =
            state.open.iter().filter_map(|id| state.requests.get(*id)).filter(|other| other.is_write());
        request.others = open.filter(|other| other.same_object(&request)).count();
        state.requests.push(request);
        let id = state.requests.len() - 1;
        state.open.insert(id);
        drop(state);
        Self { api: api.clone(), id }
    }

    pub fn with<R>(&self, change: impl FnOnce(&mut Request) -> R) -> R {
        change(&mut self.api.lock().requests[self.id])
    }

    pub fn mark(&self) -> Option<Mark> {
        self.with(|request| request.mark)
    }

    pub fn answered(&self, status: u16) {
        self.with(|request| request.status = Some(status));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.api.lock();
        state.open.remove(&self.id);
        state.requests[self.id].ended = Some(Instant::now());
    }
}
