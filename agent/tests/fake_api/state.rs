//! Everything the server holds, behind one lock.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::faults::Rule;
use super::kinds::Kind;
use super::network::Network;
use super::requests::{Mark, Request};
use super::store::{Key, Object, Store};
use super::wall::{Wall, seconds};

/// A token that was given out.
#[derive(Debug, Clone)]
pub struct Token {
    pub at: Instant,
    pub namespace: String,
    pub account: String,
    /// Name and UID of the pod it is bound to.
    pub pod: Option<(String, String)>,
    pub audiences: Vec<String>,
    /// Asked for, in seconds.
    pub lifetime: i64,
    pub token: String,
}

pub struct State {
    pub store: Store,
    pub wall: Wall,
    /// By request id.
    pub requests: Vec<Request>,
    /// Ids of the requests that are under way.
    pub open: BTreeSet<usize>,
    pub rules: Vec<Rule>,
    pub network: Network,
    pub tokens: Vec<Token>,
    /// Whether new pods get the token volume, as ServiceAccount admission does it.
    pub token_volumes: bool,
    /// How often an idle watch gets a bookmark. Upstream: about once a minute.
    pub bookmark_period: Duration,
    /// Whether the storage can do what streamed lists need.
    pub streamed_lists: bool,
    /// Audiences that nodes may ask tokens for besides those of volumes.
    pub audiences: BTreeSet<String>,
    /// Seconds; a cap on the lifetime of tokens.
    pub longest_token: Option<i64>,
    uids: u64,
}

impl State {
    pub fn new(wall: Timestamp) -> Self {
        let mut state = Self {
            store: Store::new(),
            wall: Wall::new(wall),
            requests: Vec::new(),
            open: BTreeSet::new(),
            rules: Vec::new(),
            network: Network::default(),
            tokens: Vec::new(),
            token_volumes: false,
            bookmark_period: Duration::from_secs(60),
            streamed_lists: true,
            audiences: BTreeSet::new(),
            longest_token: None,
            uids: 0,
        };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            state.add_namespace(name);
        }
        state
    }

    /// A whole namespace.
    pub fn add_namespace(&mut self, name: &str) {
        let metadata = json!({ "name": name, "labels": { "kubernetes.io/metadata.name": name } });
        let status = json!({ "phase": "Active" });
        self.add(
            "namespaces",
            "",
            json!({ "metadata": metadata, "spec": { "finalizers": ["kubernetes"] }, "status": status }),
        );
        self.fill_namespace(name);
    }

    /// What controllers put in a new namespace.
    pub fn fill_namespace(&mut self, name: &str) {
        self.add("serviceaccounts", name, json!({ "metadata": { "name": "default", "namespace": name } }));
        let root = json!({ "name": "kube-root-ca.crt", "namespace": name });
        self.add("configmaps", name, json!({ "metadata": root, "data": { "ca.crt": "a certificate\n" } }));
    }

    fn add(&mut self, plural: &str, namespace: &str, mut object: Value) {
        let kind = Kind::named(plural);
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        object["metadata"]["uid"] = json!(self.next_uid());
        object["metadata"]["creationTimestamp"] = json!(self.now());
        let key = Key::new(kind, namespace, object["metadata"]["name"].as_str().unwrap_or_default());
        self.put(key, object);
    }

    pub fn put(&mut self, key: Key, object: Value) -> Object {
        self.store.put(key, object, Instant::now())
    }

    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        self.store.remove(key, Instant::now())
    }

    /// Marks the requests that are under way and fit.
    pub fn mark(&mut self, mark: Mark, fits: impl Fn(&Request) -> bool) {
        for id in &self.open {
            if let Some(request) = self.requests.get_mut(*id).filter(|request| fits(request)) {
                request.mark = Some(mark);
            }
        }
    }

    /// Wall time as `metav1.Time`.
    pub fn now(&self) -> String {
        seconds(self.wall.now())
    }

    /// The same order of calls gives the same UIDs.
    pub fn next_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }
}
