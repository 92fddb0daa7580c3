//! Renews the node's lease: the sign of life that the control plane goes by. Owns the lease; woken by time and by the
//! node's uid becoming known; writes `kube-node-lease/NODE`; ends with the token that is cancelled last of all.
//!
//! It depends on nothing that can hang: not on the runtime, nor on the node's status, nor on their connection. The
//! lease says that this machine and its way to the API server live; what the node can do is its status's matter.
//! As in `k8s.io/component-helpers/apimachinery/lease`, a renewal is a PUT of the last copy, without a read before it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::call::{CallError, posting, within};
use super::complaint::Complaint;
use super::pace::{Dice, Doubling};
use crate::api::patience::CALL;
use crate::chain::Chain;
use crate::clock::Clock;

/// Namespace of all nodes' leases.
const NAMESPACE: &str = "kube-node-lease";
/// A lease is renewed four times within its duration (`nodeLeaseRenewIntervalFraction` in `pkg/kubelet/kubelet.go`).
const RENEWALS: u32 = 4;
/// Periods are spread by this part, so that nodes do not renew all at once.
const SPREAD: f64 = 0.04;
/// Tries within one renewal.
const TRIES: usize = 5;
/// Delays between tries.
const RETRY: Doubling = Doubling::new(Duration::from_millis(200), Duration::from_secs(7));

/// Uid of the node's object, once it is certain to be this machine's; none while it is not.
pub type Owner = Option<Arc<str>>;

/// What the loop needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the node.
    pub node: String,
    /// Duration of the lease in seconds; above zero.
    pub seconds: u32,
    /// Seed of the spread.
    pub seed: u64,
}

/// The loop.
pub struct LeaseKeeper {
    api: Api<Lease>,
    config: Config,
    owner: watch::Receiver<Owner>,
    clock: Clock,
    /// Told when a call gets no answer, so that whoever owns the connection can make a new one.
    stuck: Arc<Notify>,
    last: Option<Lease>,
    dice: Dice,
    complaint: Complaint,
}

impl LeaseKeeper {
    /// A keeper with a client of its own.
    #[must_use]
    pub fn new(
        client: kube::Client,
        config: Config,
        owner: watch::Receiver<Owner>,
        clock: Clock,
        stuck: Arc<Notify>,
    ) -> Self {
        let api = Api::namespaced(client, NAMESPACE);
        let dice = Dice::new(config.seed);
        Self { api, config, owner, clock, stuck, last: None, dice, complaint: Complaint::default() }
    }

    /// Runs until `stop`. A renewal under way is dropped then: the last one still holds.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&mut self) {
        loop {
            let Some(owner) = self.owner.borrow_and_update().clone() else {
                if self.owner.changed().await.is_err() {
                    // The node's loops have ended, and will not come back.
                    return std::future::pending().await;
                }
                continue;
            };
            let began = Instant::now();
            self.renew(&owner).await;
            let due = began + self.dice.longer(self.period(), SPREAD);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                Ok(()) = self.owner.changed() => {}
            }
        }
    }

    fn period(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.seconds)) / RENEWALS
    }

    /// Short enough for a renewal on a new connection before the lease ends.
    fn deadline(&self) -> Duration {
        CALL.min(self.period())
    }

    async fn renew(&mut self, owner: &Arc<str>) {
        let mut retry = RETRY;
        for _ in 0..TRIES {
            let Err(error) = self.attempt(owner).await else {
                if self.complaint.clear() {
                    tracing::info!("the node's lease is renewed again");
                }
                return;
            };
            if self.complaint.raise(&Chain(&error).to_string(), Instant::now()) {
                warn!(error = %Chain(&error), "the node's lease is not renewed, trying again");
            }
            if error.is_late() {
                self.stuck.notify_one();
            }
            sleep(retry.delay()).await;
        }
    }

    /// One PUT of the last copy; a read, and a POST where there is none, if there is no copy that holds.
    async fn attempt(&mut self, owner: &Arc<str>) -> Result<(), CallError> {
        let now = self.clock.now().wall;
        let base = match self.last.take() {
            Some(last) => last,
            None => {
                let read = self.api.get_opt(&self.config.node);
                match within("read the node's lease", self.deadline(), read).await? {
                    Some(found) => found,
                    None => return self.create(owner, now).await,
                }
            }
        };
        let renewed = renewed(&base, &self.config, owner, now);
        let params = posting();
        let put = self.api.replace(&self.config.node, &params, &renewed);
        match within("renew the node's lease", self.deadline(), put).await {
            Ok(lease) => self.last = Some(lease),
            // It was changed or deleted: the next try reads it.
            Err(error) if error.is_conflict() || error.is_not_found() => return Err(error),
            Err(error) => {
                self.last = Some(base);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn create(&mut self, owner: &Arc<str>, now: Timestamp) -> Result<(), CallError> {
        let lease = renewed(&Lease::default(), &self.config, owner, now);
        let params = posting();
        let made = self.api.create(&params, &lease);
        self.last = Some(within("make the node's lease", self.deadline(), made).await?);
        Ok(())
    }
}

impl std::fmt::Debug for LeaseKeeper {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LeaseKeeper").field("config", &self.config).finish_non_exhaustive()
    }
}

/// `base` renewed at `now`. Exactly one owner: the node, by the uid that it has now. Pure.
fn renewed(base: &Lease, config: &Config, owner: &Arc<str>, now: Timestamp) -> Lease {
    let reference = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: config.node.clone(),
        uid: owner.to_string(),
        ..OwnerReference::default()
    };
    let metadata = ObjectMeta {
        name: Some(config.node.clone()),
        namespace: Some(NAMESPACE.to_owned()),
        owner_references: Some(vec![reference]),
        managed_fields: None,
        ..base.metadata.clone()
    };
    let spec = LeaseSpec {
        holder_identity: Some(config.node.clone()),
        lease_duration_seconds: i32::try_from(config.seconds).ok(),
        renew_time: Some(MicroTime(now)),
        ..base.spec.clone().unwrap_or_default()
    };
    Lease { metadata, spec: Some(spec) }
}
