//! What the agent serves on this machine: the admin socket for `pinnace pods` and its like, and `/healthz`.
//!
//! Both read through [`views::Views`], which `app` implements on the pods that it runs; neither changes anything.

pub mod lookup;
pub mod views;
