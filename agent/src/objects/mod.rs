//! ConfigMaps, Secrets and Services that pods refer to, whoever asks: volumes, environment and image pulls have one
//! place to get them from.
//!
//! ```text
//!  pods ──hold, release──▶ book ◀──read── get, services ◀── volumes, environment, pulls
//!                          │  ▲ └──changed──▶ volumes
//!                   keeper ▼  │ write
//!                          followers ──list, watch──▶ API server
//! ```
//!
//! ConfigMaps and Secrets by name only: the Node authorizer grants a node no more. Of Services and ClusterTrustBundles
//! all are listed, as soon as a pod needs one. Each is followed once, however many
//! pods refer to it, and what was heard last is kept while the API server is away. Without an API server the manifests
//! beside the static pods are all there is; there are no Services then.

mod again;
mod book;
pub mod data;
pub(crate) mod fetch;
mod follow;
mod keeper;
mod lanes;
mod last_services;
mod list_watch;
pub mod manifests;
mod reach;
pub mod references;
pub mod service;
mod trust;
mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use pinnace_cri::id::PodUid;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use data::Data;
pub(crate) use fetch::{Fetch, FetchError, told};
pub use keeper::Keeper;
pub use service::{ServiceInfo, ServicePort};
pub use trust::{Bundle, Bundles};

use crate::api::connections::Connections;
use crate::api::patience::CALL;
use crate::disk::Disk;
use crate::pod::changed::Changed;
use crate::source::desired::{DesiredPod, Origin};
use book::{Answer, Book, Slot, Subject};
use last_services::LastServices;
use manifests::Manifests;

/// An absence that was heard of so long ago is asked about again: its end may be on its way.
const ABSENCE_LASTS: Duration = Duration::from_secs(1);

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

/// How changes of objects are noticed: `configMapAndSecretChangeDetectionStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// By a watch.
    #[default]
    Watch,
    /// By asking once a minute. Who wants an object gets one that is no older than that, and none from before its pod
    /// came.
    Cache,
    /// By asking once a minute, and whenever somebody wants an object.
    Get,
}

impl Strategy {
    /// By its name in a KubeletConfiguration, whose validation admits no other.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "Cache" => Self::Cache,
            "Get" => Self::Get,
            _ => Self::Watch,
        }
    }
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
#[derive(Clone)]
pub struct Objects {
    book: Arc<Book>,
    supply: Supply,
    last_services: Option<LastServices>,
}

/// Where objects come from.
#[derive(Clone)]
enum Supply {
    /// Files.
    Manifests(Manifests),
    /// An API server; nothing is followed without a strategy.
    Server(Fetch, Option<Strategy>),
}

impl Default for Objects {
    /// No API server, and no manifest until the first are read.
    fn default() -> Self {
        Self { book: Arc::default(), supply: Supply::Manifests(Manifests::default()), last_services: None }
    }
}

impl Objects {
    /// Objects of this API server, each asked for whenever it is wanted, and never watched.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { book: Arc::default(), supply: Supply::Server(Fetch::new(client), None), last_services: None }
    }

    /// Objects of this API server, and the loop that follows them: calls go over `calls`, watches over `watches`.
    #[must_use]
    pub fn following(calls: Client, watches: Connections, strategy: Strategy) -> (Self, Keeper) {
        let (fetch, book) = (Fetch::new(calls), Arc::<Book>::default());
        let keeper = Keeper::new(Arc::clone(&book), fetch.clone(), watches, strategy);
        (Self { book, supply: Supply::Server(fetch, Some(strategy)), last_services: None }, keeper)
    }

    /// Objects that know the last list of Services from the agent's own directory, `<root>/pinnace`, and the loop that
    /// keeps it there for the next start.
    pub fn remembering(
        self,
        disk: Arc<dyn Disk>,
        own: &Path,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let last = LastServices::new(disk, own);
        let kept = last_services::keep(last.clone(), Arc::clone(&self.book), stop);
        (Self { last_services: Some(last), ..self }, kept)
    }

    /// The pod refers to its objects from now on, and to those of its last version no longer. Again with the same pod
    /// changes nothing.
    pub fn hold(&self, pod: &DesiredPod) {
        let mut subjects: BTreeSet<Subject> =
            references::references(&pod.pod).into_iter().map(Subject::Object).collect();
        match self.supply {
            // What a manifest refers to is in manifests, and these are refused where there is an API server.
            Supply::Server(..) if pod.origin == Origin::Api => {
                subjects.insert(Subject::Services);
                subjects.extend(references::shows_bundles(&pod.pod).then_some(Subject::Bundles));
            }
            Supply::Server(..) => subjects.clear(),
            Supply::Manifests(_) => {}
        }
        let is_old = |strategy| strategy == Strategy::Cache && self.book.holds_other(&pod.uid, &subjects);
        if matches!(self.supply, Supply::Server(_, Some(strategy)) if is_old(strategy)) {
            self.book.age(&subjects);
        }
        self.book.hold(&pod.uid, subjects, Instant::now());
    }

    /// The pod is gone; what nobody refers to is dropped some minutes later. One that was never held is no error.
    pub fn release(&self, uid: &PodUid) {
        self.book.release(uid, Instant::now());
        if !matches!(self.supply, Supply::Server(_, Some(_))) {
            // Nothing is kept that would be worth keeping.
            self.book.drop_unused(Instant::now(), Duration::ZERO);
        }
    }

    /// The object; none if it does not exist. What is followed is there at once but for the first time; else this takes
    /// at most some seconds.
    pub async fn get(&self, reference: &Reference) -> Result<Option<Arc<Data>>, FetchError> {
        match &self.supply {
            Supply::Manifests(manifests) => manifests.get(reference, CALL).await,
            Supply::Server(fetch, None | Some(Strategy::Get)) => {
                Ok(fetch.object(reference).await?.map(Arc::new))
            }
            Supply::Server(_, Some(strategy)) => {
                let known = |slot: &Slot| match (strategy, &slot.known) {
                    (Strategy::Cache, _) => slot.is_fresh(Instant::now(), follow::POLL * 2),
                    (_, Some(Answer::Object(Some(_)))) => true,
                    _ => slot.is_fresh(Instant::now(), ABSENCE_LASTS),
                };
                self.heard(&Subject::Object(reference.clone()), known).await?.object()
            }
        }
    }

    /// The Services of a namespace, by name. Waits some seconds for the first list; while there is none, an earlier
    /// run's last serves, and without that too it fails. Without an API server there are none.
    pub async fn services(&self, namespace: &str) -> Result<Arc<[ServiceInfo]>, FetchError> {
        if matches!(self.supply, Supply::Manifests(_)) {
            return Ok(Arc::default());
        }
        let heard = self.heard(&Subject::Services, |slot| slot.known.is_some()).await;
        let all = match (heard.map(|slot| slot.known), &self.last_services) {
            (Ok(Some(Answer::Services(all))), _) => all,
            (_, Some(last)) => last.read().await.ok_or(FetchError::Unsynced)?,
            (Err(error), None) => return Err(error),
            (Ok(_), None) => return Err(FetchError::Unsynced),
        };
        Ok(all.get(namespace).cloned().unwrap_or_default())
    }

    /// All ClusterTrustBundles. Waits some seconds for the first list; from then on the last one that was heard serves,
    /// however long the API server is away.
    pub async fn bundles(&self) -> Result<Arc<Bundles>, FetchError> {
        if matches!(self.supply, Supply::Manifests(_)) {
            return Err(FetchError::NoServer);
        }
        let slot = self.heard(&Subject::Bundles, |slot| slot.known.is_some()).await?;
        match (slot.known, slot.failure) {
            (Some(Answer::Bundles(all)), _) => Ok(all),
            (_, Some(failure)) => Err(failure),
            (_, None) => Err(FetchError::Silent),
        }
    }

    /// The word on a subject, once it is as wanted or was asked for anew.
    async fn heard(&self, subject: &Subject, is_wanted: impl Fn(&Slot) -> bool) -> Result<Slot, FetchError> {
        let (mut slot, asked) = self.book.read(subject, Instant::now());
        let tries = {
            let slot = slot.borrow_and_update();
            if is_wanted(&slot) {
                return Ok(slot.clone());
            }
            slot.tries
        };
        if tries > 0 {
            asked.notify_one();
        }
        // The follower's call has the same deadline, and waits for others' before it.
        let heard = tokio::time::timeout(CALL, slot.wait_for(|slot| slot.tries != tries)).await;
        match heard {
            Ok(Ok(slot)) => Ok(slot.clone()),
            Ok(Err(_)) | Err(_) => Err(FetchError::Silent),
        }
    }

    /// Pods of which an object that they hold is not as it was: it came, changed or went. For one reader.
    #[must_use]
    pub fn changed(&self) -> &Changed {
        &self.book.changed
    }

    /// How many words there were so far on what a pod holds, none of which repeats what was known: an object came,
    /// changed or went, or could be asked for again. Counted from the first reader on; closed by the pod's release.
    #[must_use]
    pub fn words(&self, uid: &PodUid) -> watch::Receiver<u64> {
        self.book.words(uid)
    }

    /// How many objects are followed, or kept for whoever may come.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.book.len()
    }

    /// Manifests will be told of: whoever wants one waits until then. Nothing where an API server is the source.
    pub fn expect_manifests(&self) {
        if let Supply::Manifests(manifests) = &self.supply {
            manifests.expect();
        }
    }

    /// These are all the manifests that there are.
    pub fn tell_manifests(&self, found: manifests::Found) {
        if let Supply::Manifests(manifests) = &self.supply {
            self.book.mark(manifests.set(found).iter());
        }
    }

    /// For tokens, which are asked for and never shared.
    pub(crate) fn fetch(&self) -> Result<&Fetch, FetchError> {
        match &self.supply {
            Supply::Server(fetch, _) => Ok(fetch),
            Supply::Manifests(_) => Err(FetchError::NoServer),
        }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Objects")
    }
}

#[cfg(test)]
mod tests;
