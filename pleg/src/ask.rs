//! Requests to look at pods, merged per pod while the relist loop is busy: asking never waits and is never lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use pinnace_cri::id::{ContainerId, PodUid};
use tokio::sync::Notify;

use crate::seam::{About, Hint};

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
    /// Containers and sandboxes that the event stream named without their pod, and whether by an exit.
    pub(crate) objects: BTreeMap<ContainerId, bool>,
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

    /// The event stream named something of the pod.
    pub(crate) fn hint(&mut self, uid: &PodUid, container: Option<ContainerId>, exit: bool) {
        let ask = self.look(uid);
        ask.hint = true;
        if exit {
            ask.exits.insert(container);
        }
    }
}

impl Asks {
    pub(crate) fn hint(&self, hint: Hint) {
        self.put(|asked| match hint.about {
            About::Pod { uid, container_id } => asked.hint(&uid, container_id, hint.exit),
            About::Object(id) => *asked.objects.entry(id).or_default() |= hint.exit,
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
            if asked.looks.len().saturating_add(asked.objects.len()) > MOST_PODS {
                asked.looks.clear();
                asked.objects.clear();
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
        asks.hint(Hint { about: About::Pod { uid: uid.clone(), container_id: None }, exit: true });
        let asked = asks.take();
        assert_eq!(asked.looks[&uid], Ask { own: true, hint: true, exits: BTreeSet::from([None]) });
        assert!(asks.take().looks.is_empty());
    }

    #[test]
    fn a_flood_becomes_one_list() {
        let asks = Asks::default();
        for number in 0..=MOST_PODS {
            let uid = PodUid::new(&format!("p{number}")).unwrap();
            let id = ContainerId::new(&format!("c{number}")).unwrap();
            let pod = About::Pod { uid, container_id: None };
            let about = if number % 2 == 0 { pod } else { About::Object(id) };
            asks.hint(Hint { about, exit: false });
        }
        let asked = asks.take();
        assert!(asked.list && asked.looks.is_empty() && asked.objects.is_empty());
    }
}
