//! The rows of a write as chunks hold them, those of one series side by side: then each series takes its own at once.

use std::sync::Arc;

use hyperbytedb_domain::points::{FieldColumn, FieldValues};

use crate::chunk::Rows;
use crate::layout::{Layout, set_present};
use crate::table::NewRows;
use crate::value::TextRef;

/// The row is left out.
const NOWHERE: u32 = u32::MAX;

pub struct PackedRows {
    layout: Arc<Layout>,
    words: Vec<u64>,
    text: String,
    /// By series: where its rows end. They begin where those of the one before end.
    ends: Vec<u32>,
}

impl PackedRows {
    /// Leaves out rows before the time `from`.
    pub fn new(rows: NewRows<'_>, layout: Arc<Layout>, from: i64) -> Self {
        let (places, ends) = places(rows, from);
        let stride = layout.stride();
        let count = ends.last().copied().unwrap_or(0) as usize;
        let mut packed = Self { words: vec![0; stride * count], layout, text: String::new(), ends };
        for (place, &time) in places.iter().zip(rows.times) {
            if let Some(word) = packed.words.get_mut(*place as usize * stride) {
                *word = time as u64;
            }
        }
        for (id, column) in rows.fields {
            if let Some(position) = packed.layout.position(*id) {
                packed.put_column(column, position, &places);
            }
        }
        packed
    }

    /// Those of the series of this number, in the order of the write.
    pub fn rows_of(&self, series: usize) -> Rows<'_> {
        let start = series.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        let stride = self.layout.stride();
        let words = &self.words[start * stride..self.ends[series] as usize * stride];
        Rows { layout: &self.layout, words, text: &self.text }
    }

    fn put_column(&mut self, column: &FieldColumn, position: usize, places: &[u32]) {
        match &column.values {
            FieldValues::Float(v) => self.put(column, position, places, |row, _| v[row].to_bits()),
            FieldValues::Integer(v) => self.put(column, position, places, |row, _| v[row] as u64),
            FieldValues::Unsigned(v) => self.put(column, position, places, |row, _| v[row]),
            FieldValues::Boolean(v) => self.put(column, position, places, |row, _| u64::from(v[row])),
            FieldValues::String(v) => {
                self.put(column, position, places, |row, text| TextRef::append(text, v.get(row)).word());
            }
        }
    }

    fn put(
        &mut self,
        column: &FieldColumn,
        position: usize,
        places: &[u32],
        word_of: impl Fn(usize, &mut String) -> u64,
    ) {
        let (stride, word) = (self.layout.stride(), self.layout.word(position));
        for (row, &place) in places.iter().enumerate() {
            let at = place as usize * stride;
            if column.is_present(row)
                && let Some(words) = self.words.get_mut(at..at + stride)
            {
                words[word] = word_of(row, &mut self.text);
                set_present(words, position);
            }
        }
    }
}

/// The place of each row when those of a series stand together, and where those of each series end.
fn places(rows: NewRows<'_>, from: i64) -> (Vec<u32>, Vec<u32>) {
    let is_kept = |row: usize| rows.times[row] >= from;
    let mut next = vec![0u32; rows.series.len()];
    for (row, &series) in rows.series_of_row.iter().enumerate() {
        next[series as usize] += u32::from(is_kept(row));
    }
    let mut start = 0;
    for next in &mut next {
        start += std::mem::replace(next, start);
    }
    let place = |(row, &series): (usize, &u32)| {
        if !is_kept(row) {
            return NOWHERE;
        }
        let next = &mut next[series as usize];
        *next += 1;
        *next - 1
    };
    let places = rows.series_of_row.iter().enumerate().map(place).collect();
    (places, next)
}
