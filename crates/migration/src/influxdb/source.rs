//! Where the files are: in a data folder, or in a portable backup.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hyperbytedb_influx_files::backup::{Backup, ShardFile};
use hyperbytedb_influx_files::meta::Meta;
use hyperbytedb_influx_files::shard::Shard;
use tempfile::TempDir;

use super::plan::ShardPlan;
use crate::error::Error;

pub enum Source {
    Folder { data: PathBuf, wal: PathBuf, meta: Meta },
    Backup { backup: Backup, shards: HashMap<u64, ShardFile>, meta: Meta },
}

/// An open shard; its unpacked files are removed behind it.
pub struct OpenShard {
    pub files: Shard,
    _unpacked: Option<TempDir>,
}

impl Source {
    pub fn open(path: &Path, wal: Option<&Path>) -> Result<Self, Error> {
        let meta = path.join("meta/meta.db");
        if meta.is_file() && path.join("data").is_dir() {
            let wal = wal.map_or_else(|| path.join("wal"), Path::to_owned);
            return Ok(Self::Folder { data: path.join("data"), wal, meta: Meta::read(&meta)? });
        }
        let Some(backup) = Backup::open(path)? else {
            let text = format!(
                "{}: neither a folder with meta/meta.db and data, nor a portable backup (*.manifest)",
                path.display()
            );
            return Err(Error::usage(text));
        };
        let meta = backup.meta()?;
        let shards = backup.shards().map(|shard| (shard.shard, shard.clone())).collect();
        Ok(Self::Backup { backup, shards, meta })
    }

    pub const fn meta(&self) -> &Meta {
        match self {
            Self::Folder { meta, .. } | Self::Backup { meta, .. } => meta,
        }
    }

    /// Whether the database is in there: a backup of one database has the metadata of all.
    pub fn has_database(&self, name: &str) -> bool {
        match self {
            Self::Folder { .. } => true,
            Self::Backup { shards, .. } => shards.values().any(|shard| shard.database == name),
        }
    }

    pub fn has_shard(&self, id: u64) -> bool {
        match self {
            Self::Folder { .. } => true,
            Self::Backup { shards, .. } => shards.contains_key(&id),
        }
    }

    pub fn shard(&self, plan: &ShardPlan, temp_dir: Option<&Path>) -> Result<OpenShard, Error> {
        match self {
            Self::Folder { data, wal, .. } => {
                let below: PathBuf = [&plan.database, &plan.policy, &plan.id.to_string()].iter().collect();
                let files = Shard::open(&data.join(&below), Some(&wal.join(&below)))?;
                Ok(OpenShard { files, _unpacked: None })
            }
            Self::Backup { backup, shards, .. } => {
                let folder = temp_dir.map_or_else(std::env::temp_dir, Path::to_owned);
                let unpacked = tempfile::Builder::new()
                    .prefix("hyperbytedb-import-")
                    .tempdir_in(&folder)
                    .map_err(Error::file(&folder))?;
                if let Some(shard) = shards.get(&plan.id) {
                    backup.unpack(shard, unpacked.path())?;
                }
                Ok(OpenShard { files: Shard::open(unpacked.path(), None)?, _unpacked: Some(unpacked) })
            }
        }
    }
}
