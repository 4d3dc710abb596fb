//! Some rows of one series, in time order, one a time.

use std::ops::Range;
use std::sync::Arc;

use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::{FieldType, FieldValue, TimeRange};

use crate::layout::{Layout, is_present, set_present};
use crate::value::{TextRef, Value};

/// Rows of a chunk that is filled in time order.
pub const CHUNK_ROWS: usize = 128;
/// A chunk that late rows made this large is split.
const SPLIT_ROWS: usize = 2 * CHUNK_ROWS;
/// Room that is made for late rows of a full chunk.
const LATE_ROWS: usize = 8;
/// Text that no row refers to any more is kept up to this size.
const GARBAGE_MAX: usize = 64 << 10;

/// A row as it comes in or is copied: its words, and the text that they refer to.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub layout: &'a Arc<Layout>,
    pub words: &'a [u64],
    pub text: &'a str,
}

impl Row<'_> {
    pub fn time(&self) -> i64 {
        self.words[0] as i64
    }
}

/// Rows of one series, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub layout: &'a Arc<Layout>,
    pub words: &'a [u64],
    pub text: &'a str,
}

impl<'a> Rows<'a> {
    pub fn iter(self) -> impl Iterator<Item = Row<'a>> {
        let Self { layout, words, text } = self;
        words.chunks_exact(layout.stride()).map(move |words| Row { layout, words, text })
    }

    pub fn split_at(self, row: usize) -> (Self, Self) {
        let (before, behind) = self.words.split_at(row * self.layout.stride());
        (Self { words: before, ..self }, Self { words: behind, ..self })
    }

    /// How many rows at the start are in time order, each of another time; `max` at most.
    fn rising(self, max: usize) -> usize {
        let mut last = None;
        let is_later = |row: &Row<'_>| last.replace(row.time()) < Some(row.time());
        self.iter().take(max).take_while(is_later).count()
    }
}

#[derive(Debug, Clone)]
pub struct Chunk {
    layout: Arc<Layout>,
    words: Vec<u64>,
    /// The strings of all rows.
    text: String,
    /// Bytes of text that no row refers to.
    garbage: usize,
}

impl Chunk {
    pub fn new(layout: Arc<Layout>) -> Self {
        Self { layout, words: Vec::new(), text: String::new(), garbage: 0 }
    }

    /// A chunk of what another one had; `None` if that does not fit together.
    pub fn restored(layout: Arc<Layout>, words: Vec<u64>, text: String, garbage: usize) -> Option<Self> {
        words.len().is_multiple_of(layout.stride()).then_some(Self { layout, words, text, garbage })
    }

    /// All rows, one after the other.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of the text that no row refers to.
    pub fn garbage(&self) -> usize {
        self.garbage
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub fn rows(&self) -> usize {
        self.words.len() / self.layout.stride()
    }

    pub fn is_full(&self) -> bool {
        self.rows() >= CHUNK_ROWS
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + 8 * self.words.capacity() + self.text.capacity()
    }

    pub fn time(&self, row: usize) -> i64 {
        self.words[row * self.layout.stride()] as i64
    }

    pub fn min_time(&self) -> i64 {
        self.words.first().map_or(i64::MAX, |&word| word as i64)
    }

    pub fn max_time(&self) -> i64 {
        self.rows().checked_sub(1).map_or(i64::MIN, |last| self.time(last))
    }

    pub fn words_of(&self, row: usize) -> &[u64] {
        let stride = self.layout.stride();
        &self.words[row * stride..(row + 1) * stride]
    }

    pub fn row(&self, row: usize) -> Row<'_> {
        Row { layout: &self.layout, words: self.words_of(row), text: &self.text }
    }

    /// The value of the field at a position, if the row has it.
    pub fn value(&self, row: usize, position: usize) -> Option<Value<'_>> {
        let words = self.words_of(row);
        if !is_present(words, position) {
            return None;
        }
        let word = words[self.layout.word(position)];
        Some(Value::of(self.layout.fields()[position].1, word, &self.text))
    }

    /// The words of a field, with their times, of the rows that have it.
    pub fn present_words(
        &self,
        position: usize,
        rows: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = (u64, i64)> {
        let (stride, word) = (self.layout.stride(), self.layout.word(position));
        rows.filter_map(move |row| {
            let words = &self.words[row * stride..(row + 1) * stride];
            is_present(words, position).then(|| (words[word], words[0] as i64))
        })
    }

    /// A word of this chunk as a value of its own.
    pub fn owned_value(&self, field_type: FieldType, word: u64) -> FieldValue {
        match Value::of(field_type, word, &self.text) {
            Value::Float(v) => FieldValue::Float(v),
            Value::Integer(v) => FieldValue::Integer(v),
            Value::Unsigned(v) => FieldValue::Unsigned(v),
            Value::Boolean(v) => FieldValue::Boolean(v),
            Value::Text(v) => FieldValue::String(v.into()),
        }
    }

    /// Whether a row has one of the fields.
    pub fn has_any(&self, row: usize, fields: &[FieldId]) -> bool {
        let words = self.words_of(row);
        fields.iter().any(|field| self.layout.position(*field).is_some_and(|at| is_present(words, at)))
    }

    /// The first row whose time is not before `time`.
    fn lower_bound(&self, time: i64) -> usize {
        let (mut from, mut to) = (0, self.rows());
        while from < to {
            let middle = from.midpoint(to);
            if self.time(middle) < time {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    /// The rows within a range of time.
    pub fn rows_in(&self, range: TimeRange) -> Range<usize> {
        let from = if range.min <= self.min_time() { 0 } else { self.lower_bound(range.min) };
        let to = if range.max >= self.max_time() { self.rows() } else { self.lower_bound(range.max + 1) };
        from..to.max(from)
    }

    fn takes_as_is(&self, layout: &Arc<Layout>) -> bool {
        Arc::ptr_eq(&self.layout, layout) && !self.layout.has_text()
    }

    /// How many of the rows at the start can be copied to the end as they are.
    pub fn fitting(&self, rows: Rows<'_>) -> usize {
        let is_later = rows.iter().next().is_some_and(|row| row.time() > self.max_time());
        let room = CHUNK_ROWS.saturating_sub(self.rows());
        if is_later && self.takes_as_is(rows.layout) { rows.rising(room) } else { 0 }
    }

    /// Appends rows that are [`fitting`](Self::fitting).
    pub fn append_all(&mut self, rows: Rows<'_>) {
        self.reserve_rows(rows.words.len() / self.layout.stride());
        self.words.extend_from_slice(rows.words);
    }

    /// Appends a row that is later than all others.
    pub fn append(&mut self, row: Row<'_>) {
        if self.takes_as_is(row.layout) {
            self.reserve_rows(1);
            self.words.extend_from_slice(row.words);
            return;
        }
        self.widen(row.layout);
        self.reserve_rows(1);
        let at = self.words.len();
        self.words.resize(at + self.layout.stride(), 0);
        self.words[at] = row.words[0];
        self.copy_fields(at, row);
        if self.is_full() {
            self.text.shrink_to_fit();
        }
    }

    /// Puts a row in its place. The fields of a row of the same time are overwritten by those that `row` has; with
    /// `keep_present` only absent ones are filled.
    pub fn insert(&mut self, row: Row<'_>, keep_present: bool) {
        self.widen(row.layout);
        let index = self.lower_bound(row.time());
        let stride = self.layout.stride();
        let at = index * stride;
        if index < self.rows() && self.time(index) == row.time() {
            if keep_present {
                self.fill_fields(at, row);
            } else {
                self.copy_fields(at, row);
            }
        } else {
            self.reserve_rows(1);
            self.words.splice(at..at, std::iter::repeat_n(0, stride));
            self.words[at] = row.words[0];
            self.copy_fields(at, row);
        }
        if self.garbage > GARBAGE_MAX && self.garbage > self.text.len() / 2 {
            *self = self.rebuilt(0..self.rows(), &self.layout.clone());
        }
    }

    /// The second half, where late rows made the chunk too large.
    pub fn split(&mut self) -> Option<Self> {
        let rows = self.rows();
        if rows < SPLIT_ROWS {
            return None;
        }
        let layout = self.layout.clone();
        let second = self.rebuilt(rows / 2..rows, &layout);
        *self = self.rebuilt(0..rows / 2, &layout);
        Some(second)
    }

    /// The rows outside a range of time; `None` when none are left.
    pub fn without(&self, range: TimeRange) -> Option<Self> {
        let gone = self.rows_in(range);
        if gone.len() == self.rows() {
            return None;
        }
        let mut kept = self.rebuilt(0..gone.start, &self.layout);
        (gone.end..self.rows()).for_each(|row| kept.append(self.row(row)));
        Some(kept)
    }

    /// Makes room for rows: twice as much as there is up to a full chunk, little beyond, so that late rows cost no second chunk.
    fn reserve_rows(&mut self, count: usize) {
        let stride = self.layout.stride();
        if self.words.capacity() >= self.words.len() + count * stride {
            return;
        }
        let rows = self.rows();
        let more = if rows < CHUNK_ROWS { rows.clamp(1, CHUNK_ROWS - rows) } else { LATE_ROWS };
        self.words.reserve_exact(more.max(count) * stride);
    }

    fn rebuilt(&self, rows: Range<usize>, layout: &Arc<Layout>) -> Self {
        let mut chunk = Self::new(layout.clone());
        chunk.words.reserve_exact(rows.len() * layout.stride());
        rows.for_each(|row| chunk.append(self.row(row)));
        chunk
    }

    fn widen(&mut self, other: &Arc<Layout>) {
        let layout = Layout::union(&self.layout, other);
        if !Arc::ptr_eq(&layout, &self.layout) {
            *self = self.rebuilt(0..self.rows(), &layout);
        }
    }

    fn copy_fields(&mut self, at: usize, row: Row<'_>) {
        for (from, (field, field_type)) in row.layout.fields().iter().enumerate() {
            if is_present(row.words, from)
                && let Some(to) = self.layout.position(*field)
            {
                self.set(at, to, *field_type, row, from);
            }
        }
    }

    fn fill_fields(&mut self, at: usize, row: Row<'_>) {
        for (from, (field, field_type)) in row.layout.fields().iter().enumerate() {
            if is_present(row.words, from)
                && let Some(to) = self.layout.position(*field)
                && !is_present(&self.words[at..], to)
            {
                self.set(at, to, *field_type, row, from);
            }
        }
    }

    fn set(&mut self, at: usize, to: usize, field_type: FieldType, row: Row<'_>, from: usize) {
        let mut word = row.words[row.layout.word(from)];
        let place = at + self.layout.word(to);
        if field_type == FieldType::String {
            if is_present(&self.words[at..], to) {
                self.garbage += TextRef::of(self.words[place]).len();
            }
            word = TextRef::append(&mut self.text, TextRef::of(word).text(row.text)).word();
        }
        self.words[place] = word;
        set_present(&mut self.words[at..], to);
    }
}
