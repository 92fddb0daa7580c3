//! Why a CRI call gave no usable answer, and what may be concluded from that.
//!
//! Callers branch on meaning (`is_not_found`, `is_definite`), never on text. The one text that is read here is
//! containerd's "name is reserved", since that fact has no code of its own.

use std::time::Duration;

use tonic::{Code, Status};

use crate::call::Call;
use crate::wire::InvalidRecord;

/// A CRI call without a usable answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to {}", .call.words())]
pub struct Error {
    call: Call,
    #[source]
    cause: Cause,
}

/// What went wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    /// The runtime, or the connection to it, answered with a status other than OK.
    #[error("{}: {}", .0.code().description(), .0.message())]
    Status(Box<Status>),
    /// The client's own deadline passed; the runtime may still be at it.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The answer came and makes no sense.
    #[error("the answer is not valid")]
    Invalid(#[source] InvalidRecord),
}

impl Error {
    /// The runtime, or the connection to it, answered `call` with `status`.
    #[must_use]
    pub fn new(call: Call, status: Status) -> Self {
        Self { call, cause: Cause::Status(Box::new(status)) }
    }

    /// `call` had no answer within `limit`.
    #[must_use]
    pub fn deadline(call: Call, limit: Duration) -> Self {
        Self { call, cause: Cause::Deadline(limit) }
    }

    /// `call` was answered by something that CRI does not allow.
    #[must_use]
    pub fn invalid(call: Call, why: InvalidRecord) -> Self {
        Self { call, cause: Cause::Invalid(why) }
    }

    /// The call that failed.
    #[must_use]
    pub fn call(&self) -> Call {
        self.call
    }

    /// What went wrong.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The gRPC status, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match &self.cause {
            Cause::Status(status) => Some(status),
            Cause::Deadline(_) | Cause::Invalid(_) => None,
        }
    }

    /// The runtime does not know the object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.has(Code::NotFound)
    }

    /// The object exists already, or its name is taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.has(Code::AlreadyExists) || self.is_name_reserved()
    }

    /// The runtime does not offer this call.
    #[must_use]
    pub fn is_unimplemented(&self) -> bool {
        self.has(Code::Unimplemented)
    }

    /// The runtime could not be reached, or the connection broke before an answer.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.has(Code::Unavailable) || (self.broke_in_transit() && !self.is_timeout() && !self.is_exhausted())
    }

    /// A deadline passed: the client's own, or one that the runtime kept.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::Deadline(_)) || self.has(Code::DeadlineExceeded)
    }

    /// The answer or the request is larger than a message may be, or a quota of the runtime is used up.
    ///
    /// tonic reports an answer beyond the limit as `OutOfRange`, grpc-go as `ResourceExhausted`.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.has(Code::ResourceExhausted) || self.has(Code::OutOfRange)
    }

    /// The runtime answered, and its answer proves that this call committed nothing and that nothing of the same
    /// name is on its way. False for every end after which the object may yet appear: deadline, cancellation, lost
    /// connection, a reserved name, an answer that could not be read.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        let Some(status) = self.status() else { return false };
        if self.broke_in_transit() || self.is_already_exists() {
            return false;
        }
        match status.code() {
            // containerd and CRI-O report every failure without a better code as Unknown, after they rolled back.
            Code::Unknown => !made_by_http(status),
            Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Unauthenticated => true,
            Code::Ok
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => false,
        }
    }

    /// Another sandbox or container holds the name, or one of this name is being made at this moment.
    #[must_use]
    pub fn is_name_reserved(&self) -> bool {
        self.reserved_for().is_some()
    }

    /// The id that the name is reserved for, as containerd words it: `name "n" is reserved for "id"`.
    #[must_use]
    pub fn reserved_for(&self) -> Option<&str> {
        let (_, rest) = self.status()?.message().rsplit_once("is reserved for \"")?;
        rest.split_once('"').map(|(id, _)| id)
    }

    /// The runtime's answer as the kubelet's own client words it: `rpc error: code = NotFound desc = …`, or the message
    /// alone where there was no better code than `Unknown` (`k8s.io/cri-client`, `PullImage`). None where the runtime
    /// did not answer.
    #[must_use]
    pub fn in_kubelets_words(&self) -> Option<String> {
        let status = self.status().filter(|_| !self.broke_in_transit())?;
        let code = match status.code() {
            Code::Unknown => return Some(status.message().to_owned()),
            Code::Ok => "OK".to_owned(),
            Code::Cancelled => "Canceled".to_owned(),
            other => format!("{other:?}"),
        };
        Some(format!("rpc error: code = {code} desc = {}", status.message()))
    }

    fn has(&self, code: Code) -> bool {
        self.status().is_some_and(|status| status.code() == code)
    }

    /// A status that came over the wire has no source; one that the transport made names the I/O error below it.
    fn broke_in_transit(&self) -> bool {
        self.status().is_some_and(|status| std::error::Error::source(status).is_some())
    }
}

/// A proxy or a server that does not speak gRPC answered: tonic derives a code from the HTTP status.
fn made_by_http(status: &Status) -> bool {
    status.message().starts_with("grpc-status header missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(code: Code, message: &str) -> Error {
        Error::new(Call::CreateContainer, Status::new(code, message))
    }

    fn broken() -> Error {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Error::new(Call::RunPodSandbox, Status::from_error(Box::new(io)))
    }

    #[test]
    fn only_answers_that_prove_absence_are_definite() {
        let definite = [
            Code::InvalidArgument,
            Code::NotFound,
            Code::PermissionDenied,
            Code::FailedPrecondition,
            Code::Unimplemented,
            Code::Unauthenticated,
            Code::Unknown,
        ];
        for code in (0..=16).map(Code::from) {
            assert_eq!(wire(code, "x").is_definite(), definite.contains(&code), "{code:?}");
        }
        assert!(!broken().is_definite());
        assert!(!Error::deadline(Call::RunPodSandbox, Duration::from_secs(1)).is_definite());
        assert!(
            !wire(Code::Unknown, "grpc-status header missing, mapped from HTTP status code 502")
                .is_definite()
        );
    }

    #[test]
    fn answers_are_worded_as_by_the_kubelets_client() {
        let words = |code| wire(code, "why").in_kubelets_words();
        assert_eq!(words(Code::NotFound).as_deref(), Some("rpc error: code = NotFound desc = why"));
        assert_eq!(words(Code::Cancelled).as_deref(), Some("rpc error: code = Canceled desc = why"));
        assert_eq!(words(Code::Unknown).as_deref(), Some("why"));
        assert_eq!(broken().in_kubelets_words(), None);
    }

    #[test]
    fn a_reserved_name_tells_for_whom_and_is_not_definite() {
        let name = "c_p_ns_uid_0";
        let message =
            format!("failed to reserve container name {name:?}: name {name:?} is reserved for \"8f1c0a\"");
        // containerd 1.x says Unknown, 2.x FailedPrecondition.
        for code in [Code::Unknown, Code::FailedPrecondition] {
            let error = wire(code, &message);
            assert_eq!(error.reserved_for(), Some("8f1c0a"));
            assert!(error.is_name_reserved() && error.is_already_exists() && !error.is_definite());
        }
        for other in ["", "name is reserved", "is reserved for \"unclosed", "reserved for 12"] {
            assert_eq!(wire(Code::Unknown, other).reserved_for(), None, "{other:?}");
        }
    }

    #[test]
    fn a_broken_connection_is_unavailable_whatever_its_code() {
        assert_eq!(broken().status().map(Status::code), Some(Code::Unknown));
        assert!(broken().is_unavailable() && !broken().is_timeout());
        assert!(wire(Code::Unavailable, "").is_unavailable());
        assert!(!wire(Code::Unknown, "").is_unavailable());
    }

    #[test]
    fn meanings_follow_codes() {
        assert!(Error::deadline(Call::Version, Duration::from_secs(10)).is_timeout());
        assert!(wire(Code::DeadlineExceeded, "").is_timeout());
        assert!(
            wire(Code::OutOfRange, "").is_exhausted() && wire(Code::ResourceExhausted, "").is_exhausted()
        );
        assert!(wire(Code::NotFound, "").is_not_found());
        assert!(wire(Code::Unimplemented, "").is_unimplemented());
        assert!(wire(Code::AlreadyExists, "").is_already_exists());
    }

    #[test]
    fn the_message_names_the_call_and_leaves_the_cause_to_the_chain() {
        let error = wire(Code::NotFound, "no such sandbox");
        assert_eq!(error.to_string(), "failed to create container");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("Some requested entity was not found: no such sandbox"));
    }
}
