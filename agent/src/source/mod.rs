//! Desired pods: what the sources want, as one watch value.
//!
//! A manifest goes `decode` → `static_pod` (which calls `defaults`, `validate` and `gate`) → `files`; an object of the
//! API goes `apiserver::pod` (which calls `gate`) → `apiserver`; `merge` joins the two. Loops are `files`, `apiserver`
//! and `merge::run`; everything else is values in, values out.

pub mod apiserver;
pub mod decode;
pub mod defaults;
pub mod desired;
#[cfg(test)]
pub(crate) mod example;
pub mod fault;
pub mod files;
mod fnv;
pub mod gate;
pub mod merge;
pub mod static_pod;
pub mod validate;
