//! What faults do to the records of a list answer. Pure.

use prost::Message;
use tonic::Status;

use super::fault::Distort;
use super::garbage::{Spoil, add_to};
use crate::v1;

/// The list records whose answers can be padded.
pub(super) trait Listed: Spoil {
    fn id(&self) -> &str;
    fn annotate(&mut self, key: &str, value: String);
}

impl Listed for v1::PodSandbox {
    fn id(&self) -> &str {
        &self.id
    }
    fn annotate(&mut self, key: &str, value: String) {
        self.annotations.insert(key.to_owned(), value);
    }
}

impl Listed for v1::Container {
    fn id(&self) -> &str {
        &self.id
    }
    fn annotate(&mut self, key: &str, value: String) {
        self.annotations.insert(key.to_owned(), value);
    }
}

/// The records as the faults leave them.
pub(super) fn distorted<T: Listed>(mut records: Vec<T>, distort: &Distort) -> Vec<T> {
    if distort.empty {
        records.clear();
    }
    records.retain(|record| !distort.omit.iter().any(|id| id == record.id()));
    for garbage in &distort.garbage {
        add_to(&mut records, garbage);
    }
    records
}

/// The annotation that fills an oversized answer.
const PADDING_KEY: &str = "fake-cri/padding";

/// Makes an answer about `bytes` long by a long annotation on its first record, or on a record made for that.
pub(super) fn padded<T: Listed>(records: &mut Vec<T>, encoded: usize, bytes: usize) {
    if records.is_empty() {
        let mut record = T::default();
        record.set_id("f".repeat(64));
        records.push(record);
    }
    if let Some(first) = records.first_mut() {
        first.annotate(PADDING_KEY, "x".repeat(bytes.saturating_sub(encoded)));
    }
}

/// Refuses an answer that is longer than the runtime sends, in the words of the gRPC library of containerd.
pub(super) fn limited<M: Message>(answer: M, limit: usize) -> Result<M, Status> {
    let size = answer.encoded_len();
    if size > limit {
        let text = format!("grpc: trying to send message larger than max ({size} vs. {limit})");
        return Err(Status::resource_exhausted(text));
    }
    Ok(answer)
}
