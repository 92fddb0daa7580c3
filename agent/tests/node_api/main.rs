//! The node in the API: a whole agent in virtual time against the fake runtime and the fake API server, whose Node
//! authorizer and NodeRestriction bind it.

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

mod cost;
mod mirrors;
mod real;
mod rig;
mod start;
mod truth;
