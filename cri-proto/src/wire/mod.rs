//! Wire records become domain values, once, at the border: whatever a runtime may send is either a value that holds
//! its promises or a typed error. Nothing here can panic, and no text that could be a path gets through as an id.

mod container;
mod image;
mod sandbox;

use std::collections::BTreeMap;

use crate::id::{self, InvalidId};

/// Why a record of the runtime is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// An id or a name is empty, too long, or has characters that none has.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The record has no metadata.
    #[error("{what} {id:?} has no metadata")]
    NoMetadata {
        /// `sandbox` or `container`.
        what: &'static str,
        /// The record's id, as sent.
        id: String,
    },
    /// A label that every object of a pod has is missing: the object was not made for a pod.
    #[error("{what} {id:?} has no label {label}")]
    NoLabel {
        /// `sandbox` or `container`.
        what: &'static str,
        /// The record's id.
        id: String,
        /// The label's key.
        label: &'static str,
    },
    /// Metadata and label name different pods.
    #[error("sandbox {id:?} is of pod {metadata:?} by its metadata and of {label:?} by its label")]
    TwoPods {
        /// The record's id.
        id: String,
        /// UID in the metadata.
        metadata: String,
        /// UID in the label.
        label: String,
    },
    /// A state that CRI v1 does not have.
    #[error("{what} {id:?} is in state {state}, which CRI v1 does not have")]
    State {
        /// `sandbox` or `container`.
        what: &'static str,
        /// The record's id.
        id: String,
        /// The number as sent.
        state: i32,
    },
    /// A time before 1970.
    #[error("{field} of {id:?} is {nanos} ns, before 1970")]
    Time {
        /// Which time.
        field: &'static str,
        /// The record's id.
        id: String,
        /// The number as sent.
        nanos: i64,
    },
    /// Not an IP address.
    #[error("address {text:?} of sandbox {id:?} is no IP address")]
    Address {
        /// The record's id.
        id: String,
        /// The address as sent.
        text: String,
    },
    /// A user id that Linux cannot have.
    #[error("image {id:?} starts as user {uid}, which cannot be")]
    User {
        /// The image's id, as sent.
        id: String,
        /// The number as sent.
        uid: i64,
    },
    /// The answer lacks the record that it is made of.
    #[error("the answer has no {0}")]
    Absent(&'static str),
    /// The bytes are not the message that they should be.
    #[error("the bytes are no {0}")]
    Undecodable(&'static str),
    /// Two records of one list have the same id.
    #[error("two records have the id {0:?}")]
    Duplicate(String),
}

/// How many records of a list were left out as invalid, and why the first of them was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Number of records left out.
    pub count: usize,
    /// What was wrong with the first; empty if none was left out.
    pub first: String,
}

impl Skipped {
    /// Counts one more.
    pub fn add(&mut self, why: &InvalidRecord) {
        if self.count == 0 {
            self.first = why.to_string();
        }
        self.count = self.count.saturating_add(1);
    }

    /// Adds what another list left out.
    pub fn merge(&mut self, other: Skipped) {
        if self.count == 0 {
            self.first = other.first;
        }
        self.count = self.count.saturating_add(other.count);
    }

    /// Whether every record was usable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The usable records of a list, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid<T> {
    /// The usable records, in the runtime's order.
    pub items: Vec<T>,
    /// The others.
    pub skipped: Skipped,
}

impl<T> Valid<T> {
    /// Converts `records`, leaving out what is invalid. What was made for no pod is left out without being counted.
    pub(crate) fn from_wire<W>(records: impl IntoIterator<Item = W>) -> Self
    where
        T: TryFrom<W, Error = InvalidRecord>,
    {
        let mut valid = Self { items: Vec::new(), skipped: Skipped::default() };
        for record in records {
            match T::try_from(record) {
                Ok(item) => valid.items.push(item),
                Err(InvalidRecord::NoLabel { .. }) => {}
                Err(why) => valid.skipped.add(&why),
            }
        }
        valid
    }
}

/// What Go's zero time becomes as nanoseconds since 1970, which wraps: runtimes that forget to check send it for
/// "not yet".
const GO_ZERO_TIME: i64 = -6_795_364_578_871_345_152;

fn label<'a>(
    labels: &'a BTreeMap<String, String>,
    what: &'static str,
    id: &str,
    label: &'static str,
) -> Result<&'a str, InvalidRecord> {
    let found = labels.get(label).map(String::as_str);
    found.ok_or_else(|| InvalidRecord::NoLabel { what, id: id.to_owned(), label })
}

/// A name that becomes part of a path or of a further name.
fn name(kind: &'static str, text: String) -> Result<String, InvalidRecord> {
    id::check(kind, &text)?;
    Ok(text)
}

/// 0 for a time that is not yet, which containerd sends for a sandbox whose making was cut short: it is there and
/// has to be removed all the same.
fn time(field: &'static str, id: &str, nanos: i64) -> Result<i64, InvalidRecord> {
    if nanos == GO_ZERO_TIME {
        return Ok(0);
    }
    if nanos < 0 { Err(InvalidRecord::Time { field, id: id.to_owned(), nanos }) } else { Ok(nanos) }
}

fn time_if_set(field: &'static str, id: &str, nanos: i64) -> Result<Option<i64>, InvalidRecord> {
    match nanos {
        0 | GO_ZERO_TIME => Ok(None),
        _ => time(field, id, nanos).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Container, ContainerStatus};
    use crate::labels::POD_UID;
    use crate::sandbox::{Sandbox, SandboxStatus};
    use crate::v1;
    use proptest::prelude::*;

    /// Texts as a hostile or broken runtime may send them.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9-]{1,9}",
            ".*",
            Just(String::new()),
            Just("../../x".to_owned()),
            Just("a/b".to_owned())
        ]
    }

    fn harmless(text: &str) -> bool {
        id::check("text", text).is_ok()
    }

    proptest! {
        #[test]
        fn a70_no_sandbox_that_is_accepted_can_harm(
            id in text(), uid in text(), name in text(), namespace in text(),
            state in any::<i32>(), created_at in any::<i64>(), attempt in any::<u32>(), same in any::<bool>()
        ) {
            let label = if same { uid.clone() } else { name.clone() };
            let metadata = Some(v1::PodSandboxMetadata { name, uid, namespace, attempt });
            let labels = [(POD_UID.to_owned(), label)].into();
            let wire = v1::PodSandbox { id, metadata, state: state % 3, created_at, labels, ..Default::default() };
            if let Ok(sandbox) = Sandbox::try_from(wire) {
                prop_assert!(harmless(&sandbox.pod_name) && harmless(&sandbox.pod_namespace));
                prop_assert!(sandbox.created_at >= 0);
            }
        }

        #[test]
        fn a70_no_container_that_is_accepted_can_harm(
            id in text(), sandbox in text(), uid in text(), name in text(),
            state in any::<i32>(), times in any::<[i64; 3]>(), exit_code in any::<i32>()
        ) {
            let metadata = Some(v1::ContainerMetadata { name, attempt: 0 });
            let wire = v1::Container {
                id: id.clone(), pod_sandbox_id: sandbox, metadata: metadata.clone(), state, created_at: times[0],
                labels: [(POD_UID.to_owned(), uid)].into(), ..Default::default()
            };
            if let Ok(container) = Container::try_from(wire) {
                prop_assert!(harmless(&container.name) && container.created_at >= 0);
            }
            let [created_at, started_at, finished_at] = times;
            let wire = v1::ContainerStatus { id, metadata, state, created_at, started_at, finished_at, exit_code, ..Default::default() };
            if let Ok(status) = ContainerStatus::try_from(wire) {
                prop_assert!(status.started_at.is_none_or(|at| at > 0) && status.finished_at.is_none_or(|at| at > 0));
            }
        }

        #[test]
        fn a70_no_address_that_is_accepted_is_lost(ips in proptest::collection::vec(prop_oneof![text(), Just("10.0.0.1".to_owned())], 0..4)) {
            let additional_ips: Vec<_> = ips.iter().skip(1).map(|ip| v1::PodIp { ip: ip.clone() }).collect();
            let network = ips.first().map(|ip| v1::PodSandboxNetworkStatus { ip: ip.clone(), additional_ips });
            let wire = v1::PodSandboxStatus { id: "s".into(), network, ..Default::default() };
            if let Ok(status) = SandboxStatus::try_from(wire) {
                let primary = ips.first().is_some_and(|ip| !ip.is_empty());
                prop_assert_eq!(status.ips.len(), if primary { ips.len() } else { 0 });
            }
        }
    }

    #[test]
    fn the_first_reason_is_kept_and_all_are_counted() {
        let mut skipped = Skipped::default();
        assert!(skipped.is_empty());
        skipped.add(&InvalidRecord::Absent("one"));
        skipped.add(&InvalidRecord::Absent("two"));
        skipped.merge(Skipped { count: usize::MAX, first: "three".into() });
        assert_eq!(skipped, Skipped { count: usize::MAX, first: "the answer has no one".into() });
        let mut empty = Skipped::default();
        empty.merge(Skipped { count: 1, first: "three".into() });
        assert_eq!(empty.first, "three");
    }
}
