//! What is known of one pod's object in the API server: the watch's word, and the answers to our own writes, which are
//! often the newer ones. Pure.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use pinnace_cri::id::PodUid;
use serde_json::Value;
use tokio::time::Instant;

/// How long an answer of ours counts although the watch tells of something older: longer than a watch lags, and short
/// enough that an API server which was set back is believed.
const ANSWER_COUNTS: Duration = Duration::from_secs(60);
/// How long an object counts as gone although the watch still has it. Long enough that no storm of requests follows;
/// bounded, since an answer may be wrong.
const GONE_COUNTS: Duration = Duration::from_secs(10);

/// The API server's last known objects, as the watch keeps them.
pub trait Reported: Debug + Send + Sync {
    /// The whole object of this UID, status and resource version included; none if there is none, or it is not known yet.
    fn get(&self, uid: &PodUid) -> Option<Arc<Pod>>;
}

/// What is kept of one pod.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The status that was made last; what it says once is never unsaid.
    pub(super) ours: Option<PodStatus>,
    /// What the API server left out of what it took: writing it again changes nothing.
    pub(super) left_out: Option<Value>,
    /// The status and the difference that are being written.
    pub(super) sent: Option<(PodStatus, Value)>,
    /// The object's deletion was ordered; it goes when others let it go.
    pub(super) deleted: bool,
    target: Option<String>,
    answer: Option<(Arc<Pod>, Instant)>,
    gone: Option<(Option<String>, Instant)>,
}

impl Known {
    /// The object to compare with and to write to.
    pub(super) fn object(&mut self, reported: Option<Arc<Pod>>, now: Instant) -> Option<Arc<Pod>> {
        let reported = reported?;
        if self.target != reported.metadata.uid {
            let (ours, target) = (self.ours.take(), reported.metadata.uid.clone());
            *self = Self { ours, target, ..Self::default() };
        }
        let is_gone = |(version, since): &(Option<String>, Instant)| {
            *version == reported.metadata.resource_version && now.duration_since(*since) < GONE_COUNTS
        };
        if self.gone.as_ref().is_some_and(is_gone) {
            return None;
        }
        self.gone = None;
        let counts = |(pod, since): &(Arc<Pod>, Instant)| {
            now.duration_since(*since) < ANSWER_COUNTS && is_newer(pod, &reported)
        };
        self.answer = self.answer.take().filter(counts);
        Some(self.answer.as_ref().map_or(reported, |(pod, _)| Arc::clone(pod)))
    }

    /// The API server answered with the object.
    pub(super) fn answered(&mut self, pod: Arc<Pod>, now: Instant) {
        if pod.metadata.uid == self.target {
            self.answer = Some((pod, now));
        }
    }

    /// The API server says that there is no such object.
    pub(super) fn vanished(&mut self, reported: Option<&Pod>, now: Instant) {
        self.answer = None;
        self.gone = reported.map(|pod| (pod.metadata.resource_version.clone(), now));
    }
}

/// Versions of one object grow. Where they are no numbers, the watch is believed.
fn is_newer(pod: &Pod, than: &Pod) -> bool {
    let version = |pod: &Pod| pod.metadata.resource_version.as_ref()?.parse::<u128>().ok();
    version(pod).zip(version(than)).is_some_and(|(one, other)| one > other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, version: &str) -> Arc<Pod> {
        let pod = json!({ "metadata": { "uid": uid, "resourceVersion": version } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_newer_word_counts_but_not_for_ever() {
        let (mut known, now) = (Known::default(), Instant::now());
        let version = |pod: Option<Arc<Pod>>| pod.and_then(|pod| pod.metadata.resource_version.clone());
        assert_eq!(version(known.object(Some(pod("u", "8")), now)).as_deref(), Some("8"));
        known.answered(pod("u", "10"), now);
        known.answered(pod("other", "99"), now);
        assert_eq!(version(known.object(Some(pod("u", "9")), now)).as_deref(), Some("10"));
        assert_eq!(version(known.object(Some(pod("u", "11")), now)).as_deref(), Some("11"));
        known.answered(pod("u", "20"), now);
        assert_eq!(version(known.object(Some(pod("u", "3")), now + ANSWER_COUNTS)).as_deref(), Some("3"));
        known.vanished(Some(&pod("u", "3")), now);
        assert_eq!(known.object(Some(pod("u", "3")), now), None);
        assert!(known.object(Some(pod("u", "4")), now).is_some());
        assert_eq!(known.object(None, now), None);
    }
}
