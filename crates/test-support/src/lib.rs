//! What the tests of several crates need of the system: ports, and disks that can be full.

mod free_port;
mod tmpfs;

pub use free_port::free_port;
pub use tmpfs::Tmpfs;
