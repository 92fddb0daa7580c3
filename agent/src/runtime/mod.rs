//! The runtime as the agent meets it: adapted for the relist loop, and watched for its own health.

pub mod advisory;
pub mod class;
pub mod probe;
pub mod seam;
pub mod strangers;
pub mod watch;
