//! What both services have in common, and the answers that faults can spoil.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt};
use tokio_stream::wrappers::BroadcastStream;
use tonic::codegen::BoxStream;
use tonic::{Response, Status};

use super::Fake;
use super::carry::Carried;
use super::fault::Distort;
use super::garbage::{Garbage, Spoil};
use super::lists::unknown_method;
use super::lock::lock;
use super::select::Subject;
use super::view;
use crate::call::Call;
use crate::v1::{
    ContainerEventResponse, ContainerStatusRequest, ContainerStatusResponse, PodSandboxStatusRequest,
    PodSandboxStatusResponse,
};

pub(super) type Answer<T> = Result<Response<T>, Status>;

/// Both services over one fake.
#[derive(Debug, Clone)]
pub(super) struct Services(pub(super) Fake);

impl Services {
    /// A call about no object.
    pub(super) fn plain(&self, call: Call) -> Carried {
        self.0.begin(call, Subject::default(), String::new())
    }

    /// A call about the sandbox or container with this id.
    pub(super) fn of(&self, call: Call, id: &str, request: String) -> Carried {
        let subject = lock(&self.0.inner.state).subject(id);
        self.0.begin(call, subject, request)
    }
}

impl Fake {
    pub(super) fn sandbox_status_answer(
        &self,
        request: &PodSandboxStatusRequest,
        distort: &Distort,
    ) -> Result<PodSandboxStatusResponse, Status> {
        let state = lock(&self.inner.state);
        let sandbox = state.sandbox(&request.pod_sandbox_id)?;
        Ok(PodSandboxStatusResponse {
            status: Some(spoilt(view::sandbox_status(sandbox, &self.inner.faults), distort)),
            info: info(request.verbose, &sandbox.id),
            containers_statuses: Vec::new(),
            timestamp: state.wall(),
        })
    }

    pub(super) fn container_status_answer(
        &self,
        request: &ContainerStatusRequest,
        distort: &Distort,
    ) -> Result<ContainerStatusResponse, Status> {
        let state = lock(&self.inner.state);
        let container = state.container(&request.container_id)?;
        let status = spoilt(view::container_status(container, &self.inner.faults), distort);
        Ok(ContainerStatusResponse { status: Some(status), info: info(request.verbose, &container.id) })
    }

    pub(super) fn event_stream(&self, distort: Distort) -> Result<BoxStream<ContainerEventResponse>, Status> {
        if !lock(&self.inner.state).switches.events {
            return Err(unknown_method());
        }
        Ok(self.announcements().map(move |event| Ok(spoilt_event(event, &distort))).boxed())
    }

    pub(super) fn announcements(&self) -> impl Stream<Item = ContainerEventResponse> + Send + 'static {
        let events = BroadcastStream::new(lock(&self.inner.state).announcer.listen());
        // A listener that was too slow lost some; it is not told, as it is not by containerd.
        events.filter_map(|event| async move { event.ok() })
    }
}

/// Spoils the answer of a status call.
fn spoilt<T: Spoil>(mut record: T, distort: &Distort) -> T {
    for garbage in distort.garbage.iter().filter(|garbage| !matches!(garbage, Garbage::Many(_))) {
        record.spoil(garbage);
    }
    record
}

/// Spoils the records in an event.
fn spoilt_event(event: ContainerEventResponse, distort: &Distort) -> ContainerEventResponse {
    let statuses = event.containers_statuses.into_iter().map(|status| spoilt(status, distort));
    ContainerEventResponse {
        containers_statuses: statuses.collect(),
        pod_sandbox_status: event.pod_sandbox_status.map(|status| spoilt(status, distort)),
        ..event
    }
}

/// What a verbose status adds: JSON, as crictl expects it.
fn info(verbose: bool, id: &str) -> BTreeMap<String, String> {
    if verbose {
        [("info".to_owned(), format!("{{\"id\":\"{id}\",\"pid\":1}}"))].into()
    } else {
        BTreeMap::new()
    }
}
