//! Requests to look at pods, merged per pod while the relist loop is busy: asking never waits and is never lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use pinnace_cri::id::{ContainerId, PodUid};
use tokio::sync::Notify;

use crate::seam::Hint;

/// Pods that are asked for by name; beyond that a complete list answers all. The loop empties the set many times a
/// second and a node holds some hundred pods, so only a runtime gone wild comes here.
const MOST_PODS: usize = 4096;

/// Asks the relist loop for a look at a pod; clones ask the same loop.
#[derive(Debug, Clone)]
pub struct Looker {
    asks: Arc<Asks>,
}

impl Looker {
    pub(crate) fn new(asks: Arc<Asks>) -> Self {
        Self { asks }
    }

    /// Asks for a look at the pod that begins after this call.
    pub fn look(&self, uid: &PodUid) {
        self.asks.put(|asked| asked.look(uid).own = true);
    }

    /// Asks for a complete list that begins after this call.
    pub fn list(&self) {
        self.asks.put(|asked| asked.list = true);
    }
}

/// What is asked for and not taken up yet.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    asked: Mutex<Asked>,
    news: Notify,
}

/// Requests since they were last taken.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) looks: BTreeMap<PodUid, Ask>,
    /// A complete list is asked for.
    pub(crate) list: bool,
    /// The event stream was opened (true) or ended.
    pub(crate) stream: Option<bool>,
}

/// Why a pod is to be looked at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// For an action of our own, or a repeat.
    pub(crate) own: bool,
    /// By the event stream.
    pub(crate) hint: bool,
    /// Exits that the stream announced; none stands for a container that it did not name.
    pub(crate) exits: BTreeSet<Option<ContainerId>>,
}

impl Asked {
    fn look(&mut self, uid: &PodUid) -> &mut Ask {
        self.looks.entry(uid.clone()).or_default()
    }
}

impl Asks {
    pub(crate) fn hint(&self, hint: Hint) {
        self.put(|asked| {
            let ask = asked.look(&hint.pod_uid);
            ask.hint = true;
            if hint.exit {
                ask.exits.insert(hint.container_id);
            }
        });
    }

    pub(crate) fn stream(&self, open: bool) {
        self.put(|asked| {
            asked.stream = Some(open);
            asked.list |= open; // what happened while there was none was not announced
        });
    }

    fn put(&self, what: impl FnOnce(&mut Asked)) {
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            what(&mut asked);
            if asked.looks.len() > MOST_PODS {
                asked.looks.clear();
                asked.list = true;
            }
        }
        self.news.notify_one();
    }

    /// Takes all that is asked for.
    pub(crate) fn take(&self) -> Asked {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something is asked for. Safe to drop and call again.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_one_pod_merge() {
        let asks = Arc::new(Asks::default());
        let uid = PodUid::new("a").unwrap();
        Looker::new(Arc::clone(&asks)).look(&uid);
        asks.hint(Hint { pod_uid: uid.clone(), container_id: None, exit: true });
        let asked = asks.take();
        assert_eq!(asked.looks[&uid], Ask { own: true, hint: true, exits: BTreeSet::from([None]) });
        assert!(asks.take().looks.is_empty());
    }

    #[test]
    fn a_flood_becomes_one_list() {
        let asks = Asks::default();
        for number in 0..=MOST_PODS {
            let pod_uid = PodUid::new(&format!("p{number}")).unwrap();
            asks.hint(Hint { pod_uid, container_id: None, exit: false });
        }
        let asked = asks.take();
        assert!(asked.list && asked.looks.is_empty());
    }
}
