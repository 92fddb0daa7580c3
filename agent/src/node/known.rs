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

    /// Takes in that there is no object.
    pub fn gone(&self) {
        self.newest.send_if_modified(|newest| newest.take().is_some());
    }
}

/// Resource versions grow (KEP-5504); one that is no number says nothing, and the object counts as news.
fn supersedes(node: &Node, known: &Node) -> bool {
    let version = |node: &Node| node.metadata.resource_version.as_ref()?.parse::<u64>().ok();
    match (version(node), version(known)) {
        (Some(new), Some(old)) if node.metadata.uid == known.metadata.uid => new > old,
        _ => node != known,
    }
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
        known.gone();
        assert_eq!(version(), None);
    }
}
