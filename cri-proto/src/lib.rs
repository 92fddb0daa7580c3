//! CRI v1 for Pinnace: wire types, a client, and the plain values that the rest of the workspace works on.

pub mod call;
pub mod client;
pub mod container;
pub mod content;
pub mod error;
#[cfg(feature = "fake")]
pub mod fake;
pub mod id;
pub mod image;
pub mod labels;
pub mod lister;
mod redact;
pub mod sandbox;
pub mod task_event;
pub mod wire;

/// CRI v1 as it goes over the wire, generated from `proto/api.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated code; the proto file is its documentation"
)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

/// containerd's own events as they go over the wire, generated from `proto/containerd_events.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated code; the proto file is its documentation"
)]
pub(crate) mod task_v1 {
    tonic::include_proto!("containerd.services.events.v1");
}
