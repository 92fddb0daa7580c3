//! The parameters of a request's URL.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::Query;
use http::Uri;

use super::selector::Selector;
use super::status::Failure;

/// What a LIST, WATCH or DELETE may ask for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub watch: bool,
    pub limit: Option<usize>,
    pub continuation: Option<String>,
    /// Empty when not given.
    pub version: String,
    pub version_match: String,
    pub bookmarks: bool,
    pub initial_events: bool,
    pub timeout: Option<Duration>,
    pub grace: Option<i64>,
    pub selector: Selector,
}

impl Asked {
    pub fn parse(uri: &Uri) -> Result<Self, Failure> {
        let given = Query::<HashMap<String, String>>::try_from_uri(uri);
        let given = given.map_err(|error| Failure::bad_request(error.to_string()))?.0;
        let word = |key: &str| given.get(key).cloned().unwrap_or_default();
        let flag = |key: &str| matches!(given.get(key).map(String::as_str), Some("true" | "1"));
        let number = |key: &str| given.get(key).and_then(|value| value.parse::<i64>().ok());
        Ok(Self {
            watch: flag("watch"),
            limit: number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0),
            continuation: given.get("continue").filter(|token| !token.is_empty()).cloned(),
            version: word("resourceVersion"),
            version_match: word("resourceVersionMatch"),
            bookmarks: flag("allowWatchBookmarks"),
            initial_events: flag("sendInitialEvents"),
            timeout: number("timeoutSeconds")
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            grace: number("gracePeriodSeconds"),
            selector: Selector::parse(&word("fieldSelector"), &word("labelSelector"))?,
        })
    }

    /// The version as a number; 0 when none is given.
    pub fn version(&self) -> Result<u64, Failure> {
        if self.version.is_empty() {
            return Ok(0);
        }
        let parsed = self.version.parse();
        parsed.map_err(|_| Failure::bad_request(format!("invalid resource version {:?}", self.version)))
    }
}
