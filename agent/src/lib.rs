//! The agent: everything that knows Kubernetes.

pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod excerpt;
pub mod journal;
pub mod lock;
pub mod quantity;
pub mod server;
pub mod source;
pub mod supervise;
pub mod view;
