//! What the harness asks of the API server: pods of the namespace `default`, and their end.

use std::time::Instant;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::Session;
use crate::wish::{OBJECT, Refers, api_pod};

/// Pods are deleted so many at once: none waits for another, and the server is not the subject.
const AT_ONCE: usize = 8;

impl Session<'_> {
    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.setting.api.clone(), "default")
    }

    /// Makes the ConfigMap and the Secret that pods refer to, if they are not there.
    pub(super) async fn make_objects(&self) -> Result<()> {
        let body = |kind: &str| json!({ "kind": kind, "metadata": { "name": OBJECT }, "stringData": { "KEY": "value" } });
        let secret: Secret = serde_json::from_value(body("Secret"))?;
        let map = json!({ "metadata": { "name": OBJECT }, "data": { "NAME": "value" } });
        let map: ConfigMap = serde_json::from_value(map)?;
        let (api, how) = (&self.setting.api, PostParams::default());
        let made = [
            Api::default_namespaced(api.clone()).create(&how, &map).await.map(drop),
            Api::default_namespaced(api.clone()).create(&how, &secret).await.map(drop),
        ];
        for made in made {
            match made {
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                made => made.context("failed to make what pods refer to")?,
            }
        }
        Ok(())
    }

    /// Posts the pods back to back, as one client does; gives the moment before each.
    pub(super) async fn post(&self, names: &[String], refers: Refers) -> Result<Vec<Instant>> {
        let (api, mut posted) = (self.api(), Vec::new());
        for name in names {
            let pod: Pod = serde_json::from_value(api_pod(name, &self.subject.node, refers))?;
            posted.push(Instant::now());
            api.create(&PostParams::default(), &pod).await.context("failed to post a pod")?;
        }
        Ok(posted)
    }

    /// Asks for the graceful end of the pods; gives the moment before each.
    pub(super) async fn request_end(&self, names: &[String], by_force: bool) -> Result<Vec<Instant>> {
        let how = DeleteParams { grace_period_seconds: by_force.then_some(0), ..DeleteParams::default() };
        let (api, how) = (&self.api(), &how);
        let ends = names.iter().map(|name| async move {
            let began = Instant::now();
            match api.delete(name, how).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(began),
                answer => answer.map(|_| began),
            }
        });
        futures::stream::iter(ends).buffered(AT_ONCE).try_collect().await.context("failed to delete a pod")
    }

    /// Pods that were seen and are not gone.
    pub(super) fn standing(&self) -> Vec<String> {
        let pods = self.witness.pods().into_iter().filter(|(_, seen)| seen.gone.is_none());
        pods.map(|(name, _)| name).collect()
    }

    /// Takes all pods away, and waits for it unless by force.
    pub(super) async fn remove_all(&self, by_force: bool) -> Result<()> {
        let names = self.standing();
        self.request_end(&names, by_force).await?;
        if by_force {
            return Ok(());
        }
        self.witness.until_all("the end of the pods", &names, |seen| seen.gone.is_some()).await
    }
}

/// The Node object must not meet the next round.
pub(super) async fn delete_node(client: &kube::Client, node: &str) -> Result<()> {
    match Api::<Node>::all(client.clone()).delete(node, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        answer => answer.map(|_| ()).with_context(|| format!("failed to delete node {node}")),
    }
}
