//! A pod's own credentials: the Secrets that its `imagePullSecrets` name. Asks [`Objects`]; writes nothing.

use std::sync::Arc;

use futures::future::join_all;

use super::decode::{Format, Malformed, logins};
use super::{Keyring, ObjectName, Source};
use crate::objects::{Data, Kind, Objects, Reference};
use crate::source::desired::DesiredPod;

/// What the pod's Secrets came to.
#[derive(Debug, Default)]
pub struct PodSecrets {
    /// The credentials.
    pub keyring: Keyring,
    /// Secrets that there was no reading of; a pull goes on without them.
    pub missing: Vec<String>,
    /// The first Secret that is of a right type and cannot be used, which ends a pull.
    pub malformed: Option<(String, Malformed)>,
}

/// Reads the pod's Secrets.
pub async fn of_pod(objects: &Objects, pod: &DesiredPod) -> PodSecrets {
    let spec = pod.pod.spec.as_ref();
    let named = spec.and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
    let names: Vec<&str> =
        named.iter().map(|secret| secret.name.as_str()).filter(|name| !name.is_empty()).collect();
    let read = names.iter().map(|name| {
        let (namespace, name) = (pod.namespace.clone(), (*name).to_owned());
        let reference = Reference { kind: Kind::Secret, namespace, name };
        async move { objects.get(&reference).await }
    });
    let mut found = PodSecrets::default();
    for (name, secret) in names.iter().zip(join_all(read).await) {
        match secret {
            Ok(Some(data)) => found.take(&pod.namespace, name, &data),
            Ok(None) => found.missing.push((*name).to_owned()),
            Err(error) => {
                tracing::debug!(secret = name, namespace = pod.namespace, %error, "failed to get a pull secret");
                found.missing.push((*name).to_owned());
            }
        }
    }
    found
}

impl PodSecrets {
    fn take(&mut self, namespace: &str, name: &str, data: &Arc<Data>) {
        let (format, key) = match data.type_.as_str() {
            "kubernetes.io/dockerconfigjson" => (Format::ConfigJson, ".dockerconfigjson"),
            "kubernetes.io/dockercfg" => (Format::Dockercfg, ".dockercfg"),
            // Of no use for pulls, which is no mistake of the image's.
            _ => return,
        };
        let Some(text) = data.values.get(key).filter(|text| !text.bytes().is_empty()) else { return };
        match logins(text.bytes(), format) {
            Ok(found) => {
                let uid = data.version.0.clone();
                let source = ObjectName { uid, namespace: namespace.to_owned(), name: name.to_owned() };
                self.keyring.add(found, Some(&Source::Secret(source)));
            }
            Err(error) => {
                self.malformed.get_or_insert((name.to_owned(), error));
            }
        }
    }
}
