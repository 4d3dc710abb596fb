//! What the application needs from the outside.

mod catalog;
mod cluster;
mod consensus_log;
mod delivery;
mod engine;
mod local_state;
mod series_index;
mod snapshot;
mod sql;
mod wal;

use std::sync::Arc;

pub use catalog::CatalogPort;
pub use cluster::{ConsensusPort, PeerBatch, PeerError, PeerLag, PeerPort, PeerRecord, ProposalError};
pub use consensus_log::{ConsensusLogPort, IndexedEntry};
pub use delivery::{Delivery, DeliveryError, DeliveryPort};
pub use engine::{BatchStream, PartitionInfo, PointsSinkPort, QueryPort, UnfinishedDeletes};
pub use local_state::{DirtyPartition, DirtyWindows, LocalStatePort};
pub use series_index::{SeriesIndexPort, SeriesRefusal};
pub use snapshot::{LogSnapshotPort, SnapshotPort};
pub use sql::{SqlAnswer, SqlError, SqlPort, SqlStatement, SqlText};
pub use wal::{EncodedEntry, NewRecord, StoredRecord, WalPort};

/// All of them, as one process uses them. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    pub sink: Arc<dyn PointsSinkPort>,
    pub engine: Arc<dyn QueryPort>,
    pub catalog: Arc<dyn CatalogPort>,
    pub local_state: Arc<dyn LocalStatePort>,
    pub series: Arc<dyn SeriesIndexPort>,
    pub wal: Arc<dyn WalPort>,
}
