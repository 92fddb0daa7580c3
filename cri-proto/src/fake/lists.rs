//! The answers of the list calls, with what faults do to them.

use super::Fake;
use super::distort::{distorted, limited, padded};
use super::fault::Distort;
use super::filter;
use super::lock::lock;
use super::record::AsOf;
use super::view;
use crate::v1;
use prost::Message;
use tonic::Status;

/// Records per answer of a streaming list.
const CHUNK: usize = 100;

impl Fake {
    pub(super) fn listed_sandboxes(
        &self,
        filter: Option<&v1::PodSandboxFilter>,
        distort: &Distort,
    ) -> Vec<v1::PodSandbox> {
        let as_of = distort.as_of.unwrap_or(AsOf::Now);
        let state = lock(&self.inner.state);
        let records =
            state.sandboxes_at(as_of).into_iter().map(|s| view::sandbox(s, as_of, &self.inner.faults));
        let records = records.filter(|record| filter::sandbox_fits(filter, record)).collect();
        drop(state);
        distorted(records, distort)
    }

    pub(super) fn listed_containers(
        &self,
        filter: Option<&v1::ContainerFilter>,
        distort: &Distort,
    ) -> Vec<v1::Container> {
        let as_of = distort.as_of.unwrap_or(AsOf::Now);
        let state = lock(&self.inner.state);
        let records =
            state.containers_at(as_of).into_iter().map(|c| view::container(c, as_of, &self.inner.faults));
        let records = records.filter(|record| filter::container_fits(filter, record)).collect();
        drop(state);
        distorted(records, distort)
    }

    pub(super) fn sandbox_list(
        &self,
        filter: Option<&v1::PodSandboxFilter>,
        distort: &Distort,
    ) -> Result<v1::ListPodSandboxResponse, Status> {
        let mut answer = v1::ListPodSandboxResponse { items: self.listed_sandboxes(filter, distort) };
        if let Some(bytes) = distort.pad_to {
            let encoded = answer.encoded_len();
            padded(&mut answer.items, encoded, bytes);
        }
        limited(answer, self.inner.options.max_message_bytes)
    }

    pub(super) fn container_list(
        &self,
        filter: Option<&v1::ContainerFilter>,
        distort: &Distort,
    ) -> Result<v1::ListContainersResponse, Status> {
        let mut answer = v1::ListContainersResponse { containers: self.listed_containers(filter, distort) };
        if let Some(bytes) = distort.pad_to {
            let encoded = answer.encoded_len();
            padded(&mut answer.containers, encoded, bytes);
        }
        limited(answer, self.inner.options.max_message_bytes)
    }

    /// Whether the streaming lists are offered.
    pub(super) fn streams_lists(&self) -> Result<(), Status> {
        if lock(&self.inner.state).switches.list_streaming { Ok(()) } else { Err(unknown_method()) }
    }
}

/// The answer to a call that this runtime does not have.
pub(super) fn unknown_method() -> Status {
    Status::unimplemented("unknown method for service runtime.v1.RuntimeService")
}

/// The answers of a streaming list: none for an empty list.
pub(super) fn pieces<T: Clone, A>(records: &[T], answer: impl Fn(Vec<T>) -> A) -> Vec<Result<A, Status>> {
    records.chunks(CHUNK).map(|chunk| Ok(answer(chunk.to_vec()))).collect()
}
