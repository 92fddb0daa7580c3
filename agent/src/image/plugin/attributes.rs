//! Which token of a pod's service account a program is given: `tokenAttributes` of a provider (KEP-4412). Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::config::Version;
use crate::source::validate::names::qualified;

/// The gate; on unless it is switched off, as in the kubelet since 1.34.
pub const GATE: &str = "KubeletServiceAccountTokenForCredentialProviders";

/// How long what a program answered to a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// For every pod of the service account.
    ServiceAccount,
    /// For that very token.
    Token,
}

/// What a program wants to know of a pod's service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenAttributes {
    /// Whom the token is for.
    pub audience: String,
    /// How its answers are kept.
    pub cache: Cache,
    /// It is not asked for pods without a service account.
    pub required: bool,
    /// Annotations without which it is not asked.
    pub required_keys: Vec<String>,
    /// Annotations that it is told if they are there.
    pub optional_keys: Vec<String>,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Written {
    #[serde(default)]
    service_account_token_audience: String,
    #[serde(default)]
    cache_type: String,
    require_service_account: Option<bool>,
    #[serde(default)]
    required_service_account_annotation_keys: Vec<String>,
    #[serde(default)]
    optional_service_account_annotation_keys: Vec<String>,
}

/// Reads them for a provider that speaks this version; a fault names its field.
pub(super) fn parse(written: Written, version: Version) -> Result<TokenAttributes, String> {
    let wrong = |why: &str| Err(format!("tokenAttributes{why}"));
    if version != Version::V1 {
        return wrong(&format!(": only with apiVersion {}", Version::V1.as_str()));
    }
    if written.service_account_token_audience.is_empty() {
        return wrong(".serviceAccountTokenAudience: must be set");
    }
    let cache = match written.cache_type.as_str() {
        "ServiceAccount" => Cache::ServiceAccount,
        "Token" => Cache::Token,
        other => return wrong(&format!(".cacheType: must be ServiceAccount or Token, not {other:?}")),
    };
    let Some(required) = written.require_service_account else {
        return wrong(".requireServiceAccount: must be set");
    };
    let (required_keys, optional_keys) =
        (written.required_service_account_annotation_keys, written.optional_service_account_annotation_keys);
    if !required && !required_keys.is_empty() {
        return wrong(".requiredServiceAccountAnnotationKeys: needs requireServiceAccount: true");
    }
    let mut known = BTreeSet::new();
    for key in required_keys.iter().chain(&optional_keys) {
        if let Err(why) = qualified(&key.to_ascii_lowercase()) {
            return wrong(&format!(": annotation key {key:?}: {why}"));
        }
        if !known.insert(key) {
            return wrong(&format!(": annotation key {key:?} is there twice"));
        }
    }
    let audience = written.service_account_token_audience;
    Ok(TokenAttributes { audience, cache, required, required_keys, optional_keys })
}

impl TokenAttributes {
    /// What the program is told of an account with these annotations; the first key that is missing if there is one.
    pub(super) fn annotations(
        &self,
        all: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let pair = |key: &String| all.get(key).map(|value| (key.clone(), value.clone()));
        let mut told = BTreeMap::new();
        for key in &self.required_keys {
            told.extend([pair(key).ok_or_else(|| key.clone())?]);
        }
        told.extend(self.optional_keys.iter().filter_map(pair));
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(change: &Value) -> Result<TokenAttributes, String> {
        let mut all = json!({"serviceAccountTokenAudience": "a", "cacheType": "Token", "requireServiceAccount": true,
            "requiredServiceAccountAnnotationKeys": ["x.y/Need"], "optionalServiceAccountAnnotationKeys": ["may"]});
        for (key, value) in change.as_object().unwrap() {
            if value.is_null() {
                all.as_object_mut().unwrap().remove(key)
            } else {
                all[key].clone_from(value);
                None
            };
        }
        parse(serde_json::from_value(all).map_err(|error| error.to_string())?, Version::V1)
    }

    #[test]
    fn what_must_not_be_said_is_named() {
        assert!(parsed(&json!({})).is_ok());
        let none = json!({"requireServiceAccount": false, "requiredServiceAccountAnnotationKeys": null});
        assert!(!parsed(&none).unwrap().required);
        for (change, word) in [
            (json!({"serviceAccountTokenAudience": null}), "serviceAccountTokenAudience"),
            (json!({"cacheType": null}), "cacheType"),
            (json!({"cacheType": "Pod"}), "cacheType"),
            (json!({"requireServiceAccount": null}), "requireServiceAccount"),
            (json!({"requireServiceAccount": false}), "requiredServiceAccountAnnotationKeys"),
            (json!({"optionalServiceAccountAnnotationKeys": ["x.y/Need"]}), "twice"),
            (json!({"optionalServiceAccountAnnotationKeys": ["a", "a"]}), "twice"),
            (json!({"optionalServiceAccountAnnotationKeys": ["a b"]}), "a b"),
            (json!({"other": 1}), "other"),
        ] {
            let error = parsed(&change).unwrap_err();
            assert!(error.contains(word), "{change}: {error}");
        }
        let written =
            json!({"serviceAccountTokenAudience": "a", "cacheType": "Token", "requireServiceAccount": true});
        let older = parse(serde_json::from_value(written).unwrap(), Version::V1Beta1).unwrap_err();
        assert!(older.contains("credentialprovider.kubelet.k8s.io/v1"), "{older}");
    }

    #[test]
    fn an_account_is_told_by_the_keys_that_are_named() {
        let attributes = parsed(&json!({})).unwrap();
        let all = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), "1".to_owned())).collect();
        assert_eq!(attributes.annotations(&all(&["may", "other"])), Err("x.y/Need".to_owned()));
        let told = attributes.annotations(&all(&["x.y/Need", "may", "other"])).unwrap();
        assert_eq!(told.into_keys().collect::<Vec<_>>(), ["may", "x.y/Need"]);
        let told = attributes.annotations(&all(&["x.y/Need"])).unwrap();
        assert_eq!(told.len(), 1);
    }
}
