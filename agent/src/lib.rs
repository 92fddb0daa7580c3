//! The agent: everything that knows Kubernetes.

pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod journal;
pub mod server;
pub mod source;
pub mod view;
