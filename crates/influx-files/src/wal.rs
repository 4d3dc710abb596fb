//! WAL segments: what InfluxDB has accepted and not yet written into TSM files.

use std::fs;
use std::path::Path;

use hashbrown::HashMap;

use crate::block::strings::inflate;
use crate::cursor::Cursor;
use crate::error::{Error, Malformed};
use crate::{Points, Values};

const WRITE: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

const FLOAT: u8 = 1;
const INTEGER: u8 = 2;
const BOOLEAN: u8 = 3;
const STRING: u8 = 4;
const UNSIGNED: u8 = 5;

/// Largest segment that is read: InfluxDB begins a new one after 10 MiB, or behind a single larger write.
const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// The points of the WAL of one shard by key (a series and a field), after its deletes.
#[derive(Debug, Default)]
pub struct Wal {
    points: HashMap<Box<[u8]>, Points>,
    /// Bytes of records at the ends of segments that were never finished, as a crash leaves them.
    pub unfinished_bytes: u64,
}

impl Wal {
    /// Reads all segments of a folder; nothing when there is no such folder.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let mut wal = Self::default();
        for path in crate::shard::files(folder, "wal")? {
            let bytes = fs::metadata(&path).map_err(Error::io(&path))?.len();
            if bytes > MAX_SEGMENT_BYTES {
                return Err(Error::unexpected(&path, "a WAL segment of more than 1 GiB"));
            }
            let segment = fs::read(&path).map_err(Error::io(&path))?;
            wal.apply_segment(&segment, &path)?;
        }
        wal.points.values_mut().for_each(Points::sort);
        Ok(wal)
    }

    /// The keys with their points, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Points)> {
        self.points.iter().map(|(key, points)| (key.as_ref(), points))
    }

    /// The keys that have points, in order.
    pub fn keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> = self.points.keys().map(AsRef::as_ref).collect();
        keys.sort_unstable();
        keys
    }

    pub fn points(&self, key: &[u8]) -> Option<&Points> {
        self.points.get(key)
    }

    /// Lets the records of a segment take effect; `path` is for errors.
    pub fn apply_segment(&mut self, segment: &[u8], path: &Path) -> Result<(), Error> {
        let mut cursor = Cursor::new(segment);
        while !cursor.is_empty() {
            let start = cursor.position() as u64;
            let Some((kind, packed)) = next_record(&mut cursor) else {
                self.unfinished_bytes += segment.len() as u64 - start;
                return Ok(());
            };
            inflate(packed)
                .and_then(|record| self.apply(kind, &record))
                .map_err(Error::corrupt(path, start))?;
        }
        Ok(())
    }

    fn apply(&mut self, kind: u8, record: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(record);
        match kind {
            WRITE => {
                while !cursor.is_empty() {
                    self.apply_values(&mut cursor)?;
                }
            }
            DELETE => {
                for key in record.split(|byte| *byte == b'\n') {
                    self.points.remove(key);
                }
            }
            DELETE_RANGE => {
                let (min, max) = (cursor.i64()?, cursor.i64()?);
                while !cursor.is_empty() {
                    let length = cursor.u32()? as usize;
                    self.remove(cursor.take(length)?, min, max);
                }
            }
            _ => return Err(Malformed("unknown type of WAL record")),
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8], min: i64, max: i64) {
        if let Some(points) = self.points.get_mut(key) {
            points.retain(|_, time| !(min..=max).contains(&time));
            // The field may come back with another type.
            if points.is_empty() {
                self.points.remove(key);
            }
        }
    }

    fn apply_values(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        let kind = cursor.u8()?;
        let key_bytes = usize::from(cursor.u16()?);
        let key = cursor.take(key_bytes)?;
        let count = cursor.u32()?;
        if count == 0 {
            return Err(Malformed("a WAL record has a field without values"));
        }
        let points = match self.points.get_mut(key) {
            Some(points) => points,
            None => self.points.entry(key.into()).or_insert_with(|| empty_points(kind)),
        };
        for _ in 0..count {
            let time = cursor.i64()?;
            push_value(&mut points.values, kind, cursor)?;
            points.times.push(time);
        }
        Ok(())
    }
}

/// The type and the compressed bytes of a record; none when it is not there as a whole.
fn next_record<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let kind = cursor.u8().ok()?;
    let length = cursor.u32().ok()? as usize;
    Some((kind, cursor.take(length).ok()?))
}

fn empty_points(kind: u8) -> Points {
    let values = match kind {
        INTEGER => Values::Integer(Vec::new()),
        UNSIGNED => Values::Unsigned(Vec::new()),
        BOOLEAN => Values::Boolean(Vec::new()),
        STRING => Values::String(crate::Strings::default()),
        _ => Values::Float(Vec::new()),
    };
    Points { times: Vec::new(), values }
}

fn push_value(values: &mut Values, kind: u8, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    match (kind, values) {
        (FLOAT, Values::Float(values)) => values.push(f64::from_bits(cursor.u64()?)),
        (INTEGER, Values::Integer(values)) => values.push(cursor.i64()?),
        (UNSIGNED, Values::Unsigned(values)) => values.push(cursor.u64()?),
        (BOOLEAN, Values::Boolean(values)) => values.push(cursor.u8()? == 1),
        (STRING, Values::String(values)) => {
            let length = cursor.u32()? as usize;
            values.push(cursor.take(length)?);
        }
        (FLOAT | INTEGER | UNSIGNED | BOOLEAN | STRING, _) => {
            return Err(Malformed("a field of the WAL has values of two types"));
        }
        _ => return Err(Malformed("unknown type of value in a WAL record")),
    }
    Ok(())
}
