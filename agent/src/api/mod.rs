//! The way to the API server: kubeconfig, connections, and what their failures mean.
//!
//! Everything else receives a [`kube::Client`] and never builds one. A client exists from the start, also while the
//! kubeconfig cannot be used: its calls then fail with the reason, and work once the file does.

pub mod connections;
pub mod decoded;
pub mod fault;
pub mod guard;
pub mod kubeconfig;
pub mod link;

pub mod patience;
pub mod transport;
