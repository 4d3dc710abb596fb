//! The points of one series.

use std::sync::Arc;

use hyperbytedb_domain::{SeriesId, TimeRange};
use parking_lot::Mutex;

use crate::chunk::{Chunk, Row, Rows};

/// One series: its tags do not change, its points do.
#[derive(Debug)]
pub struct SeriesHead {
    pub id: SeriesId,
    /// The code of each tag of the table, by number; tags past the end are the empty string.
    pub codes: Box<[u32]>,
    chunks: Mutex<Vec<Arc<Chunk>>>,
}

impl SeriesHead {
    pub fn new(id: SeriesId, codes: Box<[u32]>) -> Self {
        Self { id, codes, chunks: Mutex::default() }
    }

    /// The same series with other codes, and the same points.
    pub fn with_codes(&self, codes: Box<[u32]>) -> Self {
        Self { id: self.id, codes, chunks: Mutex::new(self.chunks.lock().clone()) }
    }

    /// All chunks, as they are now.
    pub fn chunks(&self) -> Vec<Arc<Chunk>> {
        self.chunks.lock().clone()
    }

    /// Sets the chunks of a series that has none. Returns the bytes they hold.
    pub fn restore(&self, chunks: Vec<Chunk>) -> usize {
        let bytes = chunks.iter().map(Chunk::bytes).sum();
        *self.chunks.lock() = chunks.into_iter().map(Arc::new).collect();
        bytes
    }

    /// Bytes of a series without points, about.
    pub fn base_bytes(&self) -> usize {
        size_of::<Self>() + 4 * self.codes.len() + 32
    }

    /// The code of a tag.
    pub fn code(&self, tag: usize) -> u32 {
        self.codes.get(tag).copied().unwrap_or(0)
    }

    /// Takes rows, the later ones of a time over the earlier. Returns how many bytes more it holds.
    pub fn push(&self, mut rows: Rows<'_>) -> isize {
        let mut chunks = self.chunks.lock();
        let mut bytes = 0;
        while let Some(row) = rows.iter().next() {
            let fitting = chunks.last().map_or(0, |last| last.fitting(rows));
            let (front, rest) = rows.split_at(fitting.max(1));
            bytes += match chunks.last_mut().filter(|_| fitting > 0) {
                Some(last) => changed(last, |chunk| chunk.append_all(front)),
                None => push(&mut chunks, row),
            };
            rows = rest;
        }
        bytes
    }

    /// Takes rows that are older than what it has: present values stay.
    pub fn fill(&self, rows: Rows<'_>) -> isize {
        let mut chunks = self.chunks.lock();
        let first = chunks.first().map_or(i64::MAX, |chunk| chunk.min_time());
        let mut older = Vec::new();
        let bytes = rows
            .iter()
            .map(
                |row| if row.time() < first { push(&mut older, row) } else { insert(&mut chunks, row, true) },
            )
            .sum();
        chunks.splice(0..0, older);
        bytes
    }

    /// The chunks that overlap a range, as they are now.
    pub fn chunks_in(&self, range: TimeRange) -> Vec<Arc<Chunk>> {
        let chunks = self.chunks.lock();
        let from = chunks.partition_point(|chunk| chunk.max_time() < range.min);
        let to = chunks.partition_point(|chunk| chunk.min_time() <= range.max);
        chunks.get(from..to).unwrap_or_default().to_vec()
    }

    /// Removes the rows of a range. Returns how many bytes less it holds.
    pub fn remove(&self, range: TimeRange) -> usize {
        let mut chunks = self.chunks.lock();
        let from = chunks.partition_point(|chunk| chunk.max_time() < range.min);
        let to = chunks.partition_point(|chunk| chunk.min_time() <= range.max).max(from);
        let before: usize = chunks[from..to].iter().map(|chunk| chunk.bytes()).sum();
        let kept: Vec<Arc<Chunk>> =
            chunks[from..to].iter().filter_map(|chunk| chunk.without(range)).map(Arc::new).collect();
        let after: usize = kept.iter().map(|chunk| chunk.bytes()).sum();
        chunks.splice(from..to, kept);
        before.saturating_sub(after)
    }

    /// Drops chunks that end before a time. Returns the bytes freed.
    pub fn evict(&self, before: i64) -> usize {
        let mut chunks = self.chunks.lock();
        let gone = chunks.partition_point(|chunk| chunk.max_time() < before);
        chunks.drain(..gone).map(|chunk| chunk.bytes()).sum()
    }

    /// The last time and the bytes of each chunk.
    pub fn for_each_chunk(&self, mut visit: impl FnMut(i64, usize)) {
        self.chunks.lock().iter().for_each(|chunk| visit(chunk.max_time(), chunk.bytes()));
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.lock().is_empty()
    }
}

fn push(chunks: &mut Vec<Arc<Chunk>>, row: Row<'_>) -> isize {
    match chunks.last_mut() {
        Some(last) if row.time() <= last.max_time() => insert(chunks, row, false),
        Some(last) if !last.is_full() => changed(last, |chunk| chunk.append(row)),
        _ => {
            let layout = chunks.last().map_or_else(|| row.layout.clone(), |last| last.layout().clone());
            let mut chunk = Chunk::new(layout);
            chunk.append(row);
            let bytes = chunk.bytes() as isize;
            chunks.push(Arc::new(chunk));
            bytes
        }
    }
}

fn insert(chunks: &mut Vec<Arc<Chunk>>, row: Row<'_>, keep_present: bool) -> isize {
    // Late rows are mostly a little late.
    let at = match chunks.last() {
        Some(last) if last.min_time() <= row.time() => chunks.len() - 1,
        _ => chunks.partition_point(|chunk| chunk.min_time() <= row.time()).saturating_sub(1),
    };
    let Some(chunk) = chunks.get_mut(at) else { return push(chunks, row) };
    let mut second = None;
    let mut bytes = changed(chunk, |chunk| {
        chunk.insert(row, keep_present);
        second = chunk.split();
    });
    if let Some(second) = second {
        bytes += second.bytes() as isize;
        chunks.insert(at + 1, Arc::new(second));
    }
    bytes
}

/// Changes a chunk; whoever reads it keeps what it had. Returns how many bytes more it holds.
fn changed(chunk: &mut Arc<Chunk>, change: impl FnOnce(&mut Chunk)) -> isize {
    let before = chunk.bytes();
    let chunk = Arc::make_mut(chunk);
    change(chunk);
    chunk.bytes() as isize - before as isize
}
