//! The agent: everything that knows Kubernetes.

pub mod clock;
pub mod disk;
pub mod journal;
pub mod quantity;
pub mod source;
pub mod view;
