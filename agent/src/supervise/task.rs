//! What the owner of a spawned task holds, and how a panic becomes a value.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use tokio::sync::oneshot;

/// A task panicked; its owner goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {name} panicked: {message}")]
pub struct WorkerPanic {
    /// The task.
    pub name: Arc<str>,
    /// What it said.
    pub message: String,
}

/// The result of a task that was spawned. May be dropped: the task goes on.
#[derive(Debug)]
pub struct Task<T> {
    pub(super) name: Arc<str>,
    pub(super) result: oneshot::Receiver<Result<T, WorkerPanic>>,
}

impl<T> Task<T> {
    /// The name that it was spawned with.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, WorkerPanic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.result.poll_unpin(context).map(|received| {
            let dropped = || WorkerPanic {
                name: Arc::clone(&self.name),
                message: "dropped with its runtime".to_owned(),
            };
            received.unwrap_or_else(|_runtime_ended| Err(dropped()))
        })
    }
}

/// Runs a task to its end or its panic. What it held is dropped with it, so nothing half-changed is seen later.
pub(super) async fn caught<T>(name: &Arc<str>, task: impl Future<Output = T>) -> Result<T, WorkerPanic> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
        WorkerPanic { name: Arc::clone(name), message: message.unwrap_or_else(|| "no message".to_owned()) }
    })
}
