//! Objects by key, one growing version for all of them, and the log of every change.
//!
//! The log is never cut: [`Store::compact`] only moves the mark below which the server denies knowing it, so that
//! tests can still ask for an object's whole history.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::kinds::{Kind, Target};
use super::reading::{metadata, text};

pub type Object = Arc<Value>;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Qualified plural, `leases.coordination.k8s.io`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced { namespace.to_owned() } else { String::new() };
        Self { resource: kind.qualified(), namespace, name: name.to_owned() }
    }

    pub fn of(target: &Target) -> Self {
        Self::new(target.kind, target.namespace(), target.name())
    }
}

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    pub version: u64,
    pub at: Instant,
    pub key: Key,
    /// None when it was made.
    pub before: Option<Object>,
    /// With this change's resourceVersion; of a deletion, the last state.
    pub object: Object,
    pub deleted: bool,
}

/// Everything that is stored.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Key, Object>,
    changes: Vec<Change>,
    version: u64,
    /// Versions below are too old to be asked for.
    oldest: u64,
}

/// The first version is not 0 or 1, so that nothing works by accident of small numbers.
const FIRST: u64 = 1_000;

impl Store {
    pub fn new() -> Self {
        Self { objects: BTreeMap::new(), changes: Vec::new(), version: FIRST, oldest: FIRST }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Writes `object`; a write that changes nothing makes no new version, as in etcd's guaranteed update.
    pub fn put(&mut self, key: Key, mut object: Value, at: Instant) -> Object {
        let before = self.objects.get(&key).cloned();
        if let Some(held) = &before {
            metadata(&mut object)
                .insert("resourceVersion".to_owned(), json!(text(held, "/metadata/resourceVersion")));
            if **held == object {
                return Arc::clone(held);
            }
        }
        let object = self.stamp(object);
        self.objects.insert(key.clone(), Arc::clone(&object));
        self.log(key, before, Arc::clone(&object), false, at);
        object
    }

    /// Removes an object; None when there is none.
    pub fn remove(&mut self, key: &Key, at: Instant) -> Option<Object> {
        let before = self.objects.remove(key)?;
        let last = self.stamp((*before).clone());
        self.log(key.clone(), Some(before), Arc::clone(&last), true, at);
        Some(last)
    }

    fn stamp(&mut self, mut object: Value) -> Object {
        self.version += 1;
        metadata(&mut object).insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        Arc::new(object)
    }

    fn log(&mut self, key: Key, before: Option<Object>, object: Object, deleted: bool, at: Instant) {
        self.changes.push(Change { version: self.version, at, key, before, object, deleted });
    }

    /// The objects of a resource, of one namespace or of all, in the server's order.
    pub fn all(&self, kind: &Kind, namespace: Option<&str>) -> Vec<(Key, Object)> {
        pick(&self.objects, kind, namespace)
    }

    /// The same as they were at `version`.
    pub fn all_at(&self, kind: &Kind, namespace: Option<&str>, version: u64) -> Vec<(Key, Object)> {
        let mut objects = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.version <= version) {
            if change.deleted {
                objects.remove(&change.key);
            } else {
                objects.insert(change.key.clone(), Arc::clone(&change.object));
            }
        }
        pick(&objects, kind, namespace)
    }

    /// Changes after `version`, oldest first.
    pub fn since(&self, version: u64) -> &[Change] {
        let from = self.changes.partition_point(|change| change.version <= version);
        &self.changes[from..]
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Denies from now on to know any version before the newest.
    pub fn compact(&mut self) {
        self.oldest = self.version;
    }

    /// A version that no object has, so that "newest" moves without a change.
    pub fn skip(&mut self) {
        self.version += 1;
    }
}

fn pick(objects: &BTreeMap<Key, Object>, kind: &Kind, namespace: Option<&str>) -> Vec<(Key, Object)> {
    let first = Key {
        resource: kind.qualified(),
        namespace: namespace.unwrap_or_default().to_owned(),
        name: String::new(),
    };
    let within =
        |key: &Key| key.resource == first.resource && namespace.is_none_or(|asked| key.namespace == asked);
    let found = objects.range(&first..).take_while(|(key, _)| within(key));
    found.map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
}
