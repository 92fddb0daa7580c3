//! What the API server's refusals say. Pure.

use std::time::Duration;

use kube::Error;
use kube::core::Status;

use crate::api::fault::meaning;

/// Cause in the details of a refusal (`NamespaceTerminatingCause` of `k8s.io/api/core/v1`).
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// The API server's own words, else what kept it from answering.
#[must_use]
pub fn why(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        Error::Api(status) => format!("{} ({})", status.code, status.reason),
        error => meaning(error),
    }
}

/// Whether nothing can be made there any more because the namespace goes away.
#[must_use]
pub fn is_namespace_terminating(status: &Status) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    status.code == 403 && causes.iter().any(|cause| cause.reason == NAMESPACE_TERMINATING)
}

/// The pause that the API server asks for.
#[must_use]
pub fn pause(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_servers_words_come_first() {
        let status = |body| serde_json::from_value::<Status>(body).unwrap();
        let said =
            status(json!({ "code": 404, "message": "namespaces \"x\" not found", "reason": "NotFound" }));
        assert_eq!(why(&Error::Api(Box::new(said))), "namespaces \"x\" not found");
        let silent = status(json!({ "code": 502, "reason": "BadGateway" }));
        assert_eq!(why(&Error::Api(Box::new(silent))), "502 (BadGateway)");
    }

    #[test]
    fn details_are_read() {
        let details = json!({ "causes": [{ "reason": "NamespaceTerminating" }], "retryAfterSeconds": 7 });
        let status = serde_json::from_value(json!({ "code": 403, "details": details })).unwrap();
        assert!(is_namespace_terminating(&status));
        assert_eq!(pause(&status), Some(Duration::from_secs(7)));
        assert_eq!(pause(&Status::default()), None);
    }
}
