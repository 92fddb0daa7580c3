//! Decides whether a defaulted pod may run, as core/v1's validation does for static pods, and finds all that
//! is wrong with it, not only the first thing.
//!
//! What is valid but not built yet is the gate's business, not this file's. Rules and limits are those of
//! `pkg/apis/core/validation` and `k8s.io/apimachinery/pkg/util/validation` of Kubernetes 1.36.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use super::fault::Fault;
use super::static_pod::MIRROR_ANNOTATION;

mod container;
mod environment;
mod host;
mod metadata;
pub(crate) mod names;
mod pod;
mod ports;
mod probes;
mod references;
mod resources;
mod security;
mod volumes;

/// What is wrong with a manifest as written, before names and annotations are added to it.
#[must_use]
pub fn manifest(pod: &Pod) -> Vec<Fault> {
    let mut faults = Faults::default();
    let metadata = &pod.metadata;
    if metadata.name.as_ref().is_none_or(String::is_empty) {
        faults.add("metadata.name", "is missing");
    }
    if metadata.deletion_timestamp.is_some() {
        faults
            .add("metadata.deletionTimestamp", "a manifest cannot ask for deletion: remove the file instead");
    }
    if metadata.annotations.as_ref().is_some_and(|map| map.contains_key(MIRROR_ANNOTATION)) {
        faults.add(format!("metadata.annotations[{MIRROR_ANNOTATION}]"), "only a mirror pod may carry this");
    }
    faults.0
}

/// What is wrong with a static pod that has its name, UID and defaults.
#[must_use]
pub fn pod(pod: &Pod) -> Vec<Fault> {
    let mut faults = Faults::default();
    metadata::metadata(&pod.metadata, &mut faults);
    match &pod.spec {
        None => faults.add("spec", "is missing"),
        Some(spec) => {
            pod::spec(spec, &mut faults);
            references::spec(spec, &mut faults);
        }
    }
    faults.0
}

/// What a static pod refers to that only the API of the configured API server has; the kubelet refuses it too.
#[must_use]
pub fn references(pod: &Pod) -> Vec<Fault> {
    let mut faults = Faults::default();
    if let Some(spec) = &pod.spec {
        references::objects(spec, &mut faults);
    }
    faults.0
}

/// Collects faults in the order in which they are found.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault::at(field, reason));
    }

    fn add_if(&mut self, condition: bool, field: impl Into<String>, reason: impl Into<String>) {
        if condition {
            self.add(field, reason);
        }
    }

    fn check(&mut self, field: impl Into<String>, result: Result<(), String>) {
        if let Err(reason) = result {
            self.add(field, reason);
        }
    }

    /// An enumeration field, absent or one of `allowed`.
    fn one_of(&mut self, field: impl Into<String>, value: Option<&str>, allowed: &[&str]) {
        if let Some(value) = value.filter(|value| !allowed.contains(value)) {
            self.add(field, format!("is {value:?}, expected {}", any_of(allowed)));
        }
    }

    /// A number that may not be below `least`.
    fn at_least(&mut self, field: impl Into<String>, value: Option<i64>, least: i64) {
        if let Some(value) = value.filter(|value| *value < least) {
            self.add(field, format!("is {value}, expected at least {least}"));
        }
    }

    /// Remembers a name that must be unique; false if it was there before.
    fn unique<T: Ord>(&mut self, seen: &mut BTreeSet<T>, name: T, field: impl Into<String>, what: &str) {
        if !seen.insert(name) {
            self.add(field, format!("is a duplicate {what}"));
        }
    }
}

fn any_of(allowed: &[&str]) -> String {
    match allowed {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
