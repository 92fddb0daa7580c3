//! The HTTPS API over real sockets: who gets in, what is refused, and what is answered.

mod access;
mod connections;
mod logs;
mod reading;
mod rig;
