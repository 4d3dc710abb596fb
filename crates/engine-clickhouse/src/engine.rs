//! The servers as one engine.

use std::collections::HashMap;
use std::sync::Arc;

use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::TableId;
use parking_lot::Mutex;

use crate::insert::Attempted;
use crate::options::ClickHouseOptions;
use crate::servers::Servers;
use crate::watch::Watch;

pub struct ClickHouseEngine {
    pub(crate) servers: Arc<Servers>,
    /// Of the insert at work, by table: what has become of its parts, by token and servers.
    pub(crate) attempts: Mutex<HashMap<TableId, HashMap<String, Attempted>>>,
    /// When this process deleted rows of a table last: what is inserted afterwards is another insert, although its rows may have
    /// been stored before, by a server that was killed and now carries out its log again.
    pub(crate) deleted: Mutex<HashMap<TableId, u128>>,
    _watch: Watch,
}

impl ClickHouseEngine {
    /// Asks the servers. Those that do not answer are no error: they are asked again.
    pub fn open(options: ClickHouseOptions) -> Result<Self, EngineError> {
        let servers = Arc::new(Servers::new(options)?);
        let watch = Watch::start(servers.clone())?;
        match servers.connected() {
            Err(EngineError::Unavailable(text)) => {
                tracing::error!("{text}; points stay in the log until that has changed");
            }
            connected => drop(connected?),
        }
        Ok(Self { servers, attempts: Mutex::default(), deleted: Mutex::default(), _watch: watch })
    }
}
