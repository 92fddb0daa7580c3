//! What the agent serves: the admin socket for `pinnace pods` and its like, `/healthz`, and to the API server the
//! kubelet's HTTPS API.
//!
//! All read through [`views::Views`], which `app` implements on the pods that it runs; none changes anything.

pub mod accept;
pub mod admin;
pub mod cri_log;
pub mod healthz;
pub mod https;
pub mod log_file;
pub mod log_stream;
pub mod log_tail;
pub mod lookup;
pub mod socket;
pub mod views;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
