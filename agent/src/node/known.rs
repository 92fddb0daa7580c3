//! The node's object as the API last showed it, whoever asked: the newest of what a watch, a read or the answer to a
//! write brought.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;

/// Takes in objects and passes the newest on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Known {
    newest: Arc<watch::Sender<Option<Arc<Node>>>>,
}

impl Default for Known {
    fn default() -> Self {
        Self { newest: Arc::new(watch::Sender::new(None)) }
    }
}

impl Known {
    /// The reader's end.
    #[must_use]
    pub fn reader(&self) -> watch::Receiver<Option<Arc<Node>>> {
        self.newest.subscribe()
    }

    /// The newest object; none if there is none, or nobody has looked.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Node>> {
        self.newest.borrow().clone()
    }

    /// Takes in an object, unless a newer state of it is known.
    pub fn learn(&self, mut node: Node) {
        // A list of who wrote which field; nobody here reads it.
        node.metadata.managed_fields = None;
        self.newest.send_if_modified(|newest| {
            let is_news = newest.as_ref().is_none_or(|newest| supersedes(&node, newest));
            if is_news {
                *newest = Some(Arc::new(node));
            }
            is_news
        });
    }

    /// Takes in that there was no object at this resource version. One that is known from later was made since: a list
    /// may be on its way while the object is made.
    pub fn absent_at(&self, version: &str) {
        let absent: Option<u64> = version.parse().ok();
        self.newest.send_if_modified(|newest| {
            let known = newest.as_ref().and_then(|newest| version_of(newest));
            let is_later = known.zip(absent).is_some_and(|(known, absent)| known > absent);
            !is_later && newest.take().is_some()
        });
    }
}

/// Resource versions grow (KEP-5504); one that is no number says nothing, and the object counts as news.
fn supersedes(node: &Node, known: &Node) -> bool {
    match (version_of(node), version_of(known)) {
        (Some(new), Some(old)) if node.metadata.uid == known.metadata.uid => new > old,
        _ => node != known,
    }
}

fn version_of(node: &Node) -> Option<u64> {
    node.metadata.resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn node(uid: &str, version: &str) -> Node {
        let (uid, version) = (Some(uid.to_owned()), Some(version.to_owned()));
        Node {
            metadata: ObjectMeta { uid, resource_version: version, ..ObjectMeta::default() },
            ..Node::default()
        }
    }

    #[test]
    fn older_states_do_not_come_back() {
        let known = Known::default();
        let version = || known.current().and_then(|node| node.metadata.resource_version.clone());
        known.learn(node("a", "9"));
        known.learn(node("a", "10"));
        known.learn(node("a", "9"));
        assert_eq!(version().as_deref(), Some("10"));
        known.learn(node("b", "3"));
        assert_eq!(version().as_deref(), Some("3"));
        known.absent_at("3");
        assert_eq!(version(), None);
    }

    #[test]
    fn an_absence_from_before_the_object_was_made_is_no_news() {
        let known = Known::default();
        known.learn(node("a", "10"));
        known.absent_at("9");
        assert!(known.current().is_some());
        known.absent_at("");
        assert!(known.current().is_none());
    }
}
