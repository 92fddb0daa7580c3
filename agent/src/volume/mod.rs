//! Volumes: what a pod's are made of, the files in them, and the tokens that must be renewed while the pod runs.
//!
//! ```text
//!  pod ──plan──▶ sources ──fetch──▶ objects and tokens ──payload──▶ files ──atomic_writer──▶ changes ──▶ disk
//!                                        ▲                                                        ▲
//!                                   token (when)                refresh (loop) ───────────────────┘
//! ```
//!
//! Projected volumes of service-account tokens, ConfigMaps and the pod's namespace are built; the gate holds pods with
//! any other. Nothing here decides when a pod is set up or torn down: the pod's plan does.

pub mod atomic_writer;
mod live;
pub mod owner;
pub mod payload;
mod place;
pub mod plan;
pub mod refresh;
pub mod set_up;
pub mod step;
// SUBPATH
pub mod tear_down;
pub mod token;

pub use refresh::TokenRefresher;
pub use set_up::Volumes;
