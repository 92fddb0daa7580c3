//! The JSON that is spoken with a program: `CredentialProviderRequest` and `CredentialProviderResponse`. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::account::Identity;
use super::config::Version;
use crate::config::duration::GoDuration;

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Scope {
    /// This image.
    Image,
    /// Every image of its registry.
    Registry,
    /// Every image that the provider is for.
    Global,
}

/// An answer. Never shown.
pub(super) struct Answer {
    pub(super) scope: Scope,
    /// How long it may be kept; none leaves that to the configuration.
    pub(super) kept_for: Option<Duration>,
    /// Address, user, password.
    pub(super) logins: Vec<(String, String, String)>,
}

/// Bytes that are no answer. What is in them is not told: it may be credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a CredentialProviderResponse of the version that is configured")]
pub(super) struct NoAnswer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Response {
    kind: String,
    api_version: Version,
    cache_key_type: Scope,
    cache_duration: Option<GoDuration>,
    #[serde(default)]
    auth: Option<BTreeMap<String, Auth>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Auth {
    username: String,
    password: String,
}

/// The question.
pub(super) fn request(version: Version, image: &str, identity: Option<&Identity>) -> Vec<u8> {
    let mut request =
        json!({"kind": "CredentialProviderRequest", "apiVersion": version.as_str(), "image": image});
    if let (Some(identity), Some(request)) = (identity, request.as_object_mut()) {
        let token = String::from_utf8_lossy(identity.token.bytes());
        request.insert("serviceAccountToken".to_owned(), json!(token));
        if !identity.annotations.is_empty() {
            request.insert("serviceAccountAnnotations".to_owned(), json!(identity.annotations));
        }
    }
    format!("{request}\n").into_bytes()
}

/// The answer.
pub(super) fn answer(version: Version, bytes: &[u8]) -> Result<Answer, NoAnswer> {
    let response: Response = serde_json::from_slice(bytes).map_err(|_| NoAnswer)?;
    if response.kind != "CredentialProviderResponse" || response.api_version != version {
        return Err(NoAnswer);
    }
    let kept_for = response.cache_duration.map(|length| length.to_std().ok_or(NoAnswer)).transpose()?;
    let logins = response.auth.unwrap_or_default().into_iter();
    let logins = logins.map(|(address, auth)| (address, auth.username, auth.password)).collect();
    Ok(Answer { scope: response.cache_key_type, kept_for, logins })
}
