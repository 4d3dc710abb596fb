//! The ports: what the application needs from the outside ([`outbound`]), what it offers ([`inbound`]), and the values
//! they carry. Calls block; callers own the threads.

pub mod inbound;
pub mod outbound;
mod write;

pub use inbound::{AuthError, AuthPort, BackupPort, Caller, Credentials, IngestionPort, SchemaPort};
pub use outbound::{
    BatchStream, CatalogPort, Delivery, DeliveryError, DeliveryPort, DirtyPartition, DirtyWindows,
    EncodedEntry, LocalStatePort, LogSnapshotPort, NewRecord, Outbound, PartitionInfo, PointsSinkPort,
    QueryPort, SeriesIndexPort, SeriesRefusal, SnapshotPort, SqlAnswer, SqlError, SqlPort, SqlStatement,
    UnfinishedDeletes, WalPort,
};
pub use write::{WriteError, WriteRequest};
