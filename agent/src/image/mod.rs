//! Images: by which policy one is looked up or pulled, with which credentials, who may have what is there, and doing so.

pub mod ensure;
pub mod images;
pub mod keyring;
pub mod lanes;
pub mod name;
pub mod plugin;
pub mod policy;
pub mod progress;
pub mod pull;
pub mod rate;
pub mod records;
pub mod resolved;
pub mod words;

pub use images::{Images, Settings};
