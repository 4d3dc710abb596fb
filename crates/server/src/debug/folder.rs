//! A data folder that no server has open.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hyperbytedb_engine_chdb::{ChdbEngine, ChdbOptions};
use hyperbytedb_storage_rocksdb::{Storage, StorageOptions};
use rustix::fs::{FlockOperation, fcntl_lock};
use tempfile::TempDir;

use crate::config::Config;
use crate::engine::refuse_points_elsewhere;

/// RocksDB's own, taken by whoever has the database open.
const LOCK: &str = "LOCK";
/// The file that makes a folder of the engine a part.
const PART_MARK: &str = "checksums.txt";
/// Folders of the engine that hold nothing of the tables.
const LEFT_OUT: [&str; 4] = ["shadow", "snapshots", "tmp", LINKS];
/// Within the engine's folder: what `engine copy` reads of a running server.
pub const LINKS: &str = "engine-copy";

pub struct Folder {
    options: StorageOptions,
    pub engine_dir: PathBuf,
    work_dir: PathBuf,
}

/// An engine over links to the folder's parts, which it cannot change. Dropped, the links go.
pub struct EngineCopy {
    pub engine: ChdbEngine,
    _folder: TempDir,
}

impl Folder {
    pub fn new(config: &Config, work_dir: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let data_dir = PathBuf::from(&config.storage.data_dir);
        refuse_points_elsewhere(&data_dir)?;
        let options = StorageOptions {
            wal_dir: config.wal_dir(),
            meta_dir: config.meta_dir(),
            max_series_per_database: 0,
            max_values_per_tag: 0,
            ..StorageOptions::in_directory(&data_dir)
        };
        for dir in [&options.wal_dir, &options.meta_dir] {
            if !dir.join("CURRENT").is_file() {
                return Err(
                    format!("{} is not a folder of HyperbyteDB: it has no CURRENT", dir.display()).into()
                );
            }
            refuse_in_use(dir)?;
        }
        let beside = data_dir.canonicalize()?.parent().map_or(PathBuf::from("/"), Path::to_owned);
        Ok(Self { options, engine_dir: config.engine_dir(), work_dir: work_dir.unwrap_or(beside) })
    }

    /// Log, catalogue, node's state and series index, to look at.
    pub fn stores(&self) -> Result<Storage, Box<dyn Error>> {
        Ok(Storage::open_read_only(&self.options)?)
    }

    /// The same, to change.
    pub fn stores_to_change(&self) -> Result<Storage, Box<dyn Error>> {
        Ok(Storage::open(&self.options)?)
    }

    pub fn engine_copy(&self) -> Result<EngineCopy, Box<dyn Error>> {
        let place = |e: io::Error| format!("a working copy in {}: {e} (--work-dir)", self.work_dir.display());
        let folder = tempfile::Builder::new().prefix(".hyperbytedb-debug-").tempdir_in(&self.work_dir);
        let folder = folder.map_err(place)?;
        copy_by_links(&self.engine_dir, folder.path()).map_err(place)?;
        Ok(EngineCopy { engine: ChdbEngine::open(ChdbOptions::new(folder.path()))?, _folder: folder })
    }
}

fn refuse_in_use(dir: &Path) -> Result<(), Box<dyn Error>> {
    match is_in_use(dir) {
        false => Ok(()),
        true => {
            Err(format!("{} is in use: stop the server, or give a copy", dir.join(LOCK).display()).into())
        }
    }
}

/// Whether somebody has this store open.
pub fn is_in_use(dir: &Path) -> bool {
    // Without the file, or the right to write it, nobody has the folder open from here.
    let file = File::options().read(true).write(true).open(dir.join(LOCK));
    file.is_ok_and(|file| fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

/// Links the files of parts, which never change, and copies the others.
pub fn copy_by_links(from: &Path, to: &Path) -> io::Result<()> {
    let is_part = from.join(PART_MARK).is_file();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let target = to.join(&name);
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_dir() {
            if name.to_str().is_some_and(|name| LEFT_OUT.contains(&name)) {
                continue;
            }
            fs::create_dir(&target)?;
            copy_by_links(&entry.path(), &target)?;
        } else if !is_part || fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
