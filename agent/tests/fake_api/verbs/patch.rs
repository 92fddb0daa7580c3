//! PATCH: strategic merge and JSON merge.

use super::super::merge::{json_merge, strategic_merge};
use super::super::state::State;
use super::super::status::Failure;
use super::{Call, Reply, commit, held};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";

pub fn patch(state: &mut State, call: &Call<'_>) -> Result<Reply, Failure> {
    let target = call.target;
    if !matches!(target.sub(), "" | "status") || (target.sub() == "status" && !target.kind.status) {
        return Err(Failure::no_such_resource());
    }
    let old = held(state, target)?;
    let mut new = (*old).clone();
    match call.content.split(';').next().unwrap_or_default().trim() {
        STRATEGIC => {
            // Upstream has no better word for a patch that makes no sense.
            let refused = |text: String| Failure::new(500, "", text);
            strategic_merge(target.kind.kind, &mut new, &call.body).map_err(refused)?;
        }
        MERGE => json_merge(&mut new, &call.body),
        _ => {
            let text = format!(
                "the body of the request was in an unknown format - accepted media types include: {MERGE}, {STRATEGIC}"
            );
            return Err(Failure::new(415, "UnsupportedMediaType", text));
        }
    }
    Reply::ok(commit(state, target, &old, new)?)
}
