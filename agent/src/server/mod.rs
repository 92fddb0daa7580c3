//! What the agent serves on this machine: the admin socket for `pinnace pods` and its like, and `/healthz`.
//!
//! Both read through [`views::Views`], which `app` implements on the pods that it runs; neither changes anything.

pub mod accept;
pub mod admin;
pub mod cri_log;
pub mod healthz;
pub mod log_stream;
pub mod log_tail;
pub mod lookup;
pub mod socket;
pub mod views;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
