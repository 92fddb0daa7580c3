//! The real binary as a process, against the fake runtime on a Unix socket: what people, init systems and scripts
//! meet.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test"
)]

#[path = "process/cluster.rs"]
mod cluster;
#[path = "fake_api/mod.rs"]
mod fake_api;
#[path = "process/full_disk.rs"]
mod full_disk;
#[path = "process/instance.rs"]
mod instance;
#[path = "process/machine.rs"]
mod machine;
#[path = "process/pods.rs"]
mod pods;
#[path = "process/runtime.rs"]
mod runtime;
#[path = "process/virtual_nodes.rs"]
mod virtual_nodes;
