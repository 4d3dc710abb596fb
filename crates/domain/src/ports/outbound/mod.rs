//! What the application needs from the outside.

mod catalog;
mod engine;
mod local_state;
mod series_index;
mod wal;

pub use catalog::CatalogPort;
pub use engine::{BatchStream, PartitionInfo, PointsSinkPort, QueryPort, UnfinishedDeletes};
pub use local_state::{DirtyPartition, DirtyWindows, LocalStatePort};
pub use series_index::{SeriesIndexPort, SeriesRefusal};
pub use wal::{EncodedEntry, NewRecord, WalPort};
