//! Decides what the content of one manifest wants on this node.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::source::decode::{self, Manifest};
use crate::source::desired::{DesiredPod, Problem};
use crate::source::fault::Fault;
use crate::source::static_pod;

/// Most faults of one file that are reported: a person mends a few at a time.
const MAX_FAULTS: usize = 50;

/// The pod that the content asks for, or everything that is wrong with it.
pub(super) fn judge(
    bytes: &[u8],
    file: &Path,
    node: &str,
    seen: Timestamp,
) -> Result<Arc<DesiredPod>, Vec<Problem>> {
    // A parser's own fault must cost one file, not the node; the values inside are dropped with it.
    let judged = std::panic::catch_unwind(|| pod(bytes, file, node, seen))
        .unwrap_or_else(|_| Err(vec![Fault::whole("could not be parsed: the parser failed inside")]));
    judged
        .map(Arc::new)
        .map_err(|faults| faults.into_iter().take(MAX_FAULTS).map(|fault| fault.into_problem(file)).collect())
}

fn pod(bytes: &[u8], file: &Path, node: &str, seen: Timestamp) -> Result<DesiredPod, Vec<Fault>> {
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    match decode::decode(bytes, is_json)? {
        Manifest::Pod(pod) => static_pod::desired(*pod, file, node, seen),
        Manifest::ConfigMap(_) => Err(vec![waits("ConfigMap")]),
        Manifest::Secret(_) => Err(vec![waits("Secret")]),
    }
}

fn waits(kind: &str) -> Fault {
    Fault::at(
        "kind",
        format!(
            "is {kind}: ConfigMap and Secret files are not used yet, a pod that refers to one waits in Pending"
        ),
    )
}
