//! Portable backups: manifests, metadata, and a tar.gz file a shard.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use prost::Message;
use serde::Deserialize;

use crate::error::Error;
use crate::meta::{Meta, read_whole};
use crate::shard::files;

/// A folder of portable backups, the later ones over the earlier ones.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
    meta_file: String,
    shards: BTreeMap<u64, ShardFile>,
}

/// Where the backup has a shard.
#[derive(Debug, Clone, Deserialize)]
pub struct ShardFile {
    pub database: String,
    pub policy: String,
    #[serde(rename = "shardID")]
    pub shard: u64,
    #[serde(rename = "fileName")]
    file: String,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    meta: MetaFile,
    files: Option<Vec<ShardFile>>,
}

#[derive(Debug, Deserialize)]
struct MetaFile {
    #[serde(rename = "fileName")]
    file: String,
}

/// The metadata of a backup around that of `meta.db`.
#[derive(Clone, PartialEq, Message)]
struct Packed {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

impl Backup {
    /// Reads the manifests of a folder; none when there are none.
    pub fn open(folder: &Path) -> Result<Option<Self>, Error> {
        let mut manifests = files(folder, "manifest")?;
        // Their names are their times. What the latest one has of a shard is the whole shard.
        manifests.reverse();
        let mut found: Option<Self> = None;
        for path in manifests {
            let manifest: Manifest = serde_json::from_slice(&read_whole(&path)?)
                .map_err(|error| Error::unexpected(&path, format!("no manifest of a backup: {error}")))?;
            let backup = found.get_or_insert_with(|| Self {
                folder: folder.to_owned(),
                meta_file: manifest.meta.file,
                shards: BTreeMap::new(),
            });
            for shard in manifest.files.into_iter().flatten() {
                if !is_plain_name(&shard.file) {
                    return Err(Error::unexpected(&path, format!("names the file {:?}", shard.file)));
                }
                backup.shards.entry(shard.shard).or_insert(shard);
            }
        }
        Ok(found)
    }

    pub fn meta(&self) -> Result<Meta, Error> {
        let path = self.folder.join(&self.meta_file);
        if !is_plain_name(&self.meta_file) {
            return Err(Error::unexpected(&self.folder, format!("names the file {:?}", self.meta_file)));
        }
        let packed = Packed::decode(read_whole(&path)?.as_slice());
        let packed =
            packed.map_err(|error| Error::unexpected(&path, format!("no metadata of a backup: {error}")))?;
        Meta::from_bytes(&packed.data, &path)
    }

    pub fn shards(&self) -> impl Iterator<Item = &ShardFile> {
        self.shards.values()
    }

    /// Unpacks the files of a shard into a folder, which must be empty.
    pub fn unpack(&self, shard: &ShardFile, into: &Path) -> Result<(), Error> {
        let path = self.folder.join(&shard.file);
        let file = File::open(&path).map_err(Error::io(&path))?;
        let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::new(file)));
        for entry in archive.entries().map_err(Error::io(&path))? {
            let mut entry = entry.map_err(Error::io(&path))?;
            // Names are database, policy and shard, then the file; some versions write the file only.
            let name = entry.path().map_err(Error::io(&path))?.into_owned();
            let is_wanted = name.extension().is_some_and(|end| end == "tsm" || end == "tombstone");
            let Some(file) = name.file_name().filter(|_| is_wanted && entry.header().entry_type().is_file())
            else {
                continue;
            };
            let target = into.join(file);
            let mut out = fs::File::create_new(&target).map_err(Error::io(&target))?;
            let stated = entry.size();
            let copied = io::copy(&mut entry, &mut out).map_err(Error::io(&path))?;
            if copied != stated {
                return Err(Error::unexpected(&path, format!("{} is cut off", name.display())));
            }
        }
        Ok(())
    }
}

/// Names of a backup's files must not lead out of its folder.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()
}
