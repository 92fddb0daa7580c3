//! LIST: selection, versions, pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::super::faults::Fault;
use super::super::kinds::Kind;
use super::super::state::State;
use super::super::status::Failure;
use super::super::store::{Key, Object};
use super::{Call, Reply};

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start \
                       a new list without the continue parameter, or use the continue token in this response to \
                       retrieve the remainder of the results. Continuing with the provided token results in an \
                       inconsistent list - objects that were created, modified, or deleted between the time the \
                       first chunk was returned and now may show up in the list.";

/// Where a list goes on: the version that all its pages show, and the last key that was given.
struct Token {
    /// None: whatever is newest.
    version: Option<u64>,
    after: String,
}

pub fn list(state: &State, call: &Call<'_>) -> Result<Reply, Failure> {
    let (target, asked) = (call.target, call.asked);
    let token = asked.continuation.as_deref().map(decode).transpose()?;
    let version = version(state, call, token.as_ref())?;
    let namespace = target.namespace.as_deref();
    let objects = match version {
        Some(version) => state.store.all_at(target.kind, namespace, version),
        None => state.store.all(target.kind, namespace),
    };
    let shown = version.unwrap_or_else(|| state.store.version());
    let empty = call.faults.iter().any(|fault| matches!(fault, Fault::EmptyList));
    let after = token.map(|token| token.after).unwrap_or_default();
    let wanted =
        |(key, object): &(Key, Object)| !empty && place(key) > after && asked.selector.matches(object);
    let found: Vec<_> = objects.into_iter().filter(wanted).collect();
    // Upstream serves resourceVersion=0 from its cache, which knows no pages.
    let limit = asked.limit.filter(|_| asked.version != "0").unwrap_or(usize::MAX);
    let page = found.get(..limit.min(found.len())).unwrap_or_default();
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(shown.to_string()));
    if let (true, Some((last, _))) = (page.len() < found.len(), page.last()) {
        metadata.insert("continue".to_owned(), json!(encode(Some(shown), &place(last))));
        if asked.selector.is_empty() {
            metadata.insert("remainingItemCount".to_owned(), json!(found.len() - page.len()));
        }
    }
    Reply::ok(Arc::new(body(target.kind, metadata, page)))
}

fn body(kind: &Kind, metadata: Map<String, Value>, page: &[(Key, Object)]) -> Value {
    let bare = |(_, object): &(Key, Object)| {
        let mut item = (**object).clone();
        // Items of a typed list do not say what they are.
        if let Some(map) = item.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        item
    };
    let items: Vec<Value> = page.iter().map(bare).collect();
    json!({ "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": metadata, "items": items })
}

/// The old version to show, or None for the newest.
fn version(state: &State, call: &Call<'_>, token: Option<&Token>) -> Result<Option<u64>, Failure> {
    let stale = call
        .faults
        .iter()
        .find_map(|fault| if let Fault::StaleList(version) = fault { Some(*version) } else { None });
    if stale.is_some() {
        return Ok(stale);
    }
    let oldest = state.store.oldest();
    if let Some(token) = token {
        return match token.version {
            Some(version) if version < oldest => {
                let mut gone = Failure::expired(TOO_OLD);
                gone.continuation = Some(encode(None, &token.after));
                Err(gone)
            }
            version => Ok(version),
        };
    }
    let asked = call.asked.version()?;
    if asked > state.store.version() {
        return Err(Failure::future_version(asked, state.store.version()));
    }
    if call.asked.version_match == "Exact" {
        if asked < oldest {
            return Err(Failure::expired("The resourceVersion for the provided list is too old."));
        }
        return Ok(Some(asked));
    }
    Ok(None)
}

/// The order of keys, as one string.
fn place(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

fn encode(version: Option<u64>, after: &str) -> String {
    let version = version.map_or(json!(-1), |version| json!(version));
    URL_SAFE_NO_PAD
        .encode(json!({ "v": "meta.k8s.io/v1", "rv": version, "start": format!("{after}\u{0}") }).to_string())
}

fn decode(given: &str) -> Result<Token, Failure> {
    let refused = || Failure::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(given).map_err(|_| refused())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| refused())?;
    let start = value["start"].as_str().ok_or_else(refused)?;
    Ok(Token { version: value["rv"].as_u64(), after: start.trim_end_matches('\u{0}').to_owned() })
}
