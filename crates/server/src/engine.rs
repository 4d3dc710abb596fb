//! Which engine holds the points, and that it is the one which held them before.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::engine_copy::EngineSide;
use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::ports::{PointsSinkPort, QueryPort, SnapshotPort, SqlPort};
use hyperbytedb_engine_chdb::{ChdbEngine, ChdbOptions};
use hyperbytedb_engine_clickhouse::{ClickHouseEngine, ClickHouseOptions};

use crate::config::Config;
use crate::metrics::Report;

/// In the data folder of a server whose points are in ClickHouse: who it is there.
const INSTALLATION: &str = "clickhouse-installation";
/// The same where the points are not there (yet, or any more), but are copied there, or were.
const COPY: &str = "clickhouse-copy";

/// The engine by its ports.
pub struct Engine {
    pub sink: Arc<dyn PointsSinkPort>,
    pub queries: Arc<dyn QueryPort>,
    pub snapshots: Arc<dyn SnapshotPort>,
    pub sql: Arc<dyn SqlPort>,
    /// Opens in the background.
    embedded: Option<Arc<ChdbEngine>>,
}

impl Engine {
    pub fn open(config: &Config) -> Result<Self, Box<dyn Error>> {
        let data_dir = Path::new(&config.storage.data_dir);
        if config.engine.is_clickhouse() {
            let installation = fs::read_to_string(data_dir.join(INSTALLATION))
                .map_err(|error| format!("{}: {error}", data_dir.join(INSTALLATION).display()))?;
            let installation = installation.trim().to_owned();
            return Ok(Self::new(
                Arc::new(ClickHouseEngine::open(clickhouse_options(config, installation))?),
                None,
            ));
        }
        let engine = Arc::new(ChdbEngine::open(chdb_options(config))?);
        Ok(Self::new(engine.clone(), Some(engine)))
    }

    fn new<E>(engine: Arc<E>, embedded: Option<Arc<ChdbEngine>>) -> Self
    where
        E: PointsSinkPort + QueryPort + SnapshotPort + SqlPort + 'static,
    {
        Self {
            sink: engine.clone(),
            queries: engine.clone(),
            snapshots: engine.clone(),
            sql: engine,
            embedded,
        }
    }

    /// Waits for an engine that is being opened; returns why it cannot be.
    pub fn opened(&self) -> impl FnOnce() -> Result<(), EngineError> + Send + 'static {
        let embedded = self.embedded.clone();
        move || embedded.map_or(Ok(()), |engine| engine.wait_until_open())
    }

    /// Sets the gauges of the embedded engine; ClickHouse's servers have metrics of their own.
    pub fn reporter(&self) -> Report {
        let embedded = self.embedded.clone();
        Box::new(move || {
            if let Some(Err(error)) = embedded.as_ref().map(|engine| engine.report()) {
                tracing::debug!(%error, "the engine did not say how it does");
            }
        })
    }
}

/// Refuses a data folder whose points are in another engine than the configured one. A new folder notes that its are in
/// ClickHouse.
pub fn refuse_other_engine(config: &Config) -> Result<(), String> {
    let data_dir = Path::new(&config.storage.data_dir);
    match config.engine.is_clickhouse() {
        true => note_installation(data_dir, config),
        false => refuse_points_elsewhere(data_dir),
    }
}

/// For those who look at the embedded engine's files.
pub fn refuse_points_elsewhere(data_dir: &Path) -> Result<(), String> {
    if data_dir.join(INSTALLATION).exists() {
        let dir = data_dir.display();
        return Err(format!(
            "the points of {dir} are in ClickHouse: set engine.kind = \"clickhouse\", or take another data folder"
        ));
    }
    Ok(())
}

/// Makes up who this server is in ClickHouse, unless it knows.
fn note_installation(data_dir: &Path, config: &Config) -> Result<(), String> {
    let path = data_dir.join(INSTALLATION);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    if config.meta_dir().join("CURRENT").exists() {
        let dir = data_dir.display();
        return Err(format!(
            "the points of {dir} are in the embedded engine: set engine.kind = \"chdb\", take another data folder, or \
             move them (hyperbytedb engine copy)"
        ));
    }
    make_up(data_dir, INSTALLATION).map_err(failed)
}

/// Writes who this server is in ClickHouse.
fn make_up(data_dir: &Path, name: &str) -> std::io::Result<()> {
    let mut random = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    writeln!(file, "{:032x}", u128::from_ne_bytes(random))?;
    file.as_file().sync_all()?;
    file.persist(data_dir.join(name)).map_err(|error| error.error)?;
    File::open(data_dir)?.sync_all()
}

/// Who a data folder's server is in ClickHouse, for a copy of its points from one engine to the other.
pub struct Installation {
    data_dir: PathBuf,
    to_clickhouse: bool,
    id: String,
}

impl Installation {
    /// Refuses a folder whose points are not where they are to be copied from.
    pub fn of_a_copy(data_dir: &Path, to_clickhouse: bool) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", data_dir.display());
        let is_there = data_dir.join(INSTALLATION).try_exists().map_err(failed)?;
        if is_there == to_clickhouse {
            let (dir, place) =
                (data_dir.display(), if is_there { "in ClickHouse" } else { "in the embedded engine" });
            return Err(format!("the points of {dir} are {place} already"));
        }
        if to_clickhouse && !data_dir.join(COPY).try_exists().map_err(failed)? {
            make_up(data_dir, COPY).map_err(failed)?;
        }
        let mut own = Self { data_dir: data_dir.to_owned(), to_clickhouse, id: String::new() };
        own.id = fs::read_to_string(own.path()).map_err(failed)?.trim().to_owned();
        Ok(own)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file that says so.
    pub fn path(&self) -> PathBuf {
        self.data_dir.join(if self.to_clickhouse { COPY } else { INSTALLATION })
    }

    /// From now on the points are in the other engine.
    pub fn switch(&self) -> Result<(), String> {
        let path = self.path();
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let other = self.data_dir.join(if self.to_clickhouse { INSTALLATION } else { COPY });
        fs::rename(&path, other).map_err(failed)?;
        File::open(&self.data_dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }
}

pub fn clickhouse_side(config: &Config, installation: &str) -> Result<EngineSide, EngineError> {
    let engine = Arc::new(ClickHouseEngine::open(clickhouse_options(config, installation.to_owned()))?);
    Ok(EngineSide { rows: engine.clone(), store: engine })
}

pub fn embedded_side(config: &Config, folder: &Path) -> Result<EngineSide, EngineError> {
    let engine =
        Arc::new(ChdbEngine::open(ChdbOptions { data_path: folder.to_owned(), ..chdb_options(config) })?);
    engine.wait_until_open()?;
    Ok(EngineSide { rows: engine.clone(), store: engine })
}

fn clickhouse_options(config: &Config, installation: String) -> ClickHouseOptions {
    let clickhouse = &config.clickhouse;
    ClickHouseOptions {
        urls: clickhouse.urls.clone(),
        user: clickhouse.user.clone(),
        password: clickhouse.password.reveal().to_owned(),
        database: clickhouse.database.clone(),
        cluster: clickhouse.cluster.clone(),
        replicated: clickhouse.replicated,
        insert_quorum: clickhouse.insert_quorum.clone(),
        ca_certificate: (!clickhouse.ca_certificate.is_empty())
            .then(|| PathBuf::from(&clickhouse.ca_certificate)),
        connect_timeout: Duration::from_millis(clickhouse.connect_timeout_ms),
        request_timeout: Duration::from_secs(clickhouse.request_timeout_secs),
        fsync: clickhouse.fsync,
        deduplication_window: clickhouse.deduplication_window,
        installation,
        origin: config.node_id(),
    }
}

fn chdb_options(config: &Config) -> ChdbOptions {
    let chdb = &config.chdb;
    ChdbOptions {
        query_connections: chdb.query_connections,
        write_connections: chdb.write_connections,
        connection_wait: Duration::from_secs(chdb.connection_wait_secs),
        max_spill_bytes: chdb.max_spill_bytes,
        max_server_memory_bytes: chdb.max_server_memory_bytes,
        max_query_memory_bytes: config.query.max_memory_bytes,
        max_merge_memory_bytes: chdb.max_merge_memory_bytes,
        max_query_threads: chdb.max_query_threads,
        mark_cache_bytes: chdb.mark_cache_bytes,
        merge_threads: chdb.merge_threads,
        ..ChdbOptions::new(config.engine_dir())
    }
}
