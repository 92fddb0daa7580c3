//! The pod lifecycle event generator: what the runtime holds, and what changed.
//!
//! ```text
//!  Looker::look ──┐                       ┌─ list (one at a time) ──┐
//!  event stream ──┼→ asks ──→ relist ─────┼─ list of one pod        ├─→ drafts ─→ snapshot (watch)
//!  period tick ───┘             ▲         └─ status of one object ──┘     │   └→ events (mpsc)
//!                               └──────────────── answers ────────────────┘
//! ```
//!
//! A list is the truth and an event is a hint: hints only ask for a look at one pod. One loop, [`relist`], is the
//! only writer of the [`snapshot`]. What it read goes into drafts, one per pod; a draft becomes visible when every
//! object in it that changed was inspected, so that a reader never sees an exit without its code. A pod whose
//! inspection hangs or fails is quarantined with its last known state while its neighbours go on.
//!
//! Nothing here orders by time: observations carry a number from one shared [`sequence`], taken before their call.

mod ask;
mod cadence;
mod calls;
pub mod diff;
mod draft;
pub mod health;
pub mod hint;
mod object;
pub mod quarantine;
pub mod relist;
mod repeat;
pub mod seam;
pub mod sequence;
mod slots;
pub mod snapshot;
mod trust;
mod unplaced;

pub use ask::Looker;

#[cfg(test)]
mod fake;
