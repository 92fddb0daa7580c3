//! The pause after a write that the API server could not answer. Pure.

use std::time::Duration;

/// First pause, doubled by every failure that follows one.
const FIRST: u64 = 1_000;
/// Longest pause: what a node has to say is there half a minute after the API server is.
const LONGEST: u64 = 24_000;

#[derive(Debug)]
pub(super) struct Outage {
    seed: u64,
    failures: u32,
    until: u64,
}

impl Outage {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, failures: 0, until: 0 }
    }

    /// A write failed. Those that were under way beside it say nothing new.
    pub(super) fn failed(&mut self, now: u64, asked: Option<Duration>) {
        if self.failures > 0 && now < self.until {
            return;
        }
        let doubled = FIRST.saturating_mul(2u64.saturating_pow(self.failures.min(10))).min(LONGEST);
        // Up to a quarter more, for each node and failure another.
        let spread = self.seed.wrapping_mul(u64::from(self.failures).wrapping_add(7)) % 256;
        let pause = doubled.saturating_add(doubled.saturating_mul(spread) / 1_024);
        let asked = asked.map_or(0, |asked| u64::try_from(asked.as_millis()).unwrap_or(u64::MAX));
        self.failures = self.failures.saturating_add(1);
        self.until = now.saturating_add(pause.max(asked));
    }

    /// The API server answered.
    pub(super) fn over(&mut self) {
        self.failures = 0;
    }

    /// Whether to hold writes back, and for how long; one write at a time finds out whether it is over.
    pub(super) fn pause(&self, now: u64, writing: bool) -> Option<Option<Duration>> {
        if self.failures == 0 {
            return None;
        }
        if now < self.until {
            return Some(Some(Duration::from_millis(self.until.saturating_sub(now))));
        }
        writing.then_some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_half_a_minute_and_obey_what_is_asked() {
        let mut outage = Outage::new(9);
        let (mut now, mut last) = (0, 0);
        for _ in 0..12 {
            outage.failed(now, None);
            outage.failed(now, None);
            let Some(Some(pause)) = outage.pause(now, false) else { panic!("no pause") };
            let pause = u64::try_from(pause.as_millis()).unwrap();
            assert!(pause <= 30_000 && (pause >= last || last >= LONGEST), "{pause} after {last}");
            (now, last) = (now + pause, pause);
        }
        assert_eq!(outage.pause(now, false), None);
        assert_eq!(outage.pause(now, true), Some(None));
        outage.failed(now, Some(Duration::from_secs(90)));
        assert_eq!(outage.pause(now, false), Some(Some(Duration::from_secs(90))));
        outage.over();
        assert_eq!(outage.pause(now, true), None);
    }
}
