//! The ports: what the application needs from the outside ([`outbound`]), what it offers ([`inbound`]), and the values
//! they carry. Calls block; callers own the threads.

mod cluster;
mod cluster_node;
pub mod inbound;
pub mod outbound;
mod repair;
mod write;

pub use cluster::{ClusterPort, NodeInfo, NodeStatus, Unready};
pub use cluster_node::{ClusterNodePort, Proposer, ReceiveError};
pub use inbound::{AuthError, AuthPort, BackupPort, Caller, Credentials, IngestionPort, SchemaPort};
pub use outbound::{
    BatchStream, CatalogPort, ConsensusLogPort, ConsensusPort, Delivery, DeliveryError, DeliveryPort,
    DirtyPartition, DirtyWindows, EncodedEntry, LocalStatePort, LogSnapshotPort, NewRecord, Outbound,
    PartitionInfo, PeerBatch, PeerError, PeerLag, PeerPort, PeerRecord, PointsSinkPort, ProposalError,
    QueryPort, SeriesIndexPort, SeriesRefusal, SnapshotPort, SqlAnswer, SqlError, SqlPort, SqlStatement,
    SqlText, StoredRecord, UnfinishedDeletes, WalPort,
};
pub use repair::{DigestQuery, RepairPeersPort, RepairPort, RepairProgress, RowsPage, RowsQuery};
pub use write::{BodyFormat, WriteError, WriteRequest, WriteSource};
