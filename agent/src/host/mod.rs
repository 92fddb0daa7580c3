//! What the machine is: parsers of what the kernel shows, each pure, and one thin reader.

pub mod address;
pub mod cpu;
pub mod enforcement;
pub mod hugepages;
pub mod identity;
pub mod machine;
pub mod memory;
pub mod route;
pub mod tunables;
