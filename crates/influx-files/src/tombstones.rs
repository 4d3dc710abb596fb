//! Tombstone files: what was deleted of a TSM file.
//!
//! Version 1 is a key a line; 2 has keys with ranges of time; 3 is 2 compressed; 4 is any number of 3 one behind the
//! other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use hashbrown::HashMap;

use crate::error::{Error, Malformed};

const V2: u32 = 0x1502;
const V3: u32 = 0x1503;
const V4: u32 = 0x1504;
const HEADER_BYTES: u64 = 4;

/// No key of a TSM file is longer.
const MAX_KEY_BYTES: usize = 1 << 16;

/// What is held of one file at most: compressed files say nothing about what comes out of them.
const MAX_HELD_BYTES: usize = 1 << 30;

/// Bytes of a deletion beside its key, about.
const ENTRY_BYTES: usize = 64;

/// What was deleted, by key (a series and a field).
#[derive(Debug, Default)]
pub struct Tombstones {
    ranges: HashMap<Box<[u8]>, Vec<RangeInclusive<i64>>>,
    held_bytes: usize,
}

impl Tombstones {
    /// Reads the tombstones beside a TSM file; none when there is no such file.
    pub fn beside(tsm: &Path) -> Result<Self, Error> {
        let path = tsm.with_extension("tombstone");
        match File::open(&path) {
            Ok(file) => Self::read(BufReader::new(file), &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(&path)(error)),
        }
    }

    /// The ranges of time in which a key has no points any more.
    pub fn of(&self, key: &[u8]) -> &[RangeInclusive<i64>] {
        self.ranges.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Reads a tombstone file; `path` is for errors.
    pub fn read(mut reader: impl BufRead, path: &Path) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut header = Vec::new();
        (&mut reader).take(HEADER_BYTES).read_to_end(&mut header).map_err(Error::io(path))?;
        let Some(version) = header.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return Ok(found);
        };
        match version {
            V2 => found.read_ranges(&mut Source { reader, path, at: HEADER_BYTES })?,
            V3 | V4 => {
                let decoder = BufReader::new(MultiGzDecoder::new(reader));
                // Offsets are those of the decompressed bytes.
                found.read_ranges(&mut Source { reader: decoder, path, at: 0 })?;
            }
            _ => found.read_keys(&mut Source { reader: header.chain(reader), path, at: 0 })?,
        }
        Ok(found)
    }

    fn read_keys(&mut self, source: &mut Source<'_, impl BufRead>) -> Result<(), Error> {
        loop {
            let mut line = Vec::new();
            let limit = MAX_KEY_BYTES as u64 + 1;
            let count = (&mut source.reader).take(limit).read_until(b'\n', &mut line);
            let count = count.map_err(Error::io(source.path))?;
            if count == 0 {
                return Ok(());
            }
            if line.len() > MAX_KEY_BYTES {
                return Err(source.corrupt("the key of a tombstone is too long"));
            }
            let key = line.strip_suffix(b"\n").unwrap_or(&line);
            let key = key.strip_suffix(b"\r").unwrap_or(key);
            if !key.is_empty() {
                self.add(key, i64::MIN..=i64::MAX, source)?;
            }
            source.at += count as u64;
        }
    }

    fn read_ranges(&mut self, source: &mut Source<'_, impl BufRead>) -> Result<(), Error> {
        while !source.is_at_end()? {
            let length = u32::from_be_bytes(source.take()?) as usize;
            if length > MAX_KEY_BYTES {
                return Err(source.corrupt("the key of a tombstone is too long"));
            }
            let mut key = vec![0; length];
            source.fill(&mut key)?;
            let min = i64::from_be_bytes(source.take()?);
            let max = i64::from_be_bytes(source.take()?);
            self.add(&key, min..=max, source)?;
        }
        Ok(())
    }

    fn add<R>(
        &mut self,
        key: &[u8],
        range: RangeInclusive<i64>,
        source: &Source<'_, R>,
    ) -> Result<(), Error> {
        self.held_bytes += key.len() + ENTRY_BYTES;
        if self.held_bytes > MAX_HELD_BYTES {
            return Err(source.corrupt("more than 1 GiB of tombstones"));
        }
        match self.ranges.get_mut(key) {
            Some(ranges) => ranges.push(range),
            None => drop(self.ranges.insert(key.into(), vec![range])),
        }
        Ok(())
    }
}

struct Source<'a, R> {
    reader: R,
    path: &'a Path,
    at: u64,
}

impl<R> Source<'_, R> {
    fn corrupt(&self, problem: &'static str) -> Error {
        Error::corrupt(self.path, self.at)(Malformed(problem))
    }
}

impl<R: BufRead> Source<'_, R> {
    fn is_at_end(&mut self) -> Result<bool, Error> {
        match self.reader.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(_) => Err(self.corrupt("the compressed data of a tombstone file is corrupt or truncated")),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if self.reader.read_exact(buffer).is_err() {
            return Err(self.corrupt("a tombstone file ends too early"));
        }
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Tombstones, Error> {
        Tombstones::read(bytes, Path::new("1.tombstone"))
    }

    fn ranges(entries: &[(&str, i64, i64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, min, max) in entries {
            out.extend((key.len() as u32).to_be_bytes());
            out.extend(key.as_bytes());
            out.extend(min.to_be_bytes());
            out.extend(max.to_be_bytes());
        }
        out
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_versions_are_read() {
        let one = read(b"a#!~#v\n\nb#!~#v\n").unwrap();
        assert_eq!(one.of(b"b#!~#v"), [i64::MIN..=i64::MAX]);
        let (first, second) = (ranges(&[("a", 1, 2), ("b", i64::MIN, 3)]), ranges(&[("a", 5, 6)]));
        let two = read(&[&V2.to_be_bytes()[..], &first].concat()).unwrap();
        assert_eq!(two.of(b"b"), [i64::MIN..=3]);
        let three = read(&[&V3.to_be_bytes()[..], &gzip(&first)].concat()).unwrap();
        assert_eq!(three.of(b"a"), [1..=2]);
        let four = read(&[&V4.to_be_bytes()[..], &gzip(&first), &gzip(&second)].concat()).unwrap();
        assert_eq!(four.of(b"a"), [1..=2, 5..=6]);
        assert!(four.of(b"c").is_empty());
        assert!(read(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let entries = ranges(&[("a", 1, 2), ("b", 1, 3)]);
        let plain = [&V2.to_be_bytes()[..], &entries].concat();
        let packed = [&V4.to_be_bytes()[..], &gzip(&entries)].concat();
        assert!(read(&plain[..plain.len() - 1]).unwrap_err().to_string().contains("1.tombstone: "));
        assert!(read(&packed[..packed.len() - 9]).is_err());
        let long = [&V2.to_be_bytes()[..], &[0xff; 40]].concat();
        assert!(read(&long).unwrap_err().to_string().contains("too long (at byte 8)"));
    }
}
