//! Runtime classes: which handler of the runtime a pod's sandbox is made with. By name from the API server, each time a
//! sandbox is made; the last answer serves while the API server is away, since the handler of a class never changes.
//! Overhead needs no class: admission writes it into the pod.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::api::decoded::Decoded;
use crate::api::fault::meaning;
use crate::api::patience::CALL;

/// Classes that are remembered; a cluster has a handful.
const MOST: usize = 256;

/// Why there is no handler.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// There is no such class, in the words of the kubelet's cache.
    #[error("runtimeclass.node.k8s.io {0:?} not found")]
    Absent(String),
    /// The API server was not reached or said no.
    #[error("failed to look up RuntimeClass {name}: {}", meaning(.source))]
    Api {
        /// Which class.
        name: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// It did not answer.
    #[error("failed to look up RuntimeClass {0}: the API server did not answer in time")]
    Silent(String),
    /// There is none to ask.
    #[error("RuntimeClass {0} cannot be looked up: no API server is configured: --kubeconfig")]
    NoServer(String),
}

/// The classes. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct RuntimeClasses {
    client: Option<Client>,
    known: Arc<Mutex<BTreeMap<String, String>>>,
}

impl std::fmt::Debug for RuntimeClasses {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RuntimeClasses")
    }
}

impl RuntimeClasses {
    /// Classes of this API server.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client: Some(client), known: Arc::default() }
    }

    /// The handler of a pod with this `runtimeClassName`; empty, the runtime's default, if it names none.
    pub async fn handler(&self, class: Option<&str>) -> Result<String, ClassError> {
        let Some(name) = class.filter(|name| !name.is_empty()) else { return Ok(String::new()) };
        let Some(client) = &self.client else { return Err(ClassError::NoServer(name.to_owned())) };
        let api: Api<Decoded<RuntimeClass>> = Api::all(client.clone());
        let asked = timeout(CALL, Box::pin(api.get_opt(name))).await;
        let failed = match asked {
            Ok(Ok(Some(Decoded(class)))) => {
                self.remember(name, Some(&class.handler));
                return Ok(class.handler);
            }
            Ok(Ok(None)) => {
                self.remember(name, None);
                return Err(ClassError::Absent(name.to_owned()));
            }
            Ok(Err(error)) => ClassError::Api { name: name.to_owned(), source: Box::new(error) },
            Err(_) => ClassError::Silent(name.to_owned()),
        };
        self.remembered(name).ok_or(failed)
    }

    fn remember(&self, name: &str, handler: Option<&str>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match handler {
            Some(handler) if known.len() < MOST => known.insert(name.to_owned(), handler.to_owned()),
            _ => known.remove(name),
        };
    }

    fn remembered(&self, name: &str) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_class_is_the_default_handler_and_no_server_is_told() {
        let classes = RuntimeClasses::default();
        assert_eq!(classes.handler(None).await.unwrap(), "");
        assert_eq!(classes.handler(Some("")).await.unwrap(), "");
        let error = classes.handler(Some("gvisor")).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "RuntimeClass gvisor cannot be looked up: no API server is configured: --kubeconfig"
        );
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let classes = RuntimeClasses::default();
        classes.remember("a", Some("runc"));
        assert_eq!(classes.remembered("a").as_deref(), Some("runc"));
        classes.remember("a", None);
        assert_eq!(classes.remembered("a"), None);
    }
}
