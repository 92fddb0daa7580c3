//! Normal events let starts go first. A write costs the API server more than a start can spare on a machine that runs
//! both, and says only what goes well. Pure; moments are milliseconds of the boot clock.

/// Longest time that a normal event waits for starts: two CPUs make a node full of pods in half of it. What goes wrong
/// never waits, and `pinnace events` has all at once.
const YIELD: u64 = 30_000;
/// Starts have ended when none was begun for so long: a pod is started in several calls.
const CALM: u64 = 100;

/// Whether pods are being started.
#[derive(Debug, Default)]
pub(super) struct Starts {
    under_way: bool,
    /// When they ended last.
    ended: u64,
}

impl Starts {
    /// A new word.
    pub(super) fn set(&mut self, under_way: bool, now: u64) {
        if self.under_way && !under_way {
            self.ended = now;
        }
        self.under_way = under_way;
    }

    /// Milliseconds that an event of that moment waits yet.
    pub(super) fn pause(&self, since: u64, now: u64) -> u64 {
        let at_most = since.saturating_add(YIELD).saturating_sub(now);
        if self.under_way {
            at_most
        } else {
            self.ended.saturating_add(CALM).saturating_sub(now).min(at_most)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_waits_for_starts_and_not_for_ever() {
        let mut starts = Starts::default();
        assert_eq!(starts.pause(0, 50), 50);
        assert_eq!(starts.pause(1_000, 1_000), 0);
        starts.set(true, 1_000);
        assert_eq!(starts.pause(1_000, 3_000), YIELD - 2_000);
        assert_eq!(starts.pause(1_000, 31_000), 0);
        starts.set(false, 4_000);
        assert_eq!(starts.pause(1_000, 4_040), CALM - 40);
        assert_eq!(starts.pause(1_000, 4_100), 0);
    }
}
