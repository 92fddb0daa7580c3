//! Whether a kubeconfig that changed still leads to the same cluster: only there is this node the object that it was.
//! Whoever obeyed another cluster's list of pods would end all those of the one before.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, Config};
use tokio::sync::watch;

use super::decoded::Decoded;
use super::fault::explain;
use super::patience::within;

/// What the node is known by.
#[derive(Debug)]
pub struct Guard {
    node: String,
    uid: watch::Receiver<Option<Arc<str>>>,
    /// The last UID that the node had; none before it was registered.
    last: Option<Arc<str>>,
}

impl Guard {
    /// Guards the node of this name, whose object's UID is told by `uid`.
    #[must_use]
    pub fn new(node: String, uid: watch::Receiver<Option<Arc<str>>>) -> Self {
        Self { node, uid, last: None }
    }

    /// Remembers the UID: the object may be gone when it is asked for.
    pub(super) fn note(&mut self) {
        let now = self.uid.borrow().clone();
        self.last = now.or(self.last.take());
    }

    /// Whether going over from one configuration to the other asks for a proof, and by which UID. A new client
    /// certificate alone does not, nor does anything before the node was registered.
    pub(super) fn asks(&mut self, from: Option<&Config>, to: &Config) -> Option<Arc<str>> {
        self.note();
        let from = from?;
        let same = from.cluster_url == to.cluster_url && from.root_cert == to.root_cert;
        self.last.clone().filter(|_| !same)
    }

    /// Asks the API server that `client` reaches; the error is for people.
    pub(super) async fn prove(&self, client: Client, server: &str, uid: &str) -> Result<(), String> {
        let (nodes, node): (Api<Decoded<Node>>, _) = (Api::all(client), &self.node);
        let kept = "what ran before goes on; to join that cluster, start Pinnace again";
        match within(nodes.get_opt(node)).await {
            Ok(Some(Decoded(found))) if found.metadata.uid.as_deref() == Some(uid) => Ok(()),
            Ok(Some(_)) => Err(format!(
                "API server {server} is another cluster's: its node {node} is another one; {kept}"
            )),
            Ok(None) => {
                Err(format!("API server {server} is another cluster's: it has no node {node}; {kept}"))
            }
            Err(error) => {
                let why = explain(&error, server);
                Err(format!(
                    "the kubeconfig names another API server, which must first show that it is the same cluster's: {why}"
                ))
            }
        }
    }
}
