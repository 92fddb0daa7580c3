//! Decides the node's conditions. Pure. Reasons and messages are the kubelet's, byte for byte
//! (`pkg/kubelet/nodestatus/setters.go`). Conditions of others are neither read nor written here (B27).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::verdict::Verdict;

/// What the node is short of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Disk space or inodes.
    pub disk: bool,
    /// Process ids.
    pub pid: bool,
}

/// The types that this agent writes, Ready last.
pub const OURS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// Status, reason and message.
type Words<'a> = (&'static str, &'static str, &'a str);

fn pressures(pressure: Pressure) -> [(&'static str, Words<'static>); 3] {
    let memory = match pressure.memory {
        true => ("True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        false => ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    };
    let disk = match pressure.disk {
        true => ("True", "KubeletHasDiskPressure", "kubelet has disk pressure"),
        false => ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    };
    let pid = match pressure.pid {
        true => ("True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        false => ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    };
    [("MemoryPressure", memory), ("DiskPressure", disk), ("PIDPressure", pid)]
}

/// Our conditions at `now`. One that has the same status in `existing` keeps the time of its last transition.
/// While the verdict is unknown there is no Ready condition.
#[must_use]
pub fn conditions(
    existing: &[NodeCondition],
    pressure: Pressure,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let ready = match verdict {
        Verdict::Unknown => None,
        Verdict::Ready => Some(("True", "KubeletReady", "kubelet is posting ready status")),
        Verdict::NotReady(why) => Some(("False", "KubeletNotReady", why.as_str())),
    };
    let words = pressures(pressure).into_iter().chain(ready.map(|words| ("Ready", words)));
    words.map(|(kind, words)| condition(find(existing, kind), kind, words, now)).collect()
}

fn condition(before: Option<&NodeCondition>, kind: &str, words: Words<'_>, now: Timestamp) -> NodeCondition {
    let (status, reason, message) = words;
    // The API keeps whole seconds.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let kept = before.filter(|before| before.status == status);
    NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: kept
            .and_then(|before| before.last_transition_time.clone())
            .or_else(|| Some(now.clone())),
        last_heartbeat_time: Some(now),
    }
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [NodeCondition], kind: &str) -> Option<&'a NodeCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether two conditions differ in more than the time of the heartbeat.
#[must_use]
pub fn differ(before: Option<&NodeCondition>, after: &NodeCondition) -> bool {
    before.is_none_or(|before| {
        let after =
            NodeCondition { last_heartbeat_time: before.last_heartbeat_time.clone(), ..after.clone() };
        *before != after
    })
}

/// Reasons of the events that tell of changed conditions, in the kubelet's order.
#[must_use]
pub fn events(before: &[NodeCondition], after: &[NodeCondition]) -> Vec<&'static str> {
    let changed = after.iter().filter(|condition| {
        find(before, &condition.type_).is_none_or(|before| before.status != condition.status)
    });
    let reason = |condition: &NodeCondition| {
        Some(match (condition.type_.as_str(), condition.status.as_str()) {
            ("MemoryPressure", "True") => "NodeHasInsufficientMemory",
            ("MemoryPressure", _) => "NodeHasSufficientMemory",
            ("DiskPressure", "True") => "NodeHasDiskPressure",
            ("DiskPressure", _) => "NodeHasNoDiskPressure",
            ("PIDPressure", "True") => "NodeHasInsufficientPID",
            ("PIDPressure", _) => "NodeHasSufficientPID",
            ("Ready", "True") => "NodeReady",
            ("Ready", _) => "NodeNotReady",
            _ => return None,
        })
    };
    changed.filter_map(reason).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 700_000_000).unwrap()
    }

    fn lines(conditions: &[NodeCondition]) -> Vec<String> {
        let line = |condition: &NodeCondition| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let second = |time: &Option<Time>| time.as_ref().map_or(0, |time| time.0.as_second());
            format!(
                "{} {} {} | {} | {} {}",
                condition.type_,
                condition.status,
                text(&condition.reason),
                text(&condition.message),
                second(&condition.last_transition_time),
                second(&condition.last_heartbeat_time)
            )
        };
        conditions.iter().map(line).collect()
    }

    #[test]
    fn a_healthy_node_says_what_the_kubelet_says() {
        let first = conditions(&[], Pressure::default(), &Verdict::Ready, at(5));
        let later = conditions(&first, Pressure::default(), &Verdict::Ready, at(9));
        assert_eq!(
            lines(&later),
            [
                "MemoryPressure False KubeletHasSufficientMemory | kubelet has sufficient memory available | 5 9",
                "DiskPressure False KubeletHasNoDiskPressure | kubelet has no disk pressure | 5 9",
                "PIDPressure False KubeletHasSufficientPID | kubelet has sufficient PID available | 5 9",
                "Ready True KubeletReady | kubelet is posting ready status | 5 9",
            ]
        );
        assert_eq!(
            events(&[], &first),
            ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"]
        );
        assert_eq!(events(&first, &later), Vec::<&str>::new());
        assert!(later.iter().all(|condition| !differ(find(&first, &condition.type_), condition)));
    }

    #[test]
    fn pressure_and_a_fault_say_what_the_kubelet_says() {
        let all = Pressure { memory: true, disk: true, pid: true };
        let before = conditions(&[], Pressure::default(), &Verdict::Ready, at(5));
        let after = conditions(&before, all, &Verdict::NotReady("container runtime is down".into()), at(9));
        assert_eq!(
            lines(&after),
            [
                "MemoryPressure True KubeletHasInsufficientMemory | kubelet has insufficient memory available | 9 9",
                "DiskPressure True KubeletHasDiskPressure | kubelet has disk pressure | 9 9",
                "PIDPressure True KubeletHasInsufficientPID | kubelet has insufficient PID available | 9 9",
                "Ready False KubeletNotReady | container runtime is down | 9 9",
            ]
        );
        assert_eq!(
            events(&before, &after),
            ["NodeHasInsufficientMemory", "NodeHasDiskPressure", "NodeHasInsufficientPID", "NodeNotReady"]
        );
    }

    #[test]
    fn b36_an_unknown_verdict_writes_no_ready_condition() {
        let found = conditions(&[], Pressure::default(), &Verdict::Unknown, at(5));
        assert!(find(&found, "Ready").is_none() && found.len() == 3);
    }

    proptest! {
        /// The time of the last transition moves exactly when the status does.
        #[test]
        fn transitions_follow_the_status(states in prop::collection::vec(any::<bool>(), 1..20)) {
            let mut last: Vec<NodeCondition> = Vec::new();
            for (second, ready) in (100_i64..).zip(&states) {
                let verdict = if *ready { Verdict::Ready } else { Verdict::NotReady("x".into()) };
                let next = conditions(&last, Pressure::default(), &verdict, at(second));
                prop_assert_eq!(next.last().map(|condition| condition.type_.as_str()), Some("Ready"));
                let (before, after) = (find(&last, "Ready"), find(&next, "Ready").unwrap());
                let moved = after.last_transition_time.as_ref().unwrap().0.as_second() == second;
                prop_assert_eq!(moved, before.is_none_or(|before| before.status != after.status));
                last = next;
            }
        }
    }
}
