//! Decides whether the runtime can still be observed at all. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long without a complete list until the node is not healthy: the kubelet's `genericPlegRelistThreshold`
/// (pkg/kubelet/kubelet.go).
pub const RELIST_THRESHOLD: Duration = Duration::from_secs(180);

/// What the relist loop says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// When the last complete list was taken in; the loop's start before the first.
    pub last_list_ok: Instant,
    /// Lists that failed or timed out since then.
    pub consecutive_failures: u32,
    /// What the last of those said.
    pub last_error: Option<String>,
    /// Start of the oldest call that is still unanswered.
    pub oldest_inflight: Option<Instant>,
    /// Pods whose inspection fails.
    pub quarantined: usize,
    /// What the event stream is worth.
    pub stream: Stream,
    /// Since when the reader of events has taken none while some were waiting.
    pub undelivered_since: Option<Instant>,
    /// Oddities in the runtime's answers.
    pub oddities: Oddities,
}

impl Health {
    /// The state of a loop that starts at `now`.
    #[must_use]
    pub fn starting(now: Instant) -> Self {
        Self {
            last_list_ok: now,
            consecutive_failures: 0,
            last_error: None,
            oldest_inflight: None,
            quarantined: 0,
            stream: Stream::Absent,
            undelivered_since: None,
            oddities: Oddities::default(),
        }
    }
}

/// What the event stream is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// There is none, or it is cut off.
    Absent,
    /// There is one, and it missed something or proved nothing yet.
    Untrusted,
    /// It announced what lists found; they are further apart for it.
    Trusted,
}

/// How often the runtime's answers could not be taken as they were; each only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Records with an id that the same list had before; the first one counted.
    pub duplicate: u64,
    /// Objects that a list left out while their status says that they are there.
    pub missed_by_list: u64,
    /// Records that showed an earlier state than one already seen.
    pub backwards: u64,
    /// Records of another pod in the list of one pod.
    pub misfiled: u64,
}

/// Whether the runtime can be observed, or a sentence that says why not.
///
/// Only the list counts: one pod that cannot be inspected is that pod's matter.
pub fn verdict(health: &Health, now: Instant) -> Result<(), String> {
    let silent = now.saturating_duration_since(health.last_list_ok);
    if silent < RELIST_THRESHOLD {
        return Ok(());
    }
    let age = silent.as_secs();
    if let Some(since) = health.undelivered_since {
        let stuck = now.saturating_duration_since(since).as_secs();
        return Err(format!("pod lifecycle events were not taken for {stuck} s, last relist {age} s ago"));
    }
    let failures = health.consecutive_failures;
    let error = health.last_error.as_deref().unwrap_or("no answer yet");
    Err(format!(
        "the runtime's containers were last listed {age} s ago, {failures} tries failed since: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_minutes_without_a_list_count() {
        let start = Instant::now();
        let health = Health { quarantined: 200, oldest_inflight: Some(start), ..Health::starting(start) };
        assert_eq!(verdict(&health, start + RELIST_THRESHOLD - Duration::from_millis(1)), Ok(()));
        let said = verdict(&health, start + RELIST_THRESHOLD).unwrap_err();
        assert!(said.contains("180 s ago"), "{said}");
    }

    #[test]
    fn a_stuck_reader_is_named() {
        let start = Instant::now();
        let health = Health { undelivered_since: Some(start), ..Health::starting(start) };
        let said = verdict(&health, start + RELIST_THRESHOLD).unwrap_err();
        assert!(said.contains("not taken for 180 s"), "{said}");
    }
}
