//! Pods: one worker each, which observes, decides by a pure plan, acts on the runtime and commits to the journal.

pub mod backoff;
pub mod go_duration;
pub mod marks;
pub mod plan;
pub mod step;
