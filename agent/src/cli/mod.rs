//! The command line: what it takes ([`args`]), how it asks the agent ([`client`]), and how it shows the answer
//! (the pure rest).

pub mod age;
pub mod args;
pub mod client;
pub mod command;
pub mod command_line;
pub mod exit;
pub mod explain;
pub mod list;
pub mod log_output;
pub mod query;
pub mod table;
