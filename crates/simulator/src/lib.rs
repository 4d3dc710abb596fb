//! The simulator: the services over ports in memory, one thread at a time, with faults, checked against a model.

pub mod cluster;
pub mod history;
pub mod model;
pub mod observe;
pub mod process;
pub mod run;
pub mod scheduler;
pub mod shrink;
