//! Asks the runtime which cgroup driver it uses, then keeps the cgroups as they should be. Owns nothing else; woken by
//! time, each minute, and by a pod that has come; writes into cgroups; ends with the stop token.
//!
//! Cgroups of an earlier life of the agent are found by their names and set right like all others.

use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::client::Client;
use pinnace_cri::error::Error;
use pinnace_cri::v1;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::amount::{self, Host, Setting};
use super::name::Names;
use super::tree::Tree;
use super::write::{self, WriteError};
use super::{Cgroups, Driver, Member, Mode};
use crate::chain::Chain;
use crate::config::effective::CgroupDriver;
use crate::pod::card::Cards;
use crate::pod::resources::{Qos, qos};

/// Every class.
pub const CLASSES: [Qos; 3] = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort];
/// How often cgroups are looked at (`periodicQOSCgroupUpdateInterval` in `pkg/kubelet/cm`).
const PERIOD: Duration = Duration::from_secs(60);
/// Pods that come together change the classes' weights once.
const TOGETHER: Duration = Duration::from_secs(1);
/// Time between two questions to the runtime (`pkg/kubelet/cri-client`).
const AGAIN: Duration = Duration::from_secs(2);
/// Errors of a runtime that answers until the agent gives up.
const REFUSALS: u32 = 3;

/// The loop.
#[derive(Debug)]
pub struct Keeper {
    cgroups: Cgroups,
    client: Client,
    cards: Arc<Cards>,
    troubled: bool,
}

/// What the runtime's answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// It uses this driver.
    Uses(CgroupDriver),
    /// It cannot be asked now.
    Later(String),
    /// It says no.
    Error(String),
}

impl Keeper {
    /// A keeper of `cgroups` for the pods of `cards`.
    #[must_use]
    pub fn new(cgroups: Cgroups, client: Client, cards: Arc<Cards>) -> Self {
        Self { cgroups, client, cards, troubled: false }
    }

    /// Runs until `stop`, which it cancels itself if the runtime will not tell its driver.
    pub async fn run(mut self, stop: CancellationToken) {
        if matches!(self.cgroups.0.config.mode, Mode::Nothing(_)) {
            stop.cancelled().await;
            return;
        }
        let names = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            names = self.ask() => names,
        };
        let Some(names) = names else {
            tracing::error!("the runtime does not tell its cgroup driver, ending; containers live on");
            stop.cancel();
            return;
        };
        let config = &self.cgroups.0.config;
        let not_obeyed = config.needed_by.join(", ");
        match config.mode.clone() {
            Mode::Whole(host) if names.driver() == CgroupDriver::Cgroupfs => {
                self.keep(&names, &host, stop).await;
                return;
            }
            Mode::Whole(_) => tracing::warn!(
                not_obeyed,
                "the runtime uses the systemd cgroup driver: pods lie in slices, whose limits are not set yet; \
                 limits of containers are"
            ),
            Mode::Names if !not_obeyed.is_empty() => tracing::warn!(
                not_obeyed,
                "these settings need cgroups of pods, which this node does not make: it needs cgroup v2, and a virtual \
                 node a cgroupRoot of its own"
            ),
            Mode::Names | Mode::Nothing(_) => {}
        }
        stop.cancelled().await;
    }

    /// Asks until the driver is known; none if the runtime keeps answering with errors.
    async fn ask(&self) -> Option<Names> {
        let mut refusals = 0;
        loop {
            let config = &self.cgroups.0.config;
            let next = match understood(self.client.runtime_config().await, config.driver) {
                Answer::Uses(driver) => {
                    let names = Names::new(driver, &config.root);
                    self.cgroups.0.driver.send_replace(Driver::Known(names.clone()));
                    return Some(names);
                }
                Answer::Later(problem) => Driver::Asked(problem),
                Answer::Error(problem) => {
                    refusals += 1;
                    if refusals == REFUSALS { Driver::Refused(problem) } else { Driver::Asked(problem) }
                }
            };
            self.cgroups.0.driver.send_replace(next);
            if refusals == REFUSALS {
                return None;
            }
            sleep(AGAIN).await;
        }
    }

    async fn keep(&mut self, names: &Names, host: &Host, stop: CancellationToken) {
        let mut due = interval(PERIOD);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.cgroups.0);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick() => self.pass(names, host, Scope::All).await,
                () = shared.changed.notified() => {
                    self.pass(names, host, Scope::Classes).await;
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(TOGETHER) => {}
                    }
                }
            }
        }
    }

    async fn pass(&mut self, names: &Names, host: &Host, scope: Scope) {
        let members = members(&self.cards);
        let (tree, names, host) = (Arc::clone(&self.cgroups.0.tree), names.clone(), host.clone());
        let kept = tokio::task::spawn_blocking(move || keep(tree.as_ref(), &names, &host, &members, scope));
        let error = match kept.await {
            Ok(Ok(())) => {
                if std::mem::take(&mut self.troubled) {
                    tracing::info!("cgroups are as they should be again");
                }
                return;
            }
            Ok(Err(error)) => Chain(&error).to_string(),
            Err(error) => Chain(&error).to_string(),
        };
        if !std::mem::replace(&mut self.troubled, true) {
            tracing::warn!(error, "cgroups are not as they should be, trying again each minute");
        }
    }
}

/// How much of the tree a pass looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Classes,
}

fn understood(answer: Result<v1::RuntimeConfigResponse, Error>, configured: CgroupDriver) -> Answer {
    match answer {
        Ok(answer) => Answer::Uses(match answer.linux.map(|linux| linux.cgroup_driver()) {
            Some(v1::CgroupDriver::Systemd) => CgroupDriver::Systemd,
            Some(v1::CgroupDriver::Cgroupfs) => CgroupDriver::Cgroupfs,
            None => configured,
        }),
        Err(error) if error.is_unimplemented() => Answer::Uses(configured),
        Err(error) if error.is_unavailable() || error.is_timeout() => {
            Answer::Later(Chain(&error).to_string())
        }
        Err(error) => Answer::Error(Chain(&error).to_string()),
    }
}

/// Pods that were admitted and have not ended.
fn members(cards: &Cards) -> Vec<Member> {
    let member = |card: &Arc<crate::pod::card::Card>| {
        let admitted = !card.is_finished() && card.is_admitted();
        card.pod().filter(|_| admitted)
    };
    cards.all().iter().filter_map(member).collect()
}

/// One failure does not keep the others from being set right; the first is told.
fn keep(
    tree: &dyn Tree,
    names: &Names,
    host: &Host,
    members: &[Member],
    scope: Scope,
) -> Result<(), WriteError> {
    let mut failed = None;
    let mut note = |cgroup: &str, result: Result<Vec<String>, WriteError>| match result {
        Ok(set) if !set.is_empty() => tracing::debug!(cgroup, ?set, "cgroup set right"),
        Ok(_) => {}
        Err(error) => failed = failed.take().or(Some(error)),
    };
    let specs = || members.iter().filter_map(|pod| pod.pod.spec.as_ref());
    if scope == Scope::All {
        for other in &host.others {
            let result = write::limit(tree, &other.cgroup, other.key, &amount::of_other(other));
            note(&other.cgroup, result);
        }
    }
    let mut set = |cgroup: String, settings: Vec<Setting>| {
        let result = write::ensure(tree, &cgroup, &settings);
        note(&cgroup, result);
    };
    if scope == Scope::All {
        set(names.pods(), amount::of_all(host));
        set(names.class(Qos::BestEffort), amount::of_class(Qos::BestEffort, specs()));
    }
    set(names.class(Qos::Burstable), amount::of_class(Qos::Burstable, specs()));
    if scope == Scope::All {
        for pod in members {
            let Some(spec) = &pod.pod.spec else { continue };
            let cgroup = names.pod(qos(spec), &pod.uid);
            // One that is not there comes with the pod's sandbox.
            if write::exists(tree, &cgroup) {
                note(&cgroup, write::correct(tree, &cgroup, &amount::of_pod(spec, host)));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
