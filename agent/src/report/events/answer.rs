//! What the API server's answer to a write means. Pure.

use kube::Error;
use kube::core::Status;

use super::correlate::{Outcome, Verb};
use crate::report::refusal::{is_namespace_terminating, pause};

/// The outcome of a write that failed in this way.
pub(super) fn outcome(verb: Verb, error: &Error) -> Outcome {
    match error {
        Error::Api(status) => of_status(verb, status),
        // The answer said that it worked; only its text cannot be read.
        Error::SerdeError(_) | Error::FromUtf8(_) => Outcome::Written,
        Error::BuildRequest(_) | Error::HttpError(_) => Outcome::Rejected,
        _ => Outcome::Failed { pause: None },
    }
}

fn of_status(verb: Verb, status: &Status) -> Outcome {
    match (status.code, verb) {
        (409, Verb::Create) => Outcome::Exists,
        (404, Verb::Patch) => Outcome::Gone,
        (403, _) if is_namespace_terminating(status) => Outcome::Rejected,
        (403, _) => Outcome::Refused,
        // The namespace is gone, or the event is malformed: no later try can work.
        (404 | 400 | 405 | 406 | 413 | 415 | 422, _) => Outcome::Rejected,
        _ => Outcome::Failed { pause: pause(status) },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn answered(verb: Verb, status: serde_json::Value) -> Outcome {
        let status: Status = serde_json::from_value(status).unwrap();
        outcome(verb, &Error::Api(Box::new(status)))
    }

    #[test]
    fn the_table() {
        let code = |verb, code: u16| answered(verb, json!({ "code": code, "message": "m", "reason": "r" }));
        assert_eq!(code(Verb::Create, 409), Outcome::Exists);
        assert_eq!(code(Verb::Patch, 404), Outcome::Gone);
        assert_eq!(code(Verb::Create, 404), Outcome::Rejected);
        assert_eq!(code(Verb::Create, 403), Outcome::Refused);
        assert_eq!(code(Verb::Create, 422), Outcome::Rejected);
        for failed in [401, 408, 429, 500, 503, 504] {
            assert_eq!(code(Verb::Patch, failed), Outcome::Failed { pause: None });
        }
        let terminating =
            json!({ "code": 403, "details": { "causes": [{ "reason": "NamespaceTerminating" }] } });
        assert_eq!(answered(Verb::Create, terminating), Outcome::Rejected);
        let busy = json!({ "code": 429, "details": { "retryAfterSeconds": 7 } });
        let pause = Some(Duration::from_secs(7));
        assert_eq!(answered(Verb::Create, busy), Outcome::Failed { pause });
    }
}
