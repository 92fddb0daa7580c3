//! How long each kind of call may take, before the client stops waiting.
//!
//! Deadlines are timers of this process and are not sent along: a runtime that learned of them would abandon work
//! half-way, while one that does not ends it, and the next list shows what came of it.

use std::time::Duration;

/// Limits by kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Lists, statuses, versions: what only looks. 10 s.
    pub inspect: Duration,
    /// Every other call; the kubelet's `runtimeRequestTimeout`, 2 min.
    pub request: Duration,
    /// `RunPodSandbox`, which waits for the network plugin; 4 min as in the kubelet's client.
    pub run_sandbox: Duration,
    /// `PullImage`, whole. 24 h: a large image takes hours on a slow line, so whether a pull gets on is its caller's to
    /// judge.
    pub pull: Duration,
    /// What `ExecSync` and `CheckpointContainer` get beyond the limit that the runtime itself keeps. 5 s.
    pub margin: Duration,
    /// How long opening the event stream is watched for a refusal before it counts as open; runtimes send nothing
    /// before the first event. 500 ms.
    pub stream_open: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            inspect: Duration::from_secs(10),
            request: Duration::from_secs(2 * 60),
            run_sandbox: Duration::from_secs(4 * 60),
            pull: Duration::from_secs(24 * 60 * 60),
            margin: Duration::from_secs(5),
            stream_open: Duration::from_millis(500),
        }
    }
}

impl Deadlines {
    /// Every limit divided by `divisor`, for tests in real time; 0 counts as 1.
    #[must_use]
    pub fn scaled(self, divisor: u32) -> Self {
        let divisor = divisor.max(1);
        Self {
            inspect: self.inspect / divisor,
            request: self.request / divisor,
            run_sandbox: self.run_sandbox / divisor,
            pull: self.pull / divisor,
            margin: self.margin / divisor,
            stream_open: self.stream_open / divisor,
        }
    }

    /// The limit of a stop whose process may take `grace` to end.
    #[must_use]
    pub fn stop(&self, grace: Duration) -> Duration {
        self.request.saturating_add(grace)
    }

    /// The limit of a call that the runtime itself ends after `timeout`; zero is no limit there, so the client's
    /// general one holds.
    #[must_use]
    pub fn bounded(&self, timeout: Duration) -> Duration {
        if timeout.is_zero() { self.request } else { timeout.saturating_add(self.margin) }
    }
}

/// Whole seconds as CRI counts them, rounded up so that less than a second does not become "at once" or "no limit".
pub(crate) fn whole_seconds(duration: Duration) -> i64 {
    let rounded = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stop_waits_for_the_grace_on_top() {
        let deadlines = Deadlines::default();
        assert_eq!(deadlines.stop(Duration::from_secs(30)), Duration::from_secs(150));
        assert_eq!(deadlines.stop(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_bounded_call_waits_longer_than_the_runtime() {
        let deadlines = Deadlines::default();
        assert_eq!(deadlines.bounded(Duration::from_secs(1)), Duration::from_secs(6));
        assert_eq!(deadlines.bounded(Duration::ZERO), deadlines.request);
    }

    #[test]
    fn seconds_round_up() {
        let cases = [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)];
        for (millis, seconds) in cases {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
        assert_eq!(whole_seconds(Duration::MAX), i64::MAX);
    }

    proptest! {
        #[test]
        fn scaling_never_lengthens(divisor in any::<u32>()) {
            let (whole, scaled) = (Deadlines::default(), Deadlines::default().scaled(divisor));
            prop_assert!(scaled.inspect <= whole.inspect && scaled.pull <= whole.pull);
            prop_assert!(scaled.inspect <= scaled.request && scaled.request <= scaled.run_sandbox);
        }
    }
}
