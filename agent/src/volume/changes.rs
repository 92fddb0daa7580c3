//! Brings changes of ConfigMaps and Secrets into the volumes that show them. Owns nothing; woken by changed objects.
//! Tells [`Volumes`] which pods are concerned, each once for all changes within a fifth of a second: who writes two
//! objects, or one twice, sees one new version. Ends with the stop token.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::objects::Objects;
use crate::volume::set_up::Volumes;

/// How long further changes are waited for.
const COALESCE: Duration = Duration::from_millis(200);

/// Passes changes on until `stop`.
pub async fn pass_on(objects: Objects, volumes: Volumes, stop: CancellationToken) {
    loop {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            first = objects.changed().take(usize::MAX) => first,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(COALESCE) => {}
        }
        let more = objects.changed().take(usize::MAX).now_or_never();
        let uids: BTreeSet<_> = first.into_iter().chain(more.into_iter().flatten()).collect();
        uids.iter().for_each(|uid| volumes.changed(uid));
    }
}
