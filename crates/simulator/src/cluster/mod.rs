//! Several nodes in one history, over a network in memory.
//!
//! The services, their logs and their replication are the real ones. Not real is what carries messages ([`network`]) and what
//! agrees on commands ([`agreement`]: a list that stands for Raft's log, behind the same port). [`model`] knows what each node's
//! log has taken, and from that what the node must answer; [`run`] plays the history, and knows what each level promises.

pub mod agreement;
mod compare;
mod content;
pub mod history;
pub mod model;
pub mod network;
mod promises;
pub mod run;
mod schedules;
pub mod seat;
mod shrink;
