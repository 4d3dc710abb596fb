//! The data folder and the two engines of a copy.

use std::error::Error;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyperbytedb_application::engine_copy::EngineSide;
use hyperbytedb_backup::{Client, Server};
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::ports::CatalogPort;
use hyperbytedb_storage_rocksdb::{Storage, StorageOptions};
use rustix::fs::{FlockOperation, flock};

use crate::backup::runtime;
use crate::config::Config;
use crate::debug::{LINKS, copy_by_links, is_in_use};
use crate::engine::{self, Installation};
use crate::options;

/// A data folder, and which way its points go.
pub struct Places<'a> {
    config: &'a Config,
    to_clickhouse: bool,
    installation: Installation,
    /// A server runs on the data folder.
    pub is_in_use: bool,
    _lock: File,
}

pub struct Opened {
    pub from: EngineSide,
    pub to: EngineSide,
    pub catalog: Arc<Catalog>,
    pub is_still: bool,
    pub guard: Guard,
}

/// What must stay until the end: the stores, which no server can open then, and the links to a snapshot.
pub struct Guard {
    _stores: Option<Storage>,
    _links: Option<Links>,
}

/// A folder that goes when it is dropped.
struct Links(PathBuf);

impl<'a> Places<'a> {
    pub fn new(config: &'a Config, to_clickhouse: bool) -> Result<Self, Box<dyn Error>> {
        let meta_dir = config.meta_dir();
        if !meta_dir.join("CURRENT").is_file() {
            let dir = &config.storage.data_dir;
            return Err(format!("{dir} is not a data folder of HyperbyteDB (storage.data_dir)").into());
        }
        let data_dir = Path::new(&config.storage.data_dir);
        let installation = Installation::of_a_copy(data_dir, to_clickhouse)?;
        let lock = File::open(installation.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| "another copy of this data folder is running")?;
        Ok(Self { config, to_clickhouse, installation, is_in_use: is_in_use(&meta_dir), _lock: lock })
    }

    pub fn open(&self, server: &Server) -> Result<Opened, Box<dyn Error>> {
        let engine_dir = self.config.engine_dir();
        let links = engine_dir.join(LINKS);
        // Of a copy that was killed.
        remove(&links)?;
        let options = options::storage(self.config);
        let (embedded, catalog, guard) = match (self.is_in_use, self.to_clickhouse) {
            (false, _) => {
                let stores = Storage::open(&options)?;
                let catalog = stores.catalog.catalog();
                (engine_dir, catalog, Guard { _stores: Some(stores), _links: None })
            }
            (true, true) => {
                let kept = Links(links.clone());
                let catalog = self.take_snapshot(server, &links, &options)?;
                (links, catalog, Guard { _stores: None, _links: Some(kept) })
            }
            (true, false) => {
                let catalog = Storage::open_read_only(&options)?.catalog.catalog();
                (engine_dir, catalog, Guard { _stores: None, _links: None })
            }
        };
        // The servers first: whose database it is, and whether they are there.
        let clickhouse = engine::clickhouse_side(self.config, self.installation.id())?;
        clickhouse.store.existing_tables()?;
        let embedded = engine::embedded_side(self.config, &embedded)?;
        let (from, to) = if self.to_clickhouse { (embedded, clickhouse) } else { (clickhouse, embedded) };
        // A snapshot stands still, too.
        Ok(Opened { from, to, catalog, is_still: self.to_clickhouse || !self.is_in_use, guard })
    }

    /// Links what the running server's engine holds now.
    fn take_snapshot(
        &self,
        server: &Server,
        links: &Path,
        options: &StorageOptions,
    ) -> Result<Arc<Catalog>, Box<dyn Error>> {
        let runtime = runtime()?;
        let client = Client::new(server)?;
        let snapshot = runtime.block_on(client.create(None))?;
        let folder = self.config.snapshots_dir().join(&snapshot.id);
        let linked = self.link_snapshot(&folder, links, options, &server.url);
        let removed = runtime.block_on(client.remove(&snapshot.id));
        let catalog = linked?;
        removed?;
        Ok(catalog)
    }

    fn link_snapshot(
        &self,
        folder: &Path,
        links: &Path,
        options: &StorageOptions,
        url: &str,
    ) -> Result<Arc<Catalog>, Box<dyn Error>> {
        if !folder.is_dir() {
            let dir = &self.config.storage.data_dir;
            return Err(format!("the server at {url} does not run on {dir} of this machine (--url)").into());
        }
        fs::create_dir_all(links)?;
        copy_by_links(&folder.join("chdb"), links)?;
        let options =
            StorageOptions { wal_dir: folder.join("wal"), meta_dir: folder.join("meta"), ..options.clone() };
        Ok(Storage::open_read_only(&options)?.catalog.catalog())
    }

    /// From now on the points are in the other engine.
    pub fn switch(&self) -> Result<(), Box<dyn Error>> {
        Ok(self.installation.switch()?)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            eprintln!("hyperbytedb: {error}");
        }
    }
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", folder.display())),
        _ => Ok(()),
    }
}
