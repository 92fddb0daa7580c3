//! Errors as the server words them: a `metav1.Status` with code, reason, message and details.
//!
//! Texts and reasons: k8s.io/apimachinery `pkg/api/errors/errors.go`, k8s.io/apiserver `registry/generic/registry`.

use serde_json::{Map, Value, json};

use super::kinds::{Kind, Target};

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// `details` of the Status; Null for none.
    pub details: Value,
    /// Seconds; also sent as the header Retry-After.
    pub retry_after: Option<u32>,
    /// A continue token to go on with, in the metadata of a 410.
    pub continuation: Option<String>,
}

impl Failure {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, details: Value::Null, retry_after: None, continuation: None }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = Map::new();
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details.insert(key.to_owned(), json!(value));
            }
        }
        self.details = Value::Object(details);
        self
    }

    fn on(self, kind: &Kind, name: &str) -> Self {
        self.about(kind.group, kind.plural, name)
    }

    pub fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.qualified());
        Self::new(404, "NotFound", message).on(kind, name)
    }

    /// No such path.
    pub fn no_such_resource() -> Self {
        let mut failure = Self::new(404, "NotFound", "the server could not find the requested resource");
        failure.details = json!({});
        failure
    }

    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.qualified());
        Self::new(409, "AlreadyExists", message).on(kind, name)
    }

    pub fn conflict(kind: &Kind, name: &str, cause: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {cause}", kind.qualified());
        Self::new(409, "Conflict", message).on(kind, name)
    }

    /// A precondition of a DELETE that does not hold: here the server names the kind, not the resource.
    pub fn delete_conflict(kind: &Kind, name: &str, cause: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {cause}", kind.qualified_kind());
        Self::new(409, "Conflict", message).about(kind.group, kind.kind, name)
    }

    /// The object is not the version that the writer read.
    pub fn stale_write(kind: &Kind, name: &str) -> Self {
        const TEXT: &str =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, TEXT)
    }

    /// A UID given in a PUT that is not the object's: the storage layer's own words.
    pub fn storage_uid(target: &Target, given: &str, held: &str) -> Self {
        let plural = if target.kind.plural == "nodes" { "minions" } else { target.kind.plural };
        let place = if target.kind.namespaced { format!("{}/", target.namespace()) } else { String::new() };
        let cause = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{plural}/{place}{}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {held}",
            target.name()
        );
        Self::conflict(target.kind, target.name(), &cause)
    }

    pub fn forbidden(target: &Target, cause: &str) -> Self {
        let resource = target.kind.qualified();
        let message = match target.name() {
            "" => format!("{resource} is forbidden: {cause}"),
            name => format!("{resource} {name:?} is forbidden: {cause}"),
        };
        Self::new(403, "Forbidden", message).on(target.kind, target.name())
    }

    /// Failed validation; each fault is a field, its type (`FieldValueInvalid`…) and what is wrong with it.
    pub fn invalid(kind: &Kind, name: &str, faults: &[(String, &str, String)]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for (field, _, text) in faults {
            let text = format!("{field}: {text}");
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let joined = if texts.len() == 1 { texts.join("") } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{} {name:?} is invalid: {joined}", kind.qualified_kind());
        let mut failure = Self::new(422, "Invalid", message).about(kind.group, kind.kind, name);
        let causes: Vec<Value> = faults
            .iter()
            .map(|(field, cause, text)| json!({ "reason": cause, "message": text, "field": field }))
            .collect();
        failure.details["causes"] = json!(causes);
        failure
    }

    /// A field that may not change.
    pub fn immutable(field: &str, given: &str) -> (String, &'static str, String) {
        (field.to_owned(), "FieldValueInvalid", format!("Invalid value: {given:?}: field is immutable"))
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn too_many(seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", "too many requests, please try again later").after(seconds)
    }

    pub fn internal(cause: &str) -> Self {
        let mut failure = Self::new(500, "InternalError", format!("Internal error occurred: {cause}"));
        failure.details = json!({ "causes": [{ "message": cause }] });
        failure
    }

    pub fn unavailable(message: &str) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// A version that the server has not reached.
    pub fn future_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut failure = Self::new(504, "Timeout", message).after(1);
        let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
        failure.details = json!({ "causes": [cause] });
        failure
    }

    /// The body.
    pub fn body(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continuation {
            metadata.insert("continue".to_owned(), json!(token));
        }
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after {
            if details.is_null() {
                details = json!({});
            }
            details["retryAfterSeconds"] = json!(seconds);
        }
        if !details.is_null() {
            body["details"] = details;
        }
        body
    }
}
