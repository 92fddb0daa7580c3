//! Images of containers: by which policy one is looked up or pulled, and doing so.

pub mod ensure;
pub mod name;
pub mod policy;
