//! Copies of what is stored, for backups.

use std::path::Path;

use crate::catalog::TableId;
use crate::error::StorageError;
use crate::wal::Sequence;

/// A store that can be copied while it works.
pub trait SnapshotPort: Send + Sync {
    /// Puts into `target`, which does not exist yet, what the store held at one moment of the call: links to files that
    /// never change, copies of the others. A store that is kept by table leaves out those that are not `wanted`.
    fn snapshot(&self, target: &Path, wanted: &dyn Fn(TableId) -> bool) -> Result<(), StorageError>;
}

/// The log, copied the same way.
pub trait LogSnapshotPort: Send + Sync {
    /// Returns the last record in the copy.
    fn snapshot(&self, target: &Path) -> Result<Sequence, StorageError>;
}
