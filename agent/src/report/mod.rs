//! What the API server is told of pods. Nothing here decides what a pod does.

pub mod deletion;
mod hush;
mod known;
pub mod patch;
mod slots;
pub mod status;
mod write;

pub use known::Reported;
pub use status::{Parts, start};
