//! What the node tells the API of its pods: the only files that write pods and events there. Nothing here decides
//! what a pod does.

pub mod deletion;
pub mod events;
mod hush;
mod known;
pub mod mirror;
pub mod patch;
pub mod refusal;
mod slots;
pub mod status;
mod write;

pub use known::Reported;
pub use status::{Parts, start};
