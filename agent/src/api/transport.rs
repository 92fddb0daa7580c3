//! A transport under a [`kube::Client`] that may not be there yet, and may be replaced while clients use it.
//!
//! What still goes over a replaced transport ends with an error: a watch of the server of before would otherwise go on
//! for as long as that server lives, and an answer over a connection that hangs never comes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use kube::client::Body;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceExt};

/// The layers that a request goes through.
pub(super) type Stack = BoxCloneService<Request<Body>, Response<Incoming>, BoxError>;

/// What a call ends with whose transport was replaced.
const REPLACED: &str = "the connection to the API server was replaced";

/// A transport that may not be there yet.
#[derive(Clone)]
pub struct Transport(Arc<Mutex<Held>>);

struct Held {
    /// The layers, or why there are none.
    stack: Result<Stack, String>,
    /// Cancelled when `stack` is replaced.
    replaced: CancellationToken,
}

impl Transport {
    pub(super) fn missing() -> Self {
        let stack = Err("the kubeconfig was not read yet".to_owned());
        Self(Arc::new(Mutex::new(Held { stack, replaced: CancellationToken::new() })))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_there(&self) -> bool {
        self.held().stack.is_ok()
    }

    /// Replaces the transport, and ends what goes over the one before.
    pub(super) fn set(&self, stack: Stack) {
        let new = Held { stack: Ok(stack), replaced: CancellationToken::new() };
        let old = std::mem::replace(&mut *self.held(), new);
        old.replaced.cancel();
    }

    /// Says why there is no transport; one that is there stays.
    pub(super) fn refuse(&self, problem: &str) {
        let mut held = self.held();
        if held.stack.is_err() {
            held.stack = Err(problem.to_owned());
        }
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Severable>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (stack, replaced) = {
            let held = self.held();
            (held.stack.clone(), held.replaced.clone())
        };
        Box::pin(async move {
            let answer = tokio::select! {
                biased;
                answer = stack?.oneshot(request) => answer?,
                () = replaced.cancelled() => return Err(REPLACED.into()),
            };
            let cut = Box::pin(replaced.cancelled_owned());
            Ok(answer.map(|inner| Severable { inner, cut: Some(cut) }))
        })
    }
}

/// The body of an answer, which ends with an error when its transport is replaced.
pub struct Severable {
    inner: Incoming,
    /// None once it has ended so.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl hyper::body::Body for Severable {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(frame) = frame {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let Some(cut) = &mut self.cut else { return Poll::Ready(None) };
        if cut.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.cut = None;
        Poll::Ready(Some(Err(REPLACED.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
