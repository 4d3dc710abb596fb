//! The form of columns in the log.

use crate::ReadError;
use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch, StringValues};

/// Why bytes of the log are no columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    #[error("columns of a write: {0}")]
    Encoding(#[from] postcard::Error),
    #[error("columns of a write do not fit each other")]
    Unsound,
    #[error("body of a write: {0}")]
    Body(#[from] ReadError),
}

/// Which row has which line is not kept: refused rows have left.
pub fn encode(batches: &[PointsBatch]) -> Result<Vec<u8>, StoredError> {
    let values: usize = batches.iter().map(|batch| batch.rows() * (batch.fields.len() + 2)).sum();
    Ok(postcard::to_extend(batches, Vec::with_capacity(values * size_of::<f64>()))?)
}

/// Never panics, whatever the bytes.
pub fn decode(bytes: &[u8]) -> Result<Vec<PointsBatch>, StoredError> {
    let mut batches: Vec<PointsBatch> = postcard::from_bytes(bytes)?;
    let mut line = 0;
    for batch in &mut batches {
        if !is_sound(batch) {
            return Err(StoredError::Unsound);
        }
        batch.line_of_row = (line..).take(batch.rows()).collect();
        line += batch.rows() as u32;
    }
    Ok(batches)
}

/// Leaves out the rows of these lines (in rising order).
pub fn leave_out(batches: &mut Vec<PointsBatch>, lines: &[u32]) {
    if lines.is_empty() {
        return;
    }
    for batch in batches.iter_mut() {
        let kept: Vec<bool> =
            batch.line_of_row.iter().map(|line| lines.binary_search(line).is_err()).collect();
        keep_rows(batch, &kept);
    }
    batches.retain(|batch| batch.rows() > 0);
}

fn is_sound(batch: &PointsBatch) -> bool {
    let rows = batch.rows();
    let is_whole = |field: &FieldColumn| {
        field.values.len() == rows && field.present.as_ref().is_none_or(|present| present.len() == rows)
    };
    rows <= u32::MAX as usize
        && batch.series_of_row.len() == rows
        && batch.series_of_row.iter().all(|&series| (series as usize) < batch.series.len())
        && batch.fields.iter().all(is_whole)
        && batch.fields.iter().all(|field| match &field.values {
            FieldValues::String(values) => values.is_sound(),
            _ => true,
        })
}

/// Leaves out rows, and the series that only they had.
pub fn keep_rows(batch: &mut PointsBatch, kept: &[bool]) {
    retain(&mut batch.times, kept);
    retain(&mut batch.series_of_row, kept);
    retain(&mut batch.line_of_row, kept);
    for field in &mut batch.fields {
        match &mut field.values {
            FieldValues::Float(values) => retain(values, kept),
            FieldValues::Integer(values) => retain(values, kept),
            FieldValues::Unsigned(values) => retain(values, kept),
            FieldValues::Boolean(values) => retain(values, kept),
            FieldValues::String(values) => {
                let mut left = StringValues::default();
                (0..values.len()).filter(|&row| kept[row]).for_each(|row| left.push(values.get(row)));
                *values = left;
            }
        }
        if let Some(present) = &mut field.present {
            retain(present, kept);
        }
    }
    batch.fields.retain(|field| field.present.as_ref().is_none_or(|present| present.contains(&true)));
    keep_used_series(batch);
}

fn keep_used_series(batch: &mut PointsBatch) {
    let mut number_of = vec![u32::MAX; batch.series.len()];
    let mut used = Vec::new();
    for series in &mut batch.series_of_row {
        let number = &mut number_of[*series as usize];
        if *number == u32::MAX {
            *number = used.len() as u32;
            used.push(batch.series[*series as usize].clone());
        }
        *series = *number;
    }
    batch.series = used;
}

fn retain<T>(values: &mut Vec<T>, kept: &[bool]) {
    let mut row = 0;
    values.retain(|_| {
        row += 1;
        kept.get(row - 1).copied().unwrap_or(false)
    });
}
