//! One answer from two tiers that hold different times: the engine the older points, the head the newer.
//!
//! Both answer in the order of the scan. Rows of one group follow each other in time, so a group's run of one tier comes
//! wholly before its run of the other.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::scan::{Scan, ScanOutput, TagId};
use hyperbytedb_domain::{EngineError, TimeRange};

use super::tag_texts::TagTexts;

/// Where a scan can be cut in two.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub older: TimeRange,
    pub newer: TimeRange,
}

/// How the rows of both tiers come together.
#[derive(Debug, Clone)]
pub struct Joint {
    /// The columns that hold the tags which come before time in the order of rows.
    keys: Vec<usize>,
    descending: bool,
    /// Rows of a group; 0 = all.
    limit: u64,
}

/// Cuts a scan at the earliest time of `from` to `until`, both included, that leaves every window whole.
pub fn cut(scan: &Scan, from: i64, until: i64) -> Option<Cut> {
    let mut at = from.max(scan.time.min);
    match &scan.output {
        ScanOutput::Rows(_) => {}
        ScanOutput::Aggregates(aggregates) => {
            let window = aggregates.window?;
            let since_start = window.since_start(at);
            if since_start > 0 {
                at = i64::try_from(i128::from(at) + i128::from(window.every) - since_start).ok()?;
            }
        }
    }
    let is_within = at > scan.time.min && at <= scan.time.max && at <= until;
    is_within.then(|| Cut {
        older: TimeRange { min: scan.time.min, max: at - 1 },
        newer: TimeRange { min: at, max: scan.time.max },
    })
}

impl Joint {
    /// `None` where the batches of the scan do not tell their groups.
    pub fn of(scan: &Scan) -> Option<Self> {
        match &scan.output {
            ScanOutput::Rows(rows) => {
                let column = |tag: &TagId| rows.tags.iter().position(|t| t == tag);
                let keys = rows.group_by.iter().map(column).collect::<Option<Vec<usize>>>()?;
                Some(Self { keys, descending: rows.descending, limit: rows.limit_per_group })
            }
            ScanOutput::Aggregates(aggregates) => {
                let tags = aggregates.group_by.iter().enumerate();
                let keys = tags.filter(|(_, tag)| !aggregates.after_time.contains(tag));
                let keys = keys.map(|(column, _)| column).collect();
                Some(Self { keys, descending: aggregates.descending, limit: 0 })
            }
        }
    }
}

/// The rows of both tiers.
pub struct Tiers {
    joint: Joint,
    older: Side,
    newer: Side,
    /// The group of the last rows, and how many rows it has had.
    group: Option<Vec<String>>,
    group_rows: u64,
}

struct Side {
    stream: Box<dyn BatchStream>,
    batch: Option<RecordBatch>,
    keys: TagTexts,
    row: usize,
    ended: bool,
}

impl Tiers {
    pub fn new(joint: Joint, older: Box<dyn BatchStream>, newer: Box<dyn BatchStream>) -> Self {
        Self { joint, older: Side::new(older), newer: Side::new(newer), group: None, group_rows: 0 }
    }

    /// The next run of rows of one group from one tier.
    fn next_run(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        let keys = &self.joint.keys;
        let (has_older, has_newer) = (self.older.fill(keys)?, self.newer.fill(keys)?);
        let takes_older = match (has_older, has_newer) {
            (false, false) => return Ok(None),
            (true, true) => match self.older.compare(&self.newer) {
                Ordering::Equal => !self.joint.descending,
                order => order.is_lt() != self.joint.descending,
            },
            (has_older, _) => has_older,
        };
        let side = if takes_older { &mut self.older } else { &mut self.newer };
        let group = side.group();
        if self.group.as_ref() != Some(&group) {
            (self.group, self.group_rows) = (Some(group), 0);
        }
        let run = side.take_run();
        if self.joint.limit == 0 {
            return Ok(run);
        }
        let left = self.joint.limit.saturating_sub(self.group_rows);
        let run = run.map(|run| run.slice(0, run.num_rows().min(left as usize)));
        self.group_rows += run.as_ref().map_or(0, |run| run.num_rows() as u64);
        Ok(run)
    }
}

impl BatchStream for Tiers {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        // A run may be empty: past the limit of its group.
        while let Some(run) = self.next_run()? {
            if run.num_rows() > 0 {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }
}

impl Side {
    fn new(stream: Box<dyn BatchStream>) -> Self {
        Self { stream, batch: None, keys: TagTexts::default(), row: 0, ended: false }
    }

    /// Whether there is a row.
    fn fill(&mut self, keys: &[usize]) -> Result<bool, EngineError> {
        while !self.ended && self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            self.row = 0;
            self.batch = self.stream.next_batch()?;
            self.ended = self.batch.is_none();
            if let Some(batch) = &self.batch {
                self.keys = TagTexts::new(batch, keys.iter().copied())
                    .map_err(|error| EngineError::failed("join two tiers", error))?;
            }
        }
        Ok(!self.ended)
    }

    fn group(&self) -> Vec<String> {
        self.keys.of_row(self.row).map(str::to_owned).collect()
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.keys.of_row(self.row).cmp(other.keys.of_row(other.row))
    }

    /// The rows from here on that are of one group, as far as the batch goes.
    fn take_run(&mut self) -> Option<RecordBatch> {
        let batch = self.batch.as_ref()?;
        let first = self.row;
        let end = if self.keys.is_empty() {
            batch.num_rows()
        } else {
            (first + 1..batch.num_rows())
                .find(|&row| self.keys.of_row(row).ne(self.keys.of_row(first)))
                .unwrap_or(batch.num_rows())
        };
        let run = batch.slice(first, end - first);
        self.row = end;
        Some(run)
    }
}

#[cfg(test)]
mod tests;
