//! The whole agent as a member of a cluster, in virtual time: the fake runtime on one side, the fake API server, whose
//! Node authorizer and NodeRestriction bind it, on the other. One program, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../fake_api/mod.rs"]
mod fake_api;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fake_api/host.rs"]
mod host;

mod admission;
mod credentials;
mod deletion;
mod downtime;
mod environment;
mod faults;
mod flips;
mod generations;
mod images;
mod lists;
mod mirrors;
mod objects;
mod outage;
mod phases;
mod pods;
mod rig;
mod runtime_class;
mod takeover;
