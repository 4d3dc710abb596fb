//! The heads of all tables as a file, written at an orderly stop, so that the next start has them at once.
//!
//! A file is a sequence of records, each with its length and checksum: a header, then each table followed by its series.
//! A table is taken only when all its records are sound.

use std::io::{self, Read, Write};
use std::sync::Arc;

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{FieldType, SeriesId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::Chunk;
use crate::layout::Layout;
use crate::series::SeriesHead;
use crate::set::Head;
use crate::table::{Horizon, TableHead};

const VERSION: u32 = 1;
/// A record that says it is larger is not one.
const RECORD_BYTES_MAX: u32 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    /// The last log record whose effect the heads have.
    sequence: Sequence,
    tables: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredTable {
    table: TableId,
    horizon: Horizon,
    /// By number of the tag: its values by code, but for the empty string, which is code 0.
    tag_values: Vec<Vec<String>>,
    series: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredSeries {
    id: SeriesId,
    codes: Box<[u32]>,
    layouts: Vec<Vec<(FieldId, FieldType)>>,
    chunks: Vec<StoredChunk>,
}

#[derive(Serialize, Deserialize)]
struct StoredChunk {
    /// Which of the layouts of its series.
    layout: usize,
    words: Words,
    text: String,
    garbage: usize,
}

/// Stored as bytes: as a list of numbers they would be larger and take longer.
struct Words(Vec<u64>);

impl Serialize for Words {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        let (words, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(serde::de::Error::custom("not a whole number of words"));
        }
        Ok(Self(words.iter().map(|word| u64::from_le_bytes(*word)).collect()))
    }
}

/// Writes the heads as they are behind a log record. Nothing may change them meanwhile.
pub fn save(head: &Head, sequence: Sequence, out: &mut impl Write) -> io::Result<()> {
    let tables: Vec<Arc<TableHead>> = head.tables().into_iter().filter(|table| table.is_known()).collect();
    put(out, &Header { version: VERSION, sequence, tables: tables.len() as u64 })?;
    tables.iter().try_for_each(|table| save_table(table, out))
}

fn save_table(table: &TableHead, out: &mut impl Write) -> io::Result<()> {
    let index = table.index();
    let series: Vec<&Arc<SeriesHead>> = index.all_series().collect();
    put(
        out,
        &StoredTable {
            table: table.table,
            horizon: table.horizon(),
            tag_values: index.tag_values(),
            series: series.len() as u64,
        },
    )?;
    series.into_iter().try_for_each(|series| put(out, &StoredSeries::of(series)))
}

/// Takes the heads of a file that was written behind this log record. Returns how many tables it had; those behind a
/// record that is not sound are left out, with the error.
pub fn restore(head: &Head, sequence: Sequence, input: &mut impl Read) -> (u64, io::Result<()>) {
    let mut restored = 0;
    let outcome = restore_tables(head, sequence, input, &mut restored);
    (restored, outcome)
}

fn restore_tables(
    head: &Head,
    sequence: Sequence,
    input: &mut impl Read,
    restored: &mut u64,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let header: Header = get(input, &mut buffer)?;
    if header.version != VERSION {
        return Err(invalid(format!("version {} is unknown", header.version)));
    }
    if header.sequence != sequence {
        return Err(invalid(format!(
            "written behind record {}, the log ends with {sequence}",
            header.sequence
        )));
    }
    for _ in 0..header.tables {
        let stored: StoredTable = get(input, &mut buffer)?;
        let table = TableHead::new(stored.table, false);
        for _ in 0..stored.series {
            let series: StoredSeries = get(input, &mut buffer)?;
            let (id, codes) = (series.id, series.codes.clone());
            table.restore_series(id, &codes, &stored.tag_values, series.into_chunks(&table)?);
        }
        table.restore_horizon(stored.horizon);
        head.put(table);
        *restored += 1;
    }
    Ok(())
}

impl StoredSeries {
    fn of(series: &SeriesHead) -> Self {
        let mut layouts: Vec<Arc<Layout>> = Vec::new();
        let mut number = |layout: &Arc<Layout>| {
            layouts.iter().position(|known| Arc::ptr_eq(known, layout)).unwrap_or_else(|| {
                layouts.push(layout.clone());
                layouts.len() - 1
            })
        };
        let chunks = series.chunks();
        let chunks = chunks.iter().map(|chunk| StoredChunk {
            layout: number(chunk.layout()),
            words: Words(chunk.words().to_vec()),
            text: chunk.text().to_owned(),
            garbage: chunk.garbage(),
        });
        let chunks = chunks.collect();
        let layouts = layouts.iter().map(|layout| layout.fields().to_vec()).collect();
        Self { id: series.id, codes: series.codes.clone(), layouts, chunks }
    }

    fn into_chunks(self, table: &TableHead) -> io::Result<Vec<Chunk>> {
        let layouts: Vec<Arc<Layout>> =
            self.layouts.into_iter().map(|fields| table.shared_layout(Layout::new(fields))).collect();
        let chunk = |stored: StoredChunk| {
            let layout = layouts.get(stored.layout)?.clone();
            Chunk::restored(layout, stored.words.0, stored.text, stored.garbage)
        };
        let chunks: Option<Vec<Chunk>> = self.chunks.into_iter().map(chunk).collect();
        chunks.ok_or_else(|| invalid("a chunk does not fit its layout".to_owned()))
    }
}

fn put(out: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_allocvec(record).map_err(|error| invalid(error.to_string()))?;
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= RECORD_BYTES_MAX);
    let length = length.ok_or_else(|| invalid(format!("a record of {} bytes", bytes.len())))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&xxh3_64(&bytes).to_le_bytes())?;
    out.write_all(&bytes)
}

fn get<T: DeserializeOwned>(input: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<T> {
    let (mut length, mut checksum) = ([0; 4], [0; 8]);
    input.read_exact(&mut length)?;
    input.read_exact(&mut checksum)?;
    let length = u32::from_le_bytes(length);
    if length > RECORD_BYTES_MAX {
        return Err(invalid(format!("a record of {length} bytes")));
    }
    buffer.clear();
    // A length that is wrong must not take memory that the file does not fill.
    if input.by_ref().take(u64::from(length)).read_to_end(buffer)? < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if xxh3_64(buffer) != u64::from_le_bytes(checksum) {
        return Err(invalid("a checksum is wrong".to_owned()));
    }
    postcard::from_bytes(buffer).map_err(|error| invalid(error.to_string()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
