//! Desired pods: what the sources want, as one watch value.

pub mod desired;
