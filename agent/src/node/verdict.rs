//! Decides whether the node is ready. Pure. Texts are the kubelet's (`pkg/kubelet/runtime.go`, `updateRuntimeUp` in
//! `pkg/kubelet/kubelet.go`).
//!
//! Unlike there, nothing is said before the runtime was asked, and a node that the API knows as ready is not called
//! otherwise within [`PATIENCE`] of a start: most such reports are of an agent that has not looked yet (B36).

use std::time::Duration;

use pinnace_pleg::health::RELIST_THRESHOLD;
use tokio::time::Instant;

use crate::config::duration::GoDuration;
use crate::runtime::watch::{RuntimeCondition, RuntimeState, Said};

/// How long the runtime may be silent, and how long a start may take (`baseRuntimeSyncThreshold`: 30 s).
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the node is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is too early to say.
    Unknown,
    /// It is.
    Ready,
    /// It is not, and why.
    NotReady(String),
}

/// What the verdict rests on.
#[derive(Debug, Clone)]
pub struct Signs<'a> {
    /// The runtime's own word.
    pub runtime: &'a RuntimeState,
    /// Age of the last complete list of the runtime's containers, if the relist loop calls itself unhealthy.
    pub unhealthy_list: Option<Duration>,
    /// Resources that the node does not know the capacity of.
    pub missing: &'a [&'static str],
    /// This process has reported a verdict before.
    pub reported: bool,
    /// The API's object says that the node is ready.
    pub api_says_ready: bool,
    /// Time since this process started.
    pub age: Duration,
    /// This moment.
    pub now: Instant,
}

/// Whether the node is ready.
#[must_use]
pub fn judge(signs: &Signs<'_>) -> Verdict {
    let RuntimeState { asked, said, silent_since, .. } = signs.runtime;
    let mut faults = Vec::new();
    let silent_for = silent_since.map_or(Duration::ZERO, |since| signs.now.saturating_duration_since(since));
    match said {
        None if !asked && signs.age < PATIENCE => return Verdict::Unknown,
        None if !asked => faults.push("container runtime status check may not have completed yet".to_owned()),
        None if silent_for >= PATIENCE => faults.push("container runtime is down".to_owned()),
        // It was ready a moment ago, or nothing is known of it yet.
        None if !signs.reported => return Verdict::Unknown,
        None | Some(_) => {}
    }
    if let Some(age) = signs.unhealthy_list {
        faults.push(unhealthy(age));
    }
    if let Some(said) = said {
        faults.extend(unready(said));
    }
    if !signs.missing.is_empty() {
        faults.push(format!("missing node capacity for resources: {}", signs.missing.join(", ")));
    }
    match faults.as_slice() {
        [] => Verdict::Ready,
        _ if !signs.reported && signs.api_says_ready && signs.age < PATIENCE => Verdict::Unknown,
        [fault] => Verdict::NotReady(fault.clone()),
        faults => Verdict::NotReady(format!("[{}]", faults.join(", "))),
    }
}

/// Whole minutes, so that the message does not change with every look.
fn unhealthy(age: Duration) -> String {
    let of =
        |duration: Duration| GoDuration::from_secs(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX));
    let minutes = Duration::from_secs((age.as_secs() / 60).saturating_mul(60));
    format!(
        "PLEG is not healthy: pleg was last seen active {} ago; threshold is {}",
        of(minutes),
        of(RELIST_THRESHOLD)
    )
}

fn unready(said: &Said) -> impl Iterator<Item = String> {
    let fault = |what: &str, condition: &Option<RuntimeCondition>| match condition {
        Some(condition) if condition.status => None,
        Some(condition) => Some(format!(
            "{what} not ready: {}={} reason:{} message:{}",
            condition.kind, condition.status, condition.reason, condition.message
        )),
        None => Some(format!("{what} not ready: <nil>")),
    };
    let runtime = fault("container runtime", &said.runtime);
    runtime.into_iter().chain(fault("container runtime network", &said.network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: bool) -> Option<RuntimeCondition> {
        Some(RuntimeCondition {
            kind: kind.to_owned(),
            status,
            reason: "NetworkPluginNotReady".to_owned(),
            message: "cni plugin not initialized".to_owned(),
        })
    }

    fn said(runtime: bool, network: bool) -> RuntimeState {
        let said = Said {
            runtime: condition("RuntimeReady", runtime),
            network: condition("NetworkReady", network),
            ..Said::default()
        };
        RuntimeState { asked: true, said: Some(said), ..RuntimeState::default() }
    }

    fn signs(runtime: &RuntimeState) -> Signs<'_> {
        Signs {
            runtime,
            unhealthy_list: None,
            missing: &[],
            reported: true,
            api_says_ready: true,
            age: Duration::from_secs(3_600),
            now: Instant::now(),
        }
    }

    #[test]
    fn a_runtime_that_is_well_makes_the_node_ready() {
        assert_eq!(judge(&signs(&said(true, true))), Verdict::Ready);
    }

    #[test]
    fn faults_are_told_in_the_kubelets_words() {
        let check = |runtime: RuntimeState, wanted: &str| {
            assert_eq!(judge(&signs(&runtime)), Verdict::NotReady(wanted.to_owned()));
        };
        let network = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                       message:cni plugin not initialized";
        check(said(true, false), network);
        let runtime = "container runtime not ready: RuntimeReady=false reason:NetworkPluginNotReady \
                       message:cni plugin not initialized";
        check(said(false, false), &format!("[{runtime}, {network}]"));
        let mut none = said(true, true);
        none.said.as_mut().unwrap().network = None;
        check(none, "container runtime network not ready: <nil>");
        let state = said(true, true);
        let age = Some(Duration::from_secs(200));
        assert_eq!(
            judge(&Signs { unhealthy_list: age, missing: &["pods"], ..signs(&state) }),
            Verdict::NotReady(
                "[PLEG is not healthy: pleg was last seen active 3m0s ago; threshold is 3m0s, \
                 missing node capacity for resources: pods]"
                    .to_owned()
            )
        );
    }

    #[test]
    fn b36_silence_counts_after_thirty_seconds_only() {
        let since = Instant::now();
        let silent = RuntimeState { asked: true, silent_since: Some(since), ..RuntimeState::default() };
        let at = |seconds| Signs { now: since + Duration::from_secs(seconds), ..signs(&silent) };
        assert_eq!(judge(&at(29)), Verdict::Ready);
        assert_eq!(judge(&at(30)), Verdict::NotReady("container runtime is down".to_owned()));
        assert_eq!(judge(&Signs { reported: false, ..at(29) }), Verdict::Unknown);
    }

    #[test]
    fn b36_nothing_is_said_before_the_runtime_was_asked() {
        let unasked = RuntimeState::default();
        let at = |seconds| Signs {
            reported: false,
            api_says_ready: false,
            age: Duration::from_secs(seconds),
            ..signs(&unasked)
        };
        assert_eq!(judge(&at(0)), Verdict::Unknown);
        assert_eq!(judge(&at(29)), Verdict::Unknown);
        assert!(matches!(judge(&at(30)), Verdict::NotReady(text) if text.contains("may not have completed")));
    }

    #[test]
    fn b36_a_start_does_not_take_ready_back_at_once() {
        let state = said(true, false);
        let starting = |api_says_ready, seconds| Signs {
            reported: false,
            api_says_ready,
            age: Duration::from_secs(seconds),
            ..signs(&state)
        };
        assert_eq!(judge(&starting(true, 5)), Verdict::Unknown);
        assert!(matches!(judge(&starting(true, 31)), Verdict::NotReady(_)));
        assert!(matches!(judge(&starting(false, 5)), Verdict::NotReady(_)));
    }
}
