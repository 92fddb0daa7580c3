//! Whether a kubelet uses the runtime that a virtual node was given. Asks the runtime once it answers; writes one line to
//! the log; ends with the stop token.
//!
//! Everything that Pinnace makes carries its node's name, so a pod's sandbox without one is a kubelet's. A kubelet kills
//! each pod in its runtime that it does not know: sooner or later it would kill this node's.

use std::collections::BTreeMap;
use std::time::Duration;

use pinnace_cri::client::Client;
use pinnace_cri::error::Error;
use pinnace_cri::labels::{OWNER, is_pods};
use tokio_util::sync::CancellationToken;

/// Between two tries while the runtime does not answer, which others complain of.
const RETRY: Duration = Duration::from_secs(5);
/// What helps.
pub const FIX: &str = "a kubelet kills every pod that it does not know: give virtual nodes a containerd of their own and \
                       name it with --container-runtime-endpoint (README, Virtual nodes)";

/// Sandboxes among these labels that are a pod's and name no owner. Pure.
pub fn among<'a>(sandboxes: impl IntoIterator<Item = &'a BTreeMap<String, String>>) -> usize {
    sandboxes.into_iter().filter(|labels| is_pods(labels) && !labels.contains_key(OWNER)).count()
}

/// Sandboxes in the runtime that are a kubelet's.
pub async fn count(client: &Client) -> Result<usize, Error> {
    let sandboxes = client.list_sandboxes(None).await?;
    Ok(among(sandboxes.items.iter().map(|sandbox| &sandbox.labels)))
}

/// Warns of them, once.
pub async fn tell(client: Client, endpoint: String, stop: CancellationToken) {
    let found = async {
        loop {
            match count(&client).await {
                Ok(found) => return found,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        found = found => if found > 0 {
            tracing::warn!(sandboxes = found, runtime = endpoint, fix = FIX, "this runtime holds pods of a kubelet");
        }
    }
    stop.cancelled().await;
}

#[cfg(test)]
mod tests {
    use pinnace_cri::labels::POD_UID;

    use super::*;

    #[test]
    fn only_what_names_no_owner_is_a_kubelets() {
        let labels = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect();
        let all: [BTreeMap<_, _>; 4] =
            [labels(&[POD_UID]), labels(&[POD_UID, OWNER]), labels(&["app"]), labels(&[POD_UID, "app"])];
        assert_eq!(among(&all), 2);
        assert_eq!(among(&all[1..3]), 0);
    }
}
