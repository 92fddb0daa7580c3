//! The server's wall clock: a starting point that advances with tokio's clock.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Wall time that a paused tokio clock moves.
#[derive(Debug, Clone, Copy)]
pub struct Wall {
    start: Timestamp,
    began: Instant,
}

impl Wall {
    pub fn new(start: Timestamp) -> Self {
        Self { start, began: Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        self.start + self.began.elapsed()
    }
}

/// How `metav1.Time` is written: whole seconds, UTC.
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `seconds` of a moment `after` another.
pub fn later(at: Timestamp, after: Duration) -> String {
    seconds(at + after)
}
