//! The agent: everything that knows Kubernetes.

pub mod clock;
pub mod disk;
pub mod events;
pub mod excerpt;
pub mod journal;
pub mod lock;
pub mod source;
pub mod supervise;
pub mod systemd;
pub mod timeline;
pub mod view;
