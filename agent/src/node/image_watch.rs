//! Lists the runtime's images for the node's status. Owns nothing else; woken by time and by whoever pulled or removed
//! one; writes the names of the largest when they change; ends with the stop token.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerImage;
use pinnace_cri::client::Client;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::images::largest;

/// The kubelet's image cache is renewed this often (`pkg/kubelet/images/image_gc_manager.go`).
const PERIOD: Duration = Duration::from_secs(30);
/// Several pulls that end together are one look.
const SETTLE: Duration = Duration::from_millis(500);

/// Names of images; none before the first list.
pub type Named = Option<Arc<Vec<ContainerImage>>>;

/// The loop.
#[derive(Debug)]
pub struct ImageWatch {
    client: Client,
    most: Option<usize>,
    wake: Arc<Notify>,
    named: watch::Sender<Named>,
}

impl ImageWatch {
    /// The loop and its reader's end. At most `most` images are named.
    #[must_use]
    pub fn new(client: Client, most: Option<usize>, wake: Arc<Notify>) -> (Self, watch::Receiver<Named>) {
        let (named, reader) = watch::channel(None);
        (Self { client, most, wake, named }, reader)
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut due = interval(PERIOD);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.wake.notified() => tokio::time::sleep(SETTLE).await,
                _ = due.tick() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.pass() => {}
            }
        }
    }

    /// A list that fails leaves the last one; the runtime's own watch tells of it.
    async fn pass(&self) {
        let Ok(listed) = self.client.list_images(None).await else { return };
        let named = largest(&listed.items, self.most);
        self.named.send_if_modified(|last| {
            let is_news = last.as_ref().is_none_or(|last| **last != named);
            if is_news {
                *last = Some(Arc::new(named));
            }
            is_news
        });
    }
}
