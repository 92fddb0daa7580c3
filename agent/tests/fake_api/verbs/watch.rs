//! WATCH: where the stream begins.

use std::time::Duration;

use super::super::state::State;
use super::super::status::Failure;
use super::super::watch_stream::Start;
use super::{Call, Reply};

/// Upstream ends a watch without timeout after 30 to 60 minutes.
const TIMEOUT: Duration = Duration::from_secs(1_800);

pub fn watch(state: &State, call: &Call<'_>) -> Result<Reply, Failure> {
    let (target, asked) = (call.target, call.asked);
    let version = asked.version()?;
    if asked.initial_events && asked.version_match != "NotOlderThan" {
        let text = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires \
                    setting resourceVersionMatch to NotOlderThan";
        return Err(Failure::new(422, "Invalid", text));
    }
    let mut start = Start {
        kind: target.kind,
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        selector: asked.selector.clone(),
        version,
        initial: Vec::new(),
        mark_initial: asked.initial_events && asked.bookmarks,
        bookmarks: asked.bookmarks,
        timeout: asked.timeout.unwrap_or(TIMEOUT),
        expired: None,
    };
    if asked.initial_events && !state.streamed_lists {
        let text = "a watch stream was requested by the client but the required storage feature RequestWatchProgress is \
                    disabled";
        start.expired = Some(Failure::new(500, "InternalError", text));
        start.mark_initial = false;
    } else if asked.initial_events || version == 0 {
        let objects = state.store.all(target.kind, target.namespace.as_deref()).into_iter();
        let named = objects.filter(|(key, _)| target.name.as_ref().is_none_or(|name| *name == key.name));
        let shown = named.map(|(_, object)| object).filter(|object| asked.selector.matches(object));
        start.initial = shown.collect();
        start.version = state.store.version();
    } else if version < state.store.oldest() {
        let text = format!("too old resource version: {version} ({})", state.store.oldest());
        start.expired = Some(Failure::expired(text));
    }
    Ok(Reply::Watch(Box::new(start)))
}
