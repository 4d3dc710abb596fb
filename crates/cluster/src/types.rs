//! Raft's types, and ours beside them.

use std::io::Cursor;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::{LogPosition, Membership, NodeAddress, NodeId, Proposal};
use openraft::{CommittedLeaderId, LogId, StorageIOError, StoredMembership};

openraft::declare_raft_types!(
    /// A cluster agrees on proposals; what became of them each node tells its own clients.
    pub TypeConfig:
        D = Proposal,
        R = (),
        NodeId = NodeId,
        Node = NodeAddress,
        SnapshotData = Cursor<Vec<u8>>,
);

pub type Raft = openraft::Raft<TypeConfig>;
pub type RaftStorageError = openraft::StorageError<NodeId>;

pub fn position_of(id: LogId<NodeId>) -> LogPosition {
    LogPosition { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

pub fn log_id_of(position: LogPosition) -> LogId<NodeId> {
    LogId::new(CommittedLeaderId::new(position.term, position.leader), position.index)
}

pub fn membership_of(stored: &StoredMembership<NodeId, NodeAddress>) -> Membership {
    Membership {
        position: stored.log_id().map(position_of),
        voters: stored.membership().get_joint_config().clone(),
        nodes: stored.nodes().map(|(id, node)| (*id, node.clone())).collect(),
    }
}

pub fn stored_membership_of(membership: &Membership) -> StoredMembership<NodeId, NodeAddress> {
    StoredMembership::new(
        membership.position.map(log_id_of),
        openraft::Membership::new(membership.voters.clone(), membership.nodes.clone()),
    )
}

/// Which part of the storage failed.
pub enum Failed {
    ReadLogs,
    WriteLogs,
    ReadVote,
    WriteVote,
    ReadState,
    WriteState,
}

/// Openraft stops on any of them; the process then starts anew.
pub fn storage_error(what: Failed, error: &(impl std::error::Error + 'static)) -> RaftStorageError {
    let error = match what {
        Failed::ReadLogs => StorageIOError::read_logs(error),
        Failed::WriteLogs => StorageIOError::write_logs(error),
        Failed::ReadVote => StorageIOError::read_vote(error),
        Failed::WriteVote => StorageIOError::write_vote(error),
        Failed::ReadState => StorageIOError::read_state_machine(error),
        Failed::WriteState => StorageIOError::write_state_machine(error),
    };
    RaftStorageError::IO { source: error }
}

/// An error of encoding or decoding, where storage errors are wanted.
pub fn corrupt(what: &str, error: impl std::fmt::Display) -> StorageError {
    StorageError::corrupt(format!("the cluster's log, {what}"), error)
}
