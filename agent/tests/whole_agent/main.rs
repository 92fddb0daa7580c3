//! The whole agent in virtual time against the fake runtime. One program, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod backoff;
mod cgroups;
mod checks;
mod clock_steps;
mod events;
mod images;
mod latency;
mod lifecycle;
mod lost_replies;
mod malformed;
mod manifests;
mod panics;
mod pods;
mod restart;
mod rpc_faults;
mod security;
mod slow_runtime;
