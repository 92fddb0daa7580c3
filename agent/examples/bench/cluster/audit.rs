//! Requests of a node, as the API server's audit log has them.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// Where the log ends now.
pub(super) fn end(log: &Path) -> Result<u64> {
    Ok(std::fs::metadata(log)?.len())
}

/// Requests about pods since then, watches left out, by verb and resource.
pub(super) fn since(log: &Path, start: u64, node: &str) -> Result<BTreeMap<String, usize>> {
    let mut file = std::fs::File::open(log)?;
    file.seek(SeekFrom::Start(start))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let user = format!("system:node:{node}");
    let mut calls = BTreeMap::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let word = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (verb, resource) = (word("/verb"), word("/objectRef/resource"));
        let own = ["nodes", "leases", "csinodes", "csidrivers", "services", "runtimeclasses", ""];
        if word("/user/username") == user && verb != "watch" && !own.contains(&resource) {
            let part = word("/objectRef/subresource");
            let slash = if part.is_empty() { "" } else { "/" };
            *calls.entry(format!("{verb} {resource}{slash}{part}")).or_insert(0) += 1;
        }
    }
    Ok(calls)
}
