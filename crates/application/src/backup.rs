//! Snapshots for backups: a data folder of links that a client downloads file by file.
//!
//! A snapshot is what a crash would leave behind, so a server that is started on it replays to exactly the state at its
//! sequence. It is made while writes and flushes go on: the engine first, then the node's state, then the log, with the
//! cursors standing still ([`FlushService::while_cursors_stand`]). It holds disk space that merges and drops would free,
//! so there are few, and one that nobody reads goes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::backup::{BackupError, Link, Snapshot, SnapshotFile, checksum};
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::ports::{BackupPort, CatalogPort, LogSnapshotPort, SnapshotPort};
use hyperbytedb_domain::wal::Sequence;
use parking_lot::Mutex;

use crate::flush::FlushService;
use crate::threads::Stop;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Files up to this size come with their checksum.
const CHECKSUM_BYTES_MAX: u64 = 4 << 10;
/// The engine's file of the checksums of a part, which has one whatever its size.
const PART_CHECKSUMS: &str = "checksums.txt";

/// Settings of backups.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Holds snapshots and nothing else: it is emptied at a start. On the file system of the engine's folder, for
    /// snapshots are links.
    pub dir: PathBuf,
    /// Snapshots at one time.
    pub max_snapshots: usize,
    /// How long a snapshot that nobody reads stays.
    pub expiry: Duration,
}

impl BackupOptions {
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), max_snapshots: 2, expiry: Duration::from_secs(600) }
    }
}

/// The stores that a snapshot is made of.
pub struct SnapshotPorts {
    pub engine: Arc<dyn SnapshotPort>,
    /// Catalogue, series index, cursors and marks.
    pub state: Arc<dyn SnapshotPort>,
    pub log: Arc<dyn LogSnapshotPort>,
}

/// Makes snapshots and keeps them while they are read.
pub struct BackupService {
    options: BackupOptions,
    version: String,
    catalog: Arc<dyn CatalogPort>,
    flush: Arc<FlushService>,
    ports: SnapshotPorts,
    /// Held while one is made.
    making: Mutex<()>,
    kept: Mutex<HashMap<String, Kept>>,
}

struct Kept {
    sizes: HashMap<String, u64>,
    used: Instant,
}

impl BackupService {
    /// Removes what an earlier process has left.
    pub fn new(
        options: BackupOptions,
        version: impl Into<String>,
        catalog: Arc<dyn CatalogPort>,
        flush: Arc<FlushService>,
        ports: SnapshotPorts,
    ) -> Result<Self, StorageError> {
        remove_folder(&options.dir)?;
        let version = version.into();
        Ok(Self { options, version, catalog, flush, ports, making: Mutex::default(), kept: Mutex::default() })
    }

    /// Removes snapshots that nobody reads.
    pub fn run(&self, stop: &Stop) {
        while stop.wait(LOOK_INTERVAL) {
            self.expire();
        }
    }

    fn expire(&self) {
        let is_over = |kept: &Kept| kept.used.elapsed() >= self.options.expiry;
        let over: Vec<String> =
            self.kept.lock().iter().filter(|(_, kept)| is_over(kept)).map(|(id, _)| id.clone()).collect();
        for id in over {
            tracing::info!(id, "removing a backup's snapshot that nobody reads");
            if let Err(error) = self.remove(&id) {
                tracing::error!(%error, id, "a backup's snapshot could not be removed");
            }
        }
    }

    fn make(&self, id: &str, database: Option<&str>) -> Result<Snapshot, BackupError> {
        let catalog = self.catalog.catalog();
        if let Some(name) = database.filter(|name| catalog.database(name).is_none()) {
            return Err(BackupError::DatabaseNotFound(name.to_owned()));
        }
        let dir = self.options.dir.join(id);
        fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let sequence = self.copy(&dir, database)?;
        let (files, links) = list(&dir).map_err(|error| failed(&dir, error))?;
        let sizes = files.iter().map(|file| (file.name.clone(), file.size)).collect();
        self.kept.lock().insert(id.to_owned(), Kept { sizes, used: Instant::now() });
        let (id, version, database) = (id.to_owned(), self.version.clone(), database.map(str::to_owned));
        Ok(Snapshot { id, version, sequence, created, database, files, links })
    }

    fn copy(&self, dir: &Path, database: Option<&str>) -> Result<Sequence, StorageError> {
        // What is in the engine already need not be replayed.
        self.flush.checkpoint().map_err(|error| StorageError::failed("checkpoint before a backup", error))?;
        self.flush.while_cursors_stand(|| {
            let wanted = |id: TableId| {
                let catalog = self.catalog.catalog();
                database
                    .is_none_or(|name| catalog.table_by_id(id).is_some_and(|table| table.database == name))
            };
            self.ports.engine.snapshot(&dir.join("chdb"), &wanted)?;
            self.ports.state.snapshot(&dir.join("meta"), &wanted)?;
            self.ports.log.snapshot(&dir.join("wal"))
        })
    }
}

impl BackupPort for BackupService {
    fn create(&self, database: Option<&str>) -> Result<Snapshot, BackupError> {
        let Some(_making) = self.making.try_lock() else { return Err(BackupError::Busy) };
        self.expire();
        let kept = self.kept.lock().len();
        if kept >= self.options.max_snapshots {
            return Err(BackupError::TooMany(kept));
        }
        let started = Instant::now();
        let id = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos());
        let snapshot = self.make(&id, database);
        match &snapshot {
            Ok(snapshot) => {
                let (files, sequence) = (snapshot.files.len(), snapshot.sequence);
                let ms = started.elapsed().as_millis() as u64;
                tracing::info!(id, files, sequence, ms, "made a snapshot for a backup");
            }
            Err(_) => remove_folder(&self.options.dir.join(&id))?,
        }
        snapshot
    }

    fn open(&self, id: &str, name: &str) -> Result<(File, u64), BackupError> {
        let size = {
            let mut all = self.kept.lock();
            let kept = all.get_mut(id).ok_or_else(|| BackupError::NotFound(id.to_owned()))?;
            kept.used = Instant::now();
            // Only names that the snapshot has become paths.
            *kept.sizes.get(name).ok_or_else(|| BackupError::NoSuchFile(name.to_owned()))?
        };
        let path = self.options.dir.join(id).join(name);
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        Ok((file, size))
    }

    fn remove(&self, id: &str) -> Result<(), BackupError> {
        match self.kept.lock().remove(id) {
            Some(_) => Ok(remove_folder(&self.options.dir.join(id))?),
            None => Err(BackupError::NotFound(id.to_owned())),
        }
    }
}

impl Drop for BackupService {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.options.dir) {
            tracing::warn!(%error, "snapshots of backups stay until the next start");
        }
    }
}

fn failed(path: &Path, error: io::Error) -> StorageError {
    StorageError::failed(format!("backup: {}", path.display()), error)
}

fn remove_folder(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

/// All files and symbolic links below a folder, by name.
fn list(dir: &Path) -> io::Result<(Vec<SnapshotFile>, Vec<Link>)> {
    let (mut files, mut links) = (Vec::new(), Vec::new());
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(dir.join(&folder))? {
            let entry = entry?;
            let odd_name = |_| io::Error::other(format!("a name that is not UTF-8 in {folder}"));
            let file_name = entry.file_name().into_string().map_err(odd_name)?;
            let name = if folder.is_empty() { file_name.clone() } else { format!("{folder}/{file_name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                links.push(Link { name, target: target.to_string_lossy().into_owned() });
            } else {
                let size = entry.metadata()?.len();
                let is_small = size <= CHECKSUM_BYTES_MAX || file_name == PART_CHECKSUMS;
                let checksum =
                    is_small.then(|| fs::read(entry.path())).transpose()?.map(|bytes| checksum(&bytes));
                files.push(SnapshotFile { name, size, checksum });
            }
        }
    }
    files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok((files, links))
}
