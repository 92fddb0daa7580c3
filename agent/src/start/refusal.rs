//! Ends the process when the API server has a node of this name that cannot be this one. Woken by the node's loops;
//! cancels the stop token. Containers live on, as at every end of the process.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::node::refusal::Refusal;

/// The refusal, if trying again cannot help. Pure.
pub(super) fn fatal(refused: Option<&Refusal>) -> Option<Refusal> {
    refused.filter(|refusal| refusal.is_fatal()).cloned()
}

/// Cancels `stop` once there is such a refusal.
pub(super) async fn stop_at(mut refused: watch::Receiver<Option<Refusal>>, stop: CancellationToken) {
    let is_refused = async { refused.wait_for(|refused| fatal(refused.as_ref()).is_some()).await.is_ok() };
    let is_refused = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        is_refused = is_refused => is_refused,
    };
    if is_refused {
        tracing::error!("the node's name is taken by one that is not virtual, ending; containers live on");
        stop.cancel();
    }
    // Otherwise the node's loops have ended, as they do at the stop.
    stop.cancelled().await;
}
