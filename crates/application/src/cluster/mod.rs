//! A node among others: commands are agreed on, writes are sent to all.
//!
//! [`agreement`] hands commands to the nodes' common order; what comes back becomes a record of this node's log ([`node`]).
//! [`replication`] reads the log behind a cursor for each other node ([`peers`]) and sends what this node took from its
//! clients; what another node sends is taken by [`node`], in the order of its clocks. Nothing received is sent on.

pub mod agreement;
pub mod node;
pub mod peers;
pub mod replication;

#[cfg(test)]
mod tests;
