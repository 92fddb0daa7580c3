//! Desired pods: what the sources want, as one watch value.
//!
//! A manifest goes `decode` → `static_pod` (which calls `defaults`, `validate` and `gate`) → `files`,
//! the only loop here. Everything but `files` is values in, values out.

pub mod decode;
pub mod defaults;
pub mod desired;
#[cfg(test)]
pub(crate) mod example;
pub mod fault;
pub mod files;
mod fnv;
pub mod gate;
pub mod static_pod;
pub mod validate;
