//! What tests do to the cluster behind the server's back, and what they ask of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::FakeApi;
use super::kinds::{Kind, Target};
use super::query::Asked;
use super::reading::{metadata, text};
use super::requests::{Request, Verb};
use super::state::Token;
use super::status::Failure;
use super::store::{Change, Key};
use super::verbs::{self, Call, Reply};

impl FakeApi {
    /// Creates an object by its own apiVersion and kind, its namespace too when it is missing.
    /// Gives it back as stored.
    pub fn create(&self, mut object: Value) -> Value {
        let kind = Kind::of(text(&object, "/apiVersion"), text(&object, "/kind"));
        let kind = kind.unwrap_or_else(|| panic!("the fake API server knows no {object}"));
        let namespace = namespace_of(kind, &mut object);
        let target = Target { kind, namespace: namespace.clone(), name: None, sub: None };
        if let Some(namespace) = namespace {
            let mut state = self.lock();
            if state.store.get(&Key::new(Kind::named("namespaces"), "", &namespace)).is_none() {
                state.add_namespace(&namespace);
            }
        }
        self.call(Verb::Create, &target, object).unwrap_or_else(|failure| panic!("{}", failure.message))
    }

    /// An object by the plural name of its resource; namespace is ignored where there is none.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key::new(Kind::named(resource), namespace, name);
        Some((**self.lock().store.get(&key)?).clone())
    }

    /// All objects of a resource.
    pub fn list(&self, resource: &str) -> Vec<Value> {
        let objects = self.lock().store.all(Kind::named(resource), None);
        objects.into_iter().map(|(_, object)| (*object).clone()).collect()
    }

    /// As `kubectl delete`: graceful for pods. None: there is no such object.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.call(Verb::Delete, &target(resource, namespace, name), Value::Null).ok()
    }

    /// As `kubectl delete --grace-period`, in seconds.
    pub fn delete_within(&self, resource: &str, namespace: &str, name: &str, grace: i64) -> Option<Value> {
        self.call(Verb::Delete, &target(resource, namespace, name), json!({ "gracePeriodSeconds": grace }))
            .ok()
    }

    /// As `kubectl delete --force`.
    pub fn force_delete(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.delete_within(resource, namespace, name, 0)
    }

    /// Changes an object in any way at all, status and spec, without validation; a changed spec of a pod counts in
    /// its generation.
    pub fn update(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Value {
        let kind = Kind::named(resource);
        let key = Key::new(kind, namespace, name);
        let mut state = self.lock();
        let old = state.store.get(&key).cloned();
        let old = old.unwrap_or_else(|| panic!("{resource} {namespace}/{name} is not there"));
        let mut new = (*old).clone();
        change(&mut new);
        if kind.generation && new["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
            metadata(&mut new).insert("generation".to_owned(), json!(generation));
        }
        let stored = state.put(key, new);
        drop(state);
        self.wake();
        (*stored).clone()
    }

    fn call(&self, verb: Verb, target: &Target, body: Value) -> Result<Value, Failure> {
        let asked = Asked::default();
        let call = Call { verb, target, asked: &asked, content: "", body, faults: &[] };
        let reply = verbs::run(&mut self.lock(), call);
        self.wake();
        match reply? {
            Reply::Object(_, object) => Ok((*object).clone()),
            Reply::Watch(_) => Ok(Value::Null),
        }
    }

    /// New pods get the token volume from now on, as ServiceAccount admission adds it.
    pub fn admit_service_accounts(&self) {
        self.lock().token_volumes = true;
    }

    /// Nodes may ask tokens for this audience, as a role with `request-serviceaccounts-token-audience` allows.
    pub fn allow_audience(&self, audience: &str) {
        self.lock().audiences.insert(audience.to_owned());
    }

    /// Tokens live no longer than so many seconds, whatever is asked for.
    pub fn cap_tokens(&self, seconds: i64) {
        self.lock().longest_token = Some(seconds);
    }

    /// As with an etcd older than 3.4.25: sendInitialEvents gets an ERROR event.
    pub fn without_streamed_lists(&self) {
        self.lock().streamed_lists = false;
    }

    /// Idle watches get a bookmark this often.
    pub fn bookmark_every(&self, period: Duration) {
        self.lock().bookmark_period = period;
    }

    /// Forgets every version before the newest: continue tokens and watches from before get 410.
    pub fn compact(&self) {
        let mut state = self.lock();
        state.store.skip();
        state.store.compact();
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.lock().store.version()
    }

    /// Every change of everything.
    pub fn changes(&self) -> Vec<Change> {
        self.lock().store.changes().to_vec()
    }

    /// Every version of the object with this UID, oldest first; the last may be its deletion.
    pub fn history(&self, uid: &str) -> Vec<Change> {
        let state = self.lock();
        let own = state.store.changes().iter().filter(|change| text(&change.object, "/metadata/uid") == uid);
        own.cloned().collect()
    }

    /// The statuses that condition `kind` of the object had, without repetitions: `["False", "True"]` is one
    /// transition. Absence is left out.
    pub fn transitions(&self, uid: &str, kind: &str) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        for change in self.history(uid) {
            let status = condition(&change.object, kind);
            if !status.is_empty() && seen.last().map(String::as_str) != Some(status) {
                seen.push(status.to_owned());
            }
        }
        seen
    }

    /// The whole log of requests.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// How many requests fit.
    pub fn count(&self, fits: impl Fn(&Request) -> bool) -> usize {
        self.lock().requests.iter().filter(|request| fits(request)).count()
    }

    /// How long the log is: where later requests begin.
    pub fn requests_so_far(&self) -> usize {
        self.lock().requests.len()
    }

    /// The most writes of one object that were under way at the same time; 0 when there was none.
    pub fn most_writes_at_once(&self, resource: &str) -> usize {
        let state = self.lock();
        let writes =
            state.requests.iter().filter(|request| request.is_write() && request.resource == resource);
        writes.map(|request| request.others + 1).max().unwrap_or_default()
    }

    /// How many writes of each object were tried, by `namespace/name`, those included that found nobody.
    pub fn writes_by_name(&self, resource: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in
            self.lock().requests.iter().filter(|request| request.is_write() && request.resource == resource)
        {
            *counts.entry(format!("{}/{}", request.namespace, request.name)).or_default() += 1;
        }
        counts
    }

    /// Every token given out.
    pub fn tokens(&self) -> Vec<Token> {
        self.lock().tokens.clone()
    }

    /// Waits until `done`, looking after each change; fails with `what` when it takes longer than `limit`.
    pub async fn watch_until(&self, what: &str, limit: Duration, mut done: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let deadline = Instant::now() + limit;
        while !done(self) {
            let waited = timeout_at(deadline, changed.changed()).await;
            assert!(waited.is_ok() || done(self), "not within {limit:?}: {what}\n{}", self.describe());
            if waited.is_err() {
                return;
            }
        }
    }

    /// The last requests and the state of pods and nodes, for the message of a failed test.
    pub fn describe(&self) -> String {
        let state = self.lock();
        let mut told = String::new();
        for request in state.requests.iter().rev().take(20).rev() {
            let (verb, path, sub) = (request.verb, &request.path, &request.sub);
            told +=
                &format!("{:?} {verb} {path} {sub} -> {:?} {}\n", request.at, request.status, request.body);
        }
        for plural in ["nodes", "pods"] {
            for (key, object) in state.store.all(Kind::named(plural), None) {
                told += &format!("{plural} {}/{}: {}\n", key.namespace, key.name, object["status"]);
            }
        }
        told
    }
}

/// The `status` of a condition, empty when it is not there.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind);
    found.map(|condition| text(condition, "/status")).unwrap_or_default()
}

fn target(resource: &str, namespace: &str, name: &str) -> Target {
    let kind = Kind::named(resource);
    let namespace = kind.namespaced.then(|| namespace.to_owned());
    Target { kind, namespace, name: Some(name.to_owned()), sub: None }
}

fn namespace_of(kind: &Kind, object: &mut Value) -> Option<String> {
    if !kind.namespaced {
        return None;
    }
    let said = text(object, "/metadata/namespace").to_owned();
    Some(if said.is_empty() { "default".to_owned() } else { said })
}
