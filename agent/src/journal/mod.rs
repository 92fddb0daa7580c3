//! History and intent that outlive the process: never a second truth.
//!
//! `frame` and `record` (pure) say what a file looks like, `store` reads and writes the two files,
//! `queue` holds what is not written yet, `writer` is the loop between the two. Callers hold a [`Journal`].

pub mod frame;
pub mod history;
mod queue;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use queue::Journal;
pub use store::JournalError;
pub use writer::{Opened, Writer};
