//! What a command's exit code says. Scripts rely on these numbers: they are never given a new meaning.

/// Done.
pub const OK: u8 = 0;
/// It failed for a reason that none of the others names.
pub const FAILURE: u8 = 1;
/// The arguments are wrong. The same number as clap's own.
pub const USAGE: u8 = 2;
/// No agent answers at the admin socket.
pub const UNREACHABLE: u8 = 3;
/// There is no such pod, container or log, or several have that name.
pub const NOT_FOUND: u8 = 4;
/// The configuration of `run` or `check` is wrong.
pub const CONFIG: u8 = 5;
/// An agent with the same root directory or socket is running already.
pub const ALREADY_RUNNING: u8 = 6;
/// `check` found something without which pods cannot run.
pub const CHECK_FAILED: u8 = 7;
/// The API server has a node of this name that cannot be this one.
pub const NODE_REFUSED: u8 = 8;
