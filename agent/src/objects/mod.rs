//! ConfigMaps and Secrets that pods refer to, whoever asks: volumes, environment and image pulls have one place to get
//! them from. By name only: the Node authorizer grants a node no more, and nothing here lists.

pub mod data;
pub(crate) mod fetch;
pub mod references;
pub mod service;
mod trust;

use std::sync::Arc;

use kube::Client;
use pinnace_cri::id::PodUid;

pub use data::Data;
pub(crate) use fetch::{Fetch, FetchError, told};
pub use service::{ServiceInfo, ServicePort};

use crate::source::desired::DesiredPod;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace: that of the pod that refers to it.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Kinds that a pod refers to by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `configmaps`.
    ConfigMap,
    /// `secrets`.
    Secret,
}

impl Kind {
    /// The kind in the words of errors: `configmap`, `secret`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

impl Reference {
    /// In the words of an API server that has no such object, with the kind as the kubelet names it.
    #[must_use]
    pub fn not_found(&self) -> String {
        format!("{} {:?} not found", self.kind.word(), self.name)
    }
}

/// The objects. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    fetch: Option<Fetch>,
}

impl Objects {
    /// Objects of this API server.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { fetch: Some(Fetch::new(client)) }
    }

    /// The object as it is now; none if it does not exist. Takes at most some seconds.
    pub async fn get(&self, reference: &Reference) -> Result<Option<Arc<Data>>, FetchError> {
        let Some(fetch) = &self.fetch else { return Err(FetchError::NoServer) };
        Ok(fetch.object(reference).await?.map(Arc::new))
    }

    /// The pod refers to its objects from now on: they are watched. Again with the same pod is no more than once.
    pub fn hold(&self, _pod: &DesiredPod) {}

    /// The pod is gone; what nobody refers to is dropped some minutes later. One that was never held is no error.
    pub fn release(&self, _uid: &PodUid) {}

    /// The Services of a namespace, by name. Waits some seconds for the first list, and fails before that. Without an
    /// API server there are none.
    pub async fn services(&self, _namespace: &str) -> Result<Arc<[ServiceInfo]>, FetchError> {
        match self.fetch {
            Some(_) => Err(FetchError::Unsynced),
            None => Ok(Arc::default()),
        }
    }

    /// For tokens, which are asked for and never shared.
    pub(crate) fn fetch(&self) -> Result<&Fetch, FetchError> {
        self.fetch.as_ref().ok_or(FetchError::NoServer)
    }
}
