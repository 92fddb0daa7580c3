//! Dead containers.

pub mod plan;
