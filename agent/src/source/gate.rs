//! The gate: decides which fields of a pod are not built yet and therefore keep it from being started.
//!
//! A pod is run as written or not at all. Every struct is taken apart without `..`, so that a field which a
//! later core/v1 brings does not compile until somebody decides about it; [`FIELDS`] says what was decided.

use k8s_openapi::api::core::v1::Pod;

use super::desired::Held;

mod container;
mod fields;
mod pod;
mod security;
mod volume;

pub use fields::{FIELDS, Field, State};
pub(super) use volume::kinds_named as volume_kinds;

/// The fields of a defaulted and validated pod that hold it, in the order of the spec. Empty means: start it.
#[must_use]
pub fn held(pod: &Pod) -> Vec<Held> {
    let mut holds = Holds::default();
    let Pod { metadata: _, spec, status: _ } = pod;
    if let Some(spec) = spec {
        pod::spec(spec, &mut holds);
    }
    holds.held
}

/// Collects held fields; the reason comes from [`FIELDS`].
#[derive(Default)]
struct Holds {
    held: Vec<Held>,
}

impl Holds {
    fn hold(&mut self, field: String) {
        let reason = fields::held_reason(&field).unwrap_or("is not built yet");
        self.held.push(Held { field, reason: reason.to_owned() });
    }

    fn hold_if(&mut self, condition: bool, parent: &str, name: &str) {
        if condition {
            self.hold(format!("{parent}.{name}"));
        }
    }
}

/// A list or map that is there and has something in it.
trait Filled {
    fn filled(&self) -> bool;
}

impl<T> Filled for Option<Vec<T>> {
    fn filled(&self) -> bool {
        self.as_ref().is_some_and(|items| !items.is_empty())
    }
}

impl<K, V> Filled for Option<std::collections::BTreeMap<K, V>> {
    fn filled(&self) -> bool {
        self.as_ref().is_some_and(|items| !items.is_empty())
    }
}

impl Filled for Option<String> {
    fn filled(&self) -> bool {
        self.as_ref().is_some_and(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests;
