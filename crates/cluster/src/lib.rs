//! The nodes of a cluster among themselves: Raft for what they must agree on, HTTP with signed requests between them.
//!
//! Nobody else sees [openraft]: the application proposes through `ConsensusPort`, sends records through `PeerPort`, and is
//! told what was agreed on, and what came, through `ClusterNodePort`. Raft's log is behind `ConsensusLogPort`; its state
//! machine is the catalogue, which the application keeps.

mod access;
mod client;
mod cluster;
mod health;
mod joining;
mod lease;
mod log_store;
mod member;
mod membership;
mod network;
mod server;
mod signature;
mod state_machine;
#[cfg(test)]
mod tests;
mod tls;
mod types;

pub use access::{PROTOCOL, PROTOCOL_LEAST};
pub use client::MESSAGE_BYTES_MAX;
pub use cluster::{Cluster, ClusterOptions};
pub use joining::{Copied, DataFolders, Joining, copy_member};
pub use signature::{SIGNATURE_AGE_MAX, Secret};
pub use tls::{Tls, TlsFiles};
