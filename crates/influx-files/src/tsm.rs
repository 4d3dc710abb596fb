//! TSM files: blocks, then an index of them in the order of keys, then where the index begins.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::block;
use crate::cursor::Cursor;
use crate::error::{Error, Malformed};
use crate::{Points, ValueType};

const MAGIC: u32 = 0x16d1_16d1;
const VERSION: u8 = 1;
const HEADER_BYTES: u64 = 5;
const FOOTER_BYTES: u64 = 8;
const CHECKSUM_BYTES: usize = 4;
const ENTRY_BYTES: usize = 28;
const INDEX_BUFFER_BYTES: usize = 1 << 18;

/// A block as the index names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub min_time: i64,
    pub max_time: i64,
    offset: u64,
    size: u32,
}

impl Entry {
    /// Whether it may have points of a range of time that no single deletion took.
    pub(crate) fn has_points(&self, range: &RangeInclusive<i64>, deleted: &[RangeInclusive<i64>]) -> bool {
        let is_gone =
            |gone: &RangeInclusive<i64>| gone.contains(&self.min_time) && gone.contains(&self.max_time);
        self.max_time >= *range.start() && self.min_time <= *range.end() && !deleted.iter().any(is_gone)
    }
}

/// A TSM file that is open for reading.
#[derive(Debug)]
pub struct TsmFile {
    path: PathBuf,
    file: File,
    index: std::ops::Range<u64>,
}

impl TsmFile {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let corrupt = |offset, problem| Err(Error::corrupt(path, offset)(Malformed(problem)));
        if bytes < HEADER_BYTES + FOOTER_BYTES {
            return corrupt(bytes, "a TSM file ends too early");
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0).map_err(Error::io(path))?;
        let mut cursor = Cursor::new(&header);
        if cursor.u32() != Ok(MAGIC) {
            return corrupt(0, "no TSM file");
        }
        if cursor.u8() != Ok(VERSION) {
            return corrupt(4, "unknown version of TSM files");
        }
        let end = bytes - FOOTER_BYTES;
        let mut footer = [0; FOOTER_BYTES as usize];
        file.read_exact_at(&mut footer, end).map_err(Error::io(path))?;
        let start = u64::from_be_bytes(footer);
        if !(HEADER_BYTES..=end).contains(&start) {
            return corrupt(
                end,
                "the index of a TSM file begins outside of it; the file is truncated or corrupt",
            );
        }
        Ok(Self { path: path.to_owned(), file, index: start..end })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The index from its start.
    pub fn index(&self) -> IndexReader<'_> {
        let section = Section { file: &self.file, at: self.index.start, end: self.index.end };
        IndexReader {
            tsm: self,
            reader: BufReader::with_capacity(INDEX_BUFFER_BYTES, section),
            at: self.index.start,
            key: Vec::new(),
            has_key: false,
            value_type: ValueType::Float,
            entries: Vec::new(),
        }
    }

    /// Reads and decodes a block into `points`; `buffer` is for its bytes.
    pub fn read(&self, entry: &Entry, buffer: &mut Vec<u8>, points: &mut Points) -> Result<(), Error> {
        buffer.resize(entry.size as usize, 0);
        self.file.read_exact_at(buffer, entry.offset).map_err(Error::io(&self.path))?;
        decode_checked(buffer, points).map_err(Error::corrupt(&self.path, entry.offset))
    }
}

fn decode_checked(bytes: &[u8], points: &mut Points) -> Result<(), Malformed> {
    let (checksum, block) =
        bytes.split_first_chunk::<CHECKSUM_BYTES>().ok_or(Malformed("a block is too short"))?;
    if crc32fast::hash(block) != u32::from_be_bytes(*checksum) {
        return Err(Malformed("the checksum of a block is wrong"));
    }
    block::decode(block, points)
}

/// Reads an index from key to key.
#[derive(Debug)]
pub struct IndexReader<'a> {
    tsm: &'a TsmFile,
    reader: BufReader<Section<'a>>,
    at: u64,
    key: Vec<u8>,
    has_key: bool,
    value_type: ValueType,
    entries: Vec<Entry>,
}

impl<'a> IndexReader<'a> {
    pub fn tsm(&self) -> &'a TsmFile {
        self.tsm
    }

    /// The key that was read last: a series and a field.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The type of all values of that key in this file.
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// The blocks of that key, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Goes to the next key; false behind the last one.
    pub fn advance(&mut self) -> Result<bool, Error> {
        let start = self.at;
        if start == self.tsm.index.end {
            return Ok(false);
        }
        self.read_key().and_then(|()| self.read_entries()).map_err(Error::corrupt(&self.tsm.path, start))?;
        Ok(true)
    }

    fn read_key(&mut self) -> Result<(), Malformed> {
        let mut key = vec![0; usize::from(u16::from_be_bytes(self.take()?))];
        self.fill(&mut key)?;
        if self.has_key && key <= self.key {
            return Err(Malformed("the keys of an index are not in order"));
        }
        self.key = key;
        self.has_key = true;
        Ok(())
    }

    fn read_entries(&mut self) -> Result<(), Malformed> {
        let [kind, high, low] = self.take()?;
        self.value_type = block::value_type(kind)?;
        self.entries.clear();
        for _ in 0..u16::from_be_bytes([high, low]) {
            let entry = self.take::<ENTRY_BYTES>()?;
            self.entries.push(self.checked(&entry)?);
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Malformed> {
        self.reader.read_exact(buffer).map_err(|_| Malformed("an index ends too early"))?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn checked(&self, bytes: &[u8]) -> Result<Entry, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let (min_time, max_time) = (cursor.i64()?, cursor.i64()?);
        let (offset, size) = (cursor.u64()?, cursor.u32()?);
        let end = offset.checked_add(u64::from(size));
        if offset < HEADER_BYTES || end.is_none_or(|end| end > self.tsm.index.start) {
            return Err(Malformed("an index names a block outside of the blocks"));
        }
        if min_time > max_time {
            return Err(Malformed("an index names a block that ends before it begins"));
        }
        Ok(Entry { min_time, max_time, offset, size })
    }
}

/// A part of a file that other readers share.
#[derive(Debug)]
struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
