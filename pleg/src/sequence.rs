//! The order of observations: a counter, never a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counter that relist and everyone who acts on the runtime share.
///
/// An observation takes [`begin`](Self::begin) before its first call. An actor reads [`current`](Self::current)
/// after its own call returned: every observation with a greater begin started after that moment and saw the effect.
#[derive(Debug, Clone, Default)]
pub struct Sequence(Arc<AtomicU64>);

impl Sequence {
    /// A counter at 0; the first observation begins at 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The begin of the observation that started last; 0 before the first.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Starts an observation and says its number.
    #[must_use]
    pub fn begin(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_after_an_action_ended_is_greater() {
        let sequence = Sequence::new();
        let before = sequence.begin();
        let done = sequence.clone().current();
        let after = sequence.begin();
        assert!(before <= done && after > done);
    }
}
