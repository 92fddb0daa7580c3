//! Pods: one worker each, which observes, decides by a pure plan, acts on the runtime and commits to the journal.

pub mod act;
pub mod api_status;
pub mod backoff;
pub mod card;
pub mod changed;
pub mod container;
pub mod fleet;
pub mod go_duration;
pub mod marks;
pub mod message;
pub mod mind;
pub mod paths;
pub mod plan;
pub mod resources;
pub mod roster;
pub mod sandbox;
pub mod security;
pub mod slots;
pub mod status;
pub mod step;
pub mod telling;
pub mod worker;
