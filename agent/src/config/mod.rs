//! Configuration: KubeletConfiguration files, drop-ins and flags become one validated [`effective::Config`].
//! The command line itself, with every flag that a kubelet has, is [`command_line`]'s.
//!
//! ```text
//! --config, --config-dir ─ read ─→ layer (one per file) ┐
//! flags ─────────────────────────→ layer                ┴→ merge → typed → range, effective → Config
//! ```
//! Read once at start; nothing here is read again while the agent runs.

pub mod command_line;
pub mod duration;
pub mod effective;
pub mod enforced;
pub mod error;
pub mod file;
pub mod flags;
pub mod images;
pub mod layer;
pub mod load;
pub mod node;
pub mod node_flags;
mod node_labels;
pub mod range;
pub mod reserve;
pub mod section;
pub mod serving;
pub mod wire;
