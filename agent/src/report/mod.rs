//! What the node tells the API of its pods: the only files that write pods and events there.

pub mod events;
pub mod mirror;
pub mod refusal;
