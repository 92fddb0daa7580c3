//! The pod lifecycle event generator: what the runtime holds, and what changed.

pub mod seam;
