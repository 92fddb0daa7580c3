//! Asks the runtime every 5 s whether it can run pods. Owns nothing else; woken by time; writes [`RuntimeState`];
//! ends with the stop token. The first question is asked at once, so nothing on the start path waits for a tick.

use std::time::Duration;

use pinnace_cri::client::Client;
use pinnace_cri::error::Error;
use pinnace_cri::v1::{self, StatusResponse};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;

/// Period of the kubelet's runtime check (`pkg/kubelet/kubelet.go`).
pub const PERIOD: Duration = Duration::from_secs(5);

/// What the runtime says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeState {
    /// It has been asked at least once.
    pub asked: bool,
    /// Name and version, once it answered.
    pub version: Option<String>,
    /// It can run containers.
    pub ready: bool,
    /// It can attach pods to the network.
    pub network_ready: bool,
    /// Why it cannot, with the fix where one is known; empty when all is well.
    pub problem: String,
    /// Its last answer; none while it does not answer.
    pub said: Option<Said>,
    /// Since when it does not answer; none while it does, and before it was asked.
    pub silent_since: Option<Instant>,
}

impl RuntimeState {
    /// Whether this handler makes mounts read-only with all that is below them, as far as the runtime last told.
    #[must_use]
    pub fn mounts_read_only_recursively(&self, handler: &str) -> bool {
        let handlers = self.said.iter().flat_map(|said| &said.handlers);
        handlers.into_iter().any(|known| known.name == handler && known.recursive_read_only_mounts)
    }
}

/// One of the runtime's conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeCondition {
    /// `RuntimeReady` or `NetworkReady`.
    pub kind: String,
    /// Whether it holds.
    pub status: bool,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// A runtime handler, such as `runc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuntimeHandler {
    /// Its name; empty is the default one.
    pub name: String,
    /// Read-only mounts can be so with all that is below them.
    pub recursive_read_only_mounts: bool,
    /// Pods can have a user namespace.
    pub user_namespaces: bool,
}

/// What the runtime answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Whether it can run containers.
    pub runtime: Option<RuntimeCondition>,
    /// Whether it can attach pods to the network.
    pub network: Option<RuntimeCondition>,
    /// Its handlers, by name.
    pub handlers: Vec<RuntimeHandler>,
    /// Whether it obeys `supplementalGroupsPolicy`; none if it does not tell its features.
    pub supplemental_groups_policy: Option<bool>,
}

/// The loop.
#[derive(Debug)]
pub struct RuntimeWatch {
    client: Client,
    endpoint: String,
    period: Duration,
    state: watch::Sender<RuntimeState>,
}

impl RuntimeWatch {
    /// The loop and its reader's end. `endpoint` is named in problems.
    #[must_use]
    pub fn new(client: Client, endpoint: String, period: Duration) -> (Self, watch::Receiver<RuntimeState>) {
        let (state, reader) = watch::channel(RuntimeState::default());
        (Self { client, endpoint, period, state }, reader)
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut due = interval(self.period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.pass() => {}
            }
        }
    }

    async fn pass(&self) {
        let known = self.state.borrow().version.clone();
        let status = self.client.status(false).await;
        let state = match status {
            Ok(status) => {
                let version = match known {
                    Some(version) => Some(version),
                    None => self.version().await,
                };
                judge(&status, version)
            }
            Err(error) => self.unusable(&error),
        };
        self.publish(state);
    }

    async fn version(&self) -> Option<String> {
        let answer = self.client.version().await.ok()?;
        Some(format!("{} {}", answer.runtime_name, answer.runtime_version))
    }

    fn unusable(&self, error: &Error) -> RuntimeState {
        let problem = explain(error, &self.endpoint);
        let silent_since = self.state.borrow().silent_since.or_else(|| Some(Instant::now()));
        RuntimeState { asked: true, problem, silent_since, ..RuntimeState::default() }
    }

    fn publish(&self, state: RuntimeState) {
        self.state.send_if_modified(|last| {
            if *last == state {
                return false;
            }
            match (state.problem.as_str(), last.problem.is_empty() && last.asked) {
                ("", false) => tracing::info!(runtime = state.version, "the runtime is ready"),
                ("", true) => {}
                (problem, _) => tracing::warn!(problem, "the runtime is not ready"),
            }
            *last = state;
            true
        });
    }
}

/// What a status means. Pure.
fn judge(status: &StatusResponse, version: Option<String>) -> RuntimeState {
    let conditions = status.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let find = |kind: &str| conditions.iter().find(|condition| condition.r#type == kind);
    let is_true = |kind: &str| find(kind).is_some_and(|condition| condition.status);
    let (ready, network_ready) = (is_true("RuntimeReady"), is_true("NetworkReady"));
    let problem = ["RuntimeReady", "NetworkReady"]
        .into_iter()
        .filter(|kind| !is_true(kind))
        .map(|kind| match find(kind) {
            Some(condition) => format!("{kind} is false: {}: {}", condition.reason, condition.message),
            None => format!("{kind} is not reported"),
        })
        .collect::<Vec<_>>()
        .join("; ");
    let said = said(status, |kind| find(kind).map(condition));
    RuntimeState { asked: true, version, ready, network_ready, problem, said: Some(said), silent_since: None }
}

fn said(status: &StatusResponse, find: impl Fn(&str) -> Option<RuntimeCondition>) -> Said {
    let mut handlers: Vec<RuntimeHandler> = status.runtime_handlers.iter().map(handler).collect();
    // The order of the answer has no meaning and changes.
    handlers.sort_unstable();
    Said {
        runtime: find("RuntimeReady"),
        network: find("NetworkReady"),
        handlers,
        supplemental_groups_policy: status
            .features
            .as_ref()
            .map(|features| features.supplemental_groups_policy),
    }
}

fn condition(condition: &v1::RuntimeCondition) -> RuntimeCondition {
    RuntimeCondition {
        kind: condition.r#type.clone(),
        status: condition.status,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    }
}

fn handler(handler: &v1::RuntimeHandler) -> RuntimeHandler {
    let features = handler.features.unwrap_or_default();
    RuntimeHandler {
        name: handler.name.clone(),
        recursive_read_only_mounts: features.recursive_read_only_mounts,
        user_namespaces: features.user_namespaces,
    }
}

/// An error with the fix. Pure.
#[must_use]
pub fn explain(error: &Error, endpoint: &str) -> String {
    if error.is_unimplemented() {
        return format!(
            "{endpoint} does not speak CRI v1; use containerd 1.6 or later with its CRI plugin enabled"
        );
    }
    let chain = Chain(error);
    if error.is_unavailable() {
        return format!(
            "{endpoint} cannot be reached ({chain}); start the runtime, or name its socket with --container-runtime-endpoint"
        );
    }
    format!("{endpoint}: {chain}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinnace_cri::v1::{RuntimeCondition, RuntimeStatus};

    fn status(conditions: &[(&str, bool)]) -> StatusResponse {
        let conditions = conditions.iter().map(|(kind, status)| RuntimeCondition {
            r#type: (*kind).to_owned(),
            status: *status,
            reason: "Why".to_owned(),
            message: "because".to_owned(),
        });
        StatusResponse {
            status: Some(RuntimeStatus { conditions: conditions.collect() }),
            ..StatusResponse::default()
        }
    }

    #[test]
    fn a_missing_condition_is_not_true() {
        let state = judge(&status(&[("RuntimeReady", true)]), None);
        assert!(state.ready && !state.network_ready);
        assert_eq!(state.problem, "NetworkReady is not reported");
    }

    #[test]
    fn what_it_said_is_kept_with_its_handlers_in_order() {
        let mut answer = status(&[("RuntimeReady", true)]);
        let handler = |name: &str| v1::RuntimeHandler { name: name.to_owned(), features: None };
        answer.runtime_handlers = vec![handler("runc"), handler("")];
        answer.features =
            Some(v1::RuntimeFeatures { supplemental_groups_policy: true, ..Default::default() });
        let said = judge(&answer, None).said.unwrap();
        let names: Vec<_> = said.handlers.iter().map(|handler| handler.name.as_str()).collect();
        assert_eq!((names, said.supplemental_groups_policy), (vec!["", "runc"], Some(true)));
        assert!(said.runtime.unwrap().status && said.network.is_none());
    }

    #[test]
    fn a_false_condition_tells_its_reason() {
        let state = judge(&status(&[("RuntimeReady", true), ("NetworkReady", false)]), None);
        assert_eq!(state.problem, "NetworkReady is false: Why: because");
    }
}
