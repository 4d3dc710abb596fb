//! The catalogue's store: what all nodes of a cluster agree on.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::StorageError;
use crate::wal::Sequence;

/// Keeps the catalogue that the commands of the log have made.
pub trait CatalogPort: Send + Sync {
    /// The catalogue as of now. Cheap.
    fn catalog(&self) -> Arc<Catalog>;

    /// The log record up to which commands are part of the catalogue.
    fn applied(&self) -> Sequence;

    /// Stores the catalogue and `applied` together, then publishes them, or changes nothing. What is stored need not
    /// survive a power failure before [`LocalStatePort::sync`](super::LocalStatePort::sync): the log has the commands.
    /// One caller at a time.
    fn publish(&self, catalog: Catalog, applied: Sequence) -> Result<(), StorageError>;
}
