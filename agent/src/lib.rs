//! The agent: everything that knows Kubernetes.

pub mod app;
pub mod board;
pub mod chain;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod events;
pub mod excerpt;
pub mod image;
pub mod journal;
pub mod lock;
pub mod pod;
pub mod quantity;
pub mod report;
pub mod runtime;
pub mod server;
pub mod source;
pub mod start;
pub mod supervise;
pub mod systemd;
pub mod timeline;
pub mod view;
