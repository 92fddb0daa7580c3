//! History and intent that outlive the process (DESIGN 9): never a second truth.

pub mod history;
