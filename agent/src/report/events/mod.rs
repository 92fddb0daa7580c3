//! Events in the API: what the event log records becomes `core/v1` events, few enough for any API server.
//!
//! ```text
//!  EventLog ──Feed──▶ sink ──▶ correlate: series with counts, similar ones combined, budgets
//!                      │  ◀── next write, or how long to wait
//!                      └──POST, PATCH──▶ API
//! ```
//! `core/v1` and not `events.k8s.io/v1`: in the latter `count`, `lastTimestamp` and `message` may not change, its
//! series shows no first and last time of its own in `kubectl get events`, and the kubelet writes `core/v1`, so that
//! tools which read `source` and `count` find them.
//!
//! Three classes: a warning that is new is never dropped and has a budget of its own; a warning that repeats costs at
//! most one write a minute; normal events are shed first, per pod and container, the latest word last.

mod answer;
mod body;
mod budget;
mod correlate;
mod recent;
mod similar;
mod sink;

pub use correlate::Tally;
pub use sink::{Config, KnownPods, Sink};
