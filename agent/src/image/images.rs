//! Everything that getting an image needs, in one value that all pods share: credentials, records and pulls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use pinnace_cri::client::Client;
use pinnace_cri::content::Content;
use pinnace_cri::id::PodUid;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::image::keyring::Credential;
use crate::image::keyring::node::{NodeFiles, Places};
use crate::image::keyring::secrets::{self, PodSecrets};
use crate::image::lanes::Lanes;
use crate::image::name::Name;
use crate::image::plugin::Plugins;
use crate::image::plugin::account::Asker;
use crate::image::progress::Progress;
use crate::image::pull::Pulls;
use crate::image::rate::Rate;
use crate::image::records::Records;
use crate::image::records::policy::Policy;
use crate::image::resolved::Resolved;
use crate::objects::Objects;
use crate::pod::paths::Dirs;
use crate::source::desired::DesiredPod;

/// Pods whose missing secrets are remembered as told.
const MOST_TOLD: usize = 1_024;

/// How images are got on this node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pulls at once, at least 1.
    pub parallel: usize,
    /// Pulls that may begin in a second; 0 is no limit.
    pub per_second: u32,
    /// Pulls above that at once.
    pub burst: u32,
    /// For which images that are there a pod must show its credentials.
    pub policy: Policy,
    /// Where the node's own credentials are; none has none.
    pub places: Option<Places>,
    /// Programs that know credentials.
    pub plugins: Plugins,
}

impl Default for Settings {
    /// Three at once, five a second after ten at once.
    fn default() -> Self {
        let (policy, plugins) = (Policy::default(), Plugins::default());
        Self { parallel: 3, per_second: 5, burst: 10, policy, places: None, plugins }
    }
}

/// What getting an image needs. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Images {
    objects: Objects,
    node: Option<Arc<NodeFiles>>,
    plugins: Plugins,
    clock: Clock,
    /// Who may have what is there.
    pub records: Records,
    /// Pulls under way.
    pub pulls: Pulls,
    /// How far they are.
    pub progress: Progress,
    /// Volumes whose image was resolved.
    pub resolved: Resolved,
    told: Arc<Mutex<BTreeMap<PodUid, BTreeSet<String>>>>,
}

impl Images {
    /// Images of this runtime.
    #[must_use]
    pub fn new(
        settings: Settings,
        client: &Client,
        objects: Objects,
        disk: &Arc<dyn Disk>,
        dirs: &Dirs,
        clock: &Clock,
    ) -> Self {
        let Settings { parallel, per_second, burst, policy, places, plugins } = settings;
        let records = Records::new(Arc::clone(disk), &dirs.root, policy);
        let progress = Progress::new(Some(Content::new(client)));
        let pulls = Pulls::new(
            client.clone(),
            clock.clone(),
            Lanes::new(parallel),
            Rate::new(per_second, burst),
            records.clone(),
            progress.clone(),
        );
        let node = places.map(|places| Arc::new(NodeFiles::new(Arc::clone(disk), places)));
        let (resolved, told) = (Resolved::default(), Arc::default());
        let clock = clock.clone();
        Self { objects, node, plugins, clock, records, pulls, progress, resolved, told }
    }

    /// What the pod's own Secrets say.
    pub(crate) async fn secrets(&self, pod: &DesiredPod) -> PodSecrets {
        secrets::of_pod(&self.objects, pod).await
    }

    /// What is to be tried for an image, in order: the pod's secrets, the node's files, the node's programs.
    pub(crate) async fn credentials(
        &self,
        pod: &DesiredPod,
        secrets: &PodSecrets,
        name: &Name,
    ) -> Vec<Credential> {
        let mut found = secrets.keyring.lookup(&name.repository);
        if let Some(node) = &self.node {
            found.extend(node.keyring().await.lookup(&name.repository));
        }
        let now = self.clock.now();
        let asker = Asker { pod, objects: &self.objects, now: &now };
        found.extend(self.plugins.lookup(&name.repository, asker).await);
        found
    }

    /// Whether it is new that the pod lacks these secrets.
    pub(crate) fn is_news(&self, pod: &PodUid, missing: &[String]) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST_TOLD && !told.contains_key(pod) {
            told.clear();
        }
        let missing: BTreeSet<String> = missing.iter().cloned().collect();
        !missing.is_empty() && told.insert(pod.clone(), missing.clone()).as_ref() != Some(&missing)
    }
}
