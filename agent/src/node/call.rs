//! One call to the API: never without a deadline, and an error that knows what it means.

use std::time::Duration;

use kube::api::{PatchParams, PostParams};
use tokio::time::timeout;

use crate::api::fault::meaning;

/// Who a write is by, in the object's list of managed fields.
const WRITER: &str = "pinnace";

/// Parameters of a POST or PUT.
#[must_use]
pub fn posting() -> PostParams {
    PostParams { field_manager: Some(WRITER.to_owned()), ..PostParams::default() }
}

/// Parameters of a PATCH.
#[must_use]
pub fn patching() -> PatchParams {
    PatchParams { field_manager: Some(WRITER.to_owned()), ..PatchParams::default() }
}

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server, or the way to it, said no.
    #[error("failed to {what}: {}", meaning(answer))]
    Failed {
        /// What was to be done.
        what: &'static str,
        /// The answer. Told by its meaning, and so not as a source: the chain would add the libraries' words.
        answer: Box<kube::Error>,
    },
    /// There was no answer.
    #[error("failed to {what}: no answer within {after:?}")]
    Late {
        /// What was to be done.
        what: &'static str,
        /// How long the answer was waited for.
        after: Duration,
    },
}

/// The answer of `call`, waited for no longer than `deadline`. Dropping a call to the API half-way is harmless: what
/// came of it shows in the next answer.
pub async fn within<T>(
    what: &'static str,
    deadline: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(CallError::Failed { what, answer: Box::new(error) }),
        Err(_) => Err(CallError::Late { what, after: deadline }),
    }
}

impl CallError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Failed { answer, .. } => match answer.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Late { .. } => None,
        }
    }

    /// The object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// The object was changed by others in the meantime.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.is_conflict() && !status.is_already_exists())
    }

    /// The object is there already, or making it is not allowed, so that it may be there.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        self.status().is_some_and(|status| status.is_already_exists() || status.is_forbidden())
    }

    /// There was no answer: the connection may be dead.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. })
    }
}
