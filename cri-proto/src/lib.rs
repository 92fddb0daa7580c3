//! CRI v1 for Pinnace: wire types, a client, and the plain values that the rest of the workspace works on.

pub mod container;
pub mod id;
pub mod sandbox;
