//! The ports: what the application needs from the outside ([`outbound`]), what it offers ([`inbound`]), and the values
//! they carry. Calls block; callers own the threads.

pub mod inbound;
pub mod outbound;
mod write;

pub use inbound::{AuthPort, Credentials, IngestionPort};
pub use outbound::{
    BatchStream, CatalogPort, DirtyPartition, DirtyWindows, EncodedEntry, LocalStatePort, NewRecord,
    PartitionInfo, PointsSinkPort, QueryPort, SeriesIndexPort, SeriesRefusal, UnfinishedDeletes, WalPort,
};
pub use write::{WriteError, WriteRequest};
