//! Gathers what the node's object is made from: the newest word of each of the agent's watches. Reads only.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use pinnace_pleg::health::{self, Health};
use tokio::sync::watch;
use tokio::time::Instant;

use super::capacity::{self, PodLimits, Resources};
use super::conditions::{Pressure, find};
use super::host_watch::HostFacts;
use super::image_watch::Named;
use super::object::{Facts, RuntimeFacts};
use super::verdict::{Signs, Verdict, judge};
use crate::clock::Clock;
use crate::config::node::NodeSettings;
use crate::runtime::watch::RuntimeState;

/// The watches and what does not change.
#[derive(Debug)]
pub struct Sources {
    /// Name of the node.
    pub name: String,
    /// The configuration.
    pub settings: NodeSettings,
    /// `--node-ip`.
    pub told: Vec<IpAddr>,
    /// `maxPods`.
    pub max_pods: u32,
    /// The clocks.
    pub clock: Clock,
    /// When this process started.
    pub started: Instant,
    /// The machine.
    pub host: watch::Receiver<Option<Arc<HostFacts>>>,
    /// The runtime's own word.
    pub runtime: watch::Receiver<RuntimeState>,
    /// The relist loop's own word.
    pub list: watch::Receiver<Health>,
    /// Images to name.
    pub images: watch::Receiver<Named>,
}

/// One look at everything, taken at one moment.
#[derive(Debug)]
pub struct Look {
    /// The machine.
    pub host: Arc<HostFacts>,
    /// What it has and gives.
    pub resources: Arc<Resources>,
    /// Whether the node is ready.
    pub verdict: Verdict,
    /// The runtime.
    pub runtime: RuntimeFacts,
    /// Images to name.
    pub images: Named,
    /// What is wrong with the configuration or the machine, in a sentence each.
    pub problems: Vec<String>,
    /// The moment.
    pub at: jiff::Timestamp,
}

impl Sources {
    /// Looks; none before the machine was read. `existing` is the object as the API has it, `last` what the runtime
    /// said before: one that is silent is still of that version.
    #[must_use]
    pub fn look(&self, existing: Option<&Node>, reported: bool, last: &RuntimeFacts) -> Option<Look> {
        let host = self.host.borrow().clone()?;
        let now = Instant::now();
        let limits = PodLimits { most: self.max_pods, per_core: self.settings.pods_per_core };
        let (resources, mut problems) = capacity::resources(&host.machine, limits, &self.settings.reserved);
        problems.extend(host.addresses.as_ref().err().cloned());
        let missing = capacity::missing(&resources.capacity);
        let runtime = self.runtime.borrow().clone();
        let verdict = judge(&Signs {
            runtime: &runtime,
            unhealthy_list: self.unhealthy_list(now),
            missing: &missing,
            reported,
            api_says_ready: existing.is_some_and(says_ready),
            age: now.saturating_duration_since(self.started),
            now,
        });
        Some(Look {
            resources: Arc::new(resources),
            verdict,
            runtime: runtime_facts(&runtime, last),
            images: self.images.borrow().clone(),
            problems,
            at: self.clock.now().wall,
            host,
        })
    }

    fn unhealthy_list(&self, now: Instant) -> Option<Duration> {
        let health = self.list.borrow();
        health::verdict(&health, now).err().map(|_| now.saturating_duration_since(health.last_list_ok))
    }

    /// The look in the form that the object is made from.
    #[must_use]
    pub fn facts<'a>(&'a self, look: &'a Look) -> Facts<'a> {
        Facts {
            name: &self.name,
            settings: &self.settings,
            told: &self.told,
            machine: &look.host.machine,
            resources: &look.resources,
            addresses: look.host.addresses.as_deref().ok(),
            runtime: &look.runtime,
            images: look.images.as_ref(),
            pressure: Pressure::default(),
            verdict: &look.verdict,
            now: look.at,
        }
    }
}

fn says_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    find(conditions, "Ready").is_some_and(|ready| ready.status == "True")
}

fn runtime_facts(state: &RuntimeState, last: &RuntimeFacts) -> RuntimeFacts {
    let version = state.version.as_ref().map(|version| match version.split_once(' ') {
        Some((name, version)) => format!("{name}://{version}"),
        None => format!("{version}://Unknown"),
    });
    match &state.said {
        None => RuntimeFacts { version: version.or_else(|| last.version.clone()), ..last.clone() },
        Some(said) => RuntimeFacts {
            version: version.or_else(|| last.version.clone()),
            handlers: Some(said.handlers.clone()),
            supplemental_groups_policy: said.supplemental_groups_policy,
        },
    }
}
