//! The simulator: the services over ports in memory, one thread at a time, with faults, checked against a model.

mod aged;
pub mod client;
pub mod cluster;
pub mod history;
pub mod life;
pub mod model;
pub mod observe;
mod print;
pub mod process;
pub mod queries;
pub mod run;
pub mod scheduler;
pub mod shrink;
