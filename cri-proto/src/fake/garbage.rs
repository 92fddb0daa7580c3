//! Malformed records: well-formed protobuf that no honest runtime sends. Pure.

use crate::v1;

/// A way in which a record is malformed. In a list, a malformed copy of the first record is added (or one made
/// from nothing); in the answer of a status call, the record itself is spoilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Garbage {
    /// Its id is the empty string.
    EmptyId,
    /// Its id is that of another record.
    DuplicateId,
    /// Its times are these nanoseconds; negative, 0 and the extremes are all tried.
    Times(i64),
    /// Its exit code is this: `i32::MIN` is what 2^31 becomes on the wire.
    ExitCode(i32),
    /// It has no metadata.
    NoMetadata,
    /// Its state is this number, which CRI does not have.
    State(i32),
    /// Its labels and annotations have values that are not JSON and not numbers where the kubelet writes such.
    LabelValues,
    /// The pod UID in its labels and metadata is this, such as `../../x`.
    PodUid(String),
    /// It is a container of a sandbox that does not exist.
    UnknownSandbox,
    /// It has nothing set at all.
    Nothing,
    /// It comes this many times, each time under another id.
    Many(u32),
}

/// The keys under which the kubelet writes numbers and JSON.
const PARSED_KEYS: [&str; 5] = [
    "io.kubernetes.container.restartCount",
    "io.kubernetes.container.hash",
    "io.kubernetes.container.ports",
    "io.kubernetes.pod.terminationGracePeriod",
    "io.kubernetes.container.preStopHandler",
];

/// What the records of both lists and both status answers have in common.
pub(super) trait Spoil: Clone + Default {
    fn spoil(&mut self, garbage: &Garbage);
    fn set_id(&mut self, id: String);
}

macro_rules! spoil_common {
    ($record:expr, $garbage:expr) => {{
        let record = $record;
        match $garbage {
            Garbage::EmptyId => record.id.clear(),
            Garbage::Times(at) => record.created_at = *at,
            Garbage::NoMetadata => record.metadata = None,
            Garbage::State(state) => record.state = *state,
            Garbage::Nothing => *record = Default::default(),
            Garbage::LabelValues => {
                for key in PARSED_KEYS {
                    record.labels.insert(key.to_owned(), "{not json".to_owned());
                    record.annotations.insert(key.to_owned(), "{not json".to_owned());
                }
            }
            Garbage::PodUid(uid) => {
                record.labels.insert("io.kubernetes.pod.uid".to_owned(), uid.clone());
            }
            _ => {}
        }
    }};
}

impl Spoil for v1::PodSandbox {
    fn spoil(&mut self, garbage: &Garbage) {
        spoil_common!(&mut *self, garbage);
        spoil_uid(&mut self.metadata, garbage);
    }
    fn set_id(&mut self, id: String) {
        self.id = id;
    }
}

impl Spoil for v1::PodSandboxStatus {
    fn spoil(&mut self, garbage: &Garbage) {
        spoil_common!(&mut *self, garbage);
        spoil_uid(&mut self.metadata, garbage);
    }
    fn set_id(&mut self, id: String) {
        self.id = id;
    }
}

fn spoil_uid(metadata: &mut Option<v1::PodSandboxMetadata>, garbage: &Garbage) {
    if let (Some(metadata), Garbage::PodUid(uid)) = (metadata, garbage) {
        metadata.uid.clone_from(uid);
    }
}

impl Spoil for v1::Container {
    fn spoil(&mut self, garbage: &Garbage) {
        spoil_common!(&mut *self, garbage);
        if *garbage == Garbage::UnknownSandbox {
            self.pod_sandbox_id = "0".repeat(64);
        }
    }
    fn set_id(&mut self, id: String) {
        self.id = id;
    }
}

impl Spoil for v1::ContainerStatus {
    fn spoil(&mut self, garbage: &Garbage) {
        spoil_common!(&mut *self, garbage);
        match garbage {
            Garbage::Times(at) => (self.started_at, self.finished_at) = (*at, *at),
            Garbage::ExitCode(code) => self.exit_code = *code,
            _ => {}
        }
    }
    fn set_id(&mut self, id: String) {
        self.id = id;
    }
}

/// Adds to a list what `garbage` says.
pub(super) fn add_to<T: Spoil>(records: &mut Vec<T>, garbage: &Garbage) {
    let base = records.first().cloned().unwrap_or_default();
    let copies = if let Garbage::Many(count) = garbage { *count } else { 1 };
    for number in 0..copies {
        let mut record = base.clone();
        if *garbage != Garbage::DuplicateId {
            record.set_id(format!("{number:064x}"));
        }
        record.spoil(garbage);
        records.push(record);
    }
}
