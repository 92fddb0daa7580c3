//! Volumes: what a pod's are made of, the files in them, and how they are kept as they should be while the pod runs.
//!
//! ```text
//!  pod ──plan──▶ emptyDir, hostPath ──────────────────────────────────────────────────────────▶ disk
//!            └─▶ sources ──gather──▶ objects and tokens ──payload──▶ files ──atomic_writer──▶ changes
//!                                         ▲                                                     ▲
//!                                    token (when)                refresh (loop) ────────────────┘
//! ```
//!
//! The gate holds pods with a volume that is not built. Nothing here decides when a pod is set up or torn down: the
//! pod's plan does.

pub mod allocatable;
pub mod atomic_writer;
mod bring;
pub mod changes;
mod digest;
mod directories;
mod empty_dir;
mod gather;
mod host_path;
mod huge_pages;
pub(crate) mod image;
#[cfg(test)]
mod killed;
mod live;
mod nested;
pub mod owner;
pub mod payload;
mod place;
pub mod plan;
pub(crate) mod reach;
pub mod refresh;
pub mod set_up;
pub mod size;
pub mod step;
pub(crate) mod sub_path;
pub mod tear_down;
pub mod token;
mod trust;

pub use allocatable::Allocatable;
pub use refresh::TokenRefresher;
pub use set_up::Volumes;
