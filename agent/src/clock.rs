//! The two clocks in one value. Pure code receives a [`Now`]; this is the only file that reads one.
//!
//! Intervals, backoff and grace use [`BootTime`]: it survives a restart of the agent, never steps, and says
//! which boot it belongs to. Wall time is for API fields and for what the runtime stamped.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One reading of both clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// For intervals.
    pub boot: BootTime,
    /// For people and for the API.
    pub wall: Timestamp,
}

/// Time since a particular boot, comparable across restarts of the agent but not across boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootTime {
    /// Which boot, from `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Arc<str>,
    /// CLOCK_BOOTTIME in milliseconds.
    pub millis: u64,
}

/// A moment that a later run of the agent can measure from: both clocks, so that after a reboot
/// the interval falls back to wall time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// For intervals within one boot.
    pub boot: BootTime,
    /// For intervals across boots, clamped.
    pub wall: Timestamp,
}

impl Now {
    /// This moment, to be kept.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { boot: self.boot.clone(), wall: self.wall }
    }

    /// How long ago `then` was: by the boot clock within one boot, else by wall time, in both cases
    /// within `[0, limit]`.
    #[must_use]
    pub fn since(&self, then: &Stamp, limit: Duration) -> Duration {
        let elapsed = if self.boot.boot_id == then.boot.boot_id {
            Duration::from_millis(self.boot.millis.saturating_sub(then.boot.millis))
        } else {
            wall_between(then.wall, self.wall)
        };
        elapsed.min(limit)
    }

    /// How long ago a wall-clock moment was that only the runtime stamped, within `[0, limit]`.
    #[must_use]
    pub fn since_wall(&self, then: Timestamp, limit: Duration) -> Duration {
        wall_between(then, self.wall).min(limit)
    }
}

fn wall_between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// Reads the clocks. Built once by `app` and handed to the loops.
///
/// Both readings advance with tokio's clock from a starting point, so a paused test clock moves them together;
/// the wall clock of a real run is read afresh each time, since it may step.
#[derive(Debug, Clone)]
pub struct Clock {
    boot_id: Arc<str>,
    start_boot_millis: u64,
    start: tokio::time::Instant,
    wall: Wall,
}

#[derive(Debug, Clone)]
enum Wall {
    System,
    Scripted { start: Timestamp, step_millis: Arc<std::sync::atomic::AtomicI64> },
}

impl Clock {
    /// The clocks of this machine.
    pub fn of_this_machine() -> std::io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let since_boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
        let millis = u64::try_from(Duration::from(since_boot).as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            boot_id: boot_id.trim().into(),
            start_boot_millis: millis,
            start: tokio::time::Instant::now(),
            wall: Wall::System,
        })
    }

    /// Clocks that start at given readings and move with tokio's clock only.
    #[must_use]
    pub fn scripted(boot_id: &str, start_boot: Duration, wall: Timestamp) -> Self {
        Self {
            boot_id: boot_id.into(),
            start_boot_millis: u64::try_from(start_boot.as_millis()).unwrap_or(u64::MAX),
            start: tokio::time::Instant::now(),
            wall: Wall::Scripted { start: wall, step_millis: Arc::default() },
        }
    }

    /// Steps a scripted wall clock by so many milliseconds; the boot clock does not move.
    pub fn step_wall(&self, millis: i64) {
        if let Wall::Scripted { step_millis, .. } = &self.wall {
            step_millis.fetch_add(millis, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Both clocks, read once.
    #[must_use]
    pub fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let boot = BootTime {
            boot_id: Arc::clone(&self.boot_id),
            millis: self.start_boot_millis.saturating_add(millis),
        };
        Now { boot, wall: self.wall.read(elapsed) }
    }
}

impl Wall {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn read(&self, elapsed: Duration) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Scripted { start, step_millis } => {
                let step = step_millis.load(std::sync::atomic::Ordering::Relaxed);
                let stepped = start.checked_add(jiff::SignedDuration::from_millis(step)).unwrap_or(*start);
                stepped.checked_add(elapsed).unwrap_or(stepped)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(boot_id: &str, millis: u64, wall_second: i64) -> Now {
        let boot = BootTime { boot_id: boot_id.into(), millis };
        Now { boot, wall: Timestamp::from_second(wall_second).unwrap() }
    }

    #[test]
    fn within_a_boot_the_wall_clock_does_not_matter() {
        let then = now("a", 1_000, 500).stamp();
        assert_eq!(now("a", 3_500, 9).since(&then, Duration::MAX), Duration::from_millis(2_500));
    }

    #[test]
    fn across_boots_wall_time_is_clamped() {
        let then = now("a", 1_000_000, 500).stamp();
        let limit = Duration::from_secs(60);
        assert_eq!(now("b", 5, 510).since(&then, limit), Duration::from_secs(10));
        assert_eq!(now("b", 5, 400).since(&then, limit), Duration::ZERO);
        assert_eq!(now("b", 5, 9_999).since(&then, limit), limit);
    }

    #[tokio::test(start_paused = true)]
    async fn scripted_clocks_move_together_and_only_the_wall_steps() {
        let clock = Clock::scripted("x", Duration::from_secs(100), Timestamp::from_second(1_000).unwrap());
        let first = clock.now();
        tokio::time::advance(Duration::from_secs(5)).await;
        clock.step_wall(-3_600_000);
        let second = clock.now();
        assert_eq!(second.since(&first.stamp(), Duration::MAX), Duration::from_secs(5));
        assert_eq!(second.wall.as_second(), 1_005 - 3_600);
    }
}
