//! A shard: all its files as what InfluxDB answers from them.

mod column;

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

pub use column::ColumnReader;

use crate::error::Error;
use crate::tombstones::Tombstones;
use crate::tsm::{IndexReader, TsmFile};
use crate::wal::Wal;
use crate::{ValueType, split_key};
use column::Stream;

/// An open shard.
#[derive(Debug)]
pub struct Shard {
    /// Oldest first: what a later one has wins.
    files: Vec<ShardFile>,
    wal: Wal,
}

#[derive(Debug)]
struct ShardFile {
    tsm: TsmFile,
    tombstones: Tombstones,
}

/// A series and its columns.
pub struct Series<'a> {
    /// Measurement and tags, as line protocol has them.
    pub key: Vec<u8>,
    /// In the order of their names.
    pub columns: Vec<ColumnReader<'a>>,
}

impl Shard {
    /// Opens the files of a shard's folder, and of its folder below the WAL's when there is one.
    pub fn open(folder: &Path, wal: Option<&Path>) -> Result<Self, Error> {
        let open = |path: PathBuf| -> Result<ShardFile, Error> {
            Ok(ShardFile { tombstones: Tombstones::beside(&path)?, tsm: TsmFile::open(&path)? })
        };
        let files = files(folder, "tsm")?.into_iter().map(open).collect::<Result<_, _>>()?;
        let wal = wal.map(Wal::read).transpose()?.unwrap_or_default();
        Ok(Self { files, wal })
    }

    /// Bytes at the ends of WAL segments that are no whole record.
    pub fn unfinished_bytes(&self) -> u64 {
        self.wal.unfinished_bytes
    }

    /// Hands over the types that values of a range of time have, by key: once for each file that has the key.
    pub fn each_type(
        &self,
        range: &RangeInclusive<i64>,
        mut visit: impl FnMut(&[u8], ValueType),
    ) -> Result<(), Error> {
        for file in &self.files {
            let mut index = file.tsm.index();
            while index.advance()? {
                let deleted = file.tombstones.of(index.key());
                if index.entries().iter().any(|entry| entry.has_points(range, deleted)) {
                    visit(index.key(), index.value_type());
                }
            }
        }
        for (key, points) in self.wal.iter() {
            if points.times.iter().any(|time| range.contains(time)) {
                visit(key, points.values.value_type());
            }
        }
        Ok(())
    }

    /// All series with their points of a range of time, in the order of their keys.
    pub fn series(&self, range: RangeInclusive<i64>) -> Result<SeriesReader<'_>, Error> {
        let mut indexes = Vec::new();
        for file in &self.files {
            let mut index = file.tsm.index();
            if index.advance()? {
                indexes.push(KeyedIndex { index, tombstones: &file.tombstones });
            }
        }
        let mut wal_keys = self.wal.keys();
        wal_keys.reverse();
        Ok(SeriesReader { range, wal: &self.wal, indexes, wal_keys })
    }
}

#[derive(Debug)]
struct KeyedIndex<'a> {
    index: IndexReader<'a>,
    tombstones: &'a Tombstones,
}

/// Walks through the indexes of all files at once.
#[derive(Debug)]
pub struct SeriesReader<'a> {
    range: RangeInclusive<i64>,
    wal: &'a Wal,
    /// Those that have a key yet, oldest file first.
    indexes: Vec<KeyedIndex<'a>>,
    /// The keys that are left, the next one last.
    wal_keys: Vec<&'a [u8]>,
}

impl<'a> SeriesReader<'a> {
    /// The next series. Its columns may turn out to have no points.
    pub fn advance(&mut self) -> Result<Option<Series<'a>>, Error> {
        let Some(key) = self.next_key() else { return Ok(None) };
        let mut series = Series { key: series_of(&key).to_vec(), columns: Vec::new() };
        let mut next = Some(key);
        while let Some(key) = next.filter(|key| series_of(key) == series.key) {
            if let Some(column) = self.column(&key)? {
                series.columns.push(column);
            }
            next = self.next_key();
        }
        Ok(Some(series))
    }

    fn next_key(&self) -> Option<Vec<u8>> {
        let of_files = self.indexes.iter().map(|file| file.index.key());
        of_files.chain(self.wal_keys.last().copied()).min().map(<[u8]>::to_vec)
    }

    /// The column of the least key, behind which all sources move on; none when it names no field.
    fn column(&mut self, key: &[u8]) -> Result<Option<ColumnReader<'a>>, Error> {
        let mut streams = Vec::new();
        for KeyedIndex { index, tombstones } in &self.indexes {
            if index.key() == key {
                let deleted = tombstones.of(key);
                Stream::add_file(index.tsm(), index.entries(), deleted, &self.range, &mut streams)?;
            }
        }
        let mut failure = None;
        self.indexes.retain_mut(|file| {
            let is_at_key = file.index.key() == key;
            !is_at_key || file.index.advance().unwrap_or_else(|error| failure.replace(error).is_some())
        });
        if let Some(error) = failure {
            return Err(error);
        }
        if self.wal_keys.pop_if(|last| *last == key).is_some()
            && let Some(points) = self.wal.points(key)
        {
            streams.push(Stream::of_points(points, &self.range));
        }
        Ok(split_key(key).map(|(_, field)| ColumnReader::new(field, streams)))
    }
}

fn series_of(key: &[u8]) -> &[u8] {
    split_key(key).map_or(key, |(series, _)| series)
}

/// The files of a folder that end so, in the order of their names, which is that of their age.
pub(crate) fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
