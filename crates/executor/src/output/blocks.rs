//! Rows of the outermost statement as blocks for the client.

use std::sync::Arc;

use hyperbytedb_domain::FieldValue;
use hyperbytedb_domain::result::{ResultZone, SeriesBlock};
use hyperbytedb_planner::PreparedSelect;

use crate::error::ExecError;
use crate::row::{Row, RowStream, Series};
use crate::runtime::{Counters, ExecStats, Runtime};
use crate::scope::Scope;
use crate::select;

/// A running SELECT: an iterator of blocks. Dropping it stops the work.
pub struct Blocks<'a> {
    rows: Box<dyn RowStream + 'a>,
    counters: std::rc::Rc<Counters>,
    columns: Arc<[String]>,
    keys: Vec<String>,
    zone: ResultZone,
    chunk_rows: usize,
    /// The first row of the next block.
    pending: Option<Row>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Fresh,
    Running,
    Ended,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(runtime: &Runtime<'a>, plan: &'a PreparedSelect) -> Result<Self, ExecError> {
        let scope = Scope::outermost(plan);
        Ok(Self {
            rows: select::rows(runtime, plan, &scope)?,
            counters: std::rc::Rc::clone(&runtime.counters),
            columns: plan.columns().map(str::to_owned).collect(),
            keys: scope.grouping.keys,
            zone: plan.zone.clone(),
            chunk_rows: runtime.options.chunk_rows.max(1),
            pending: None,
            state: State::Fresh,
        })
    }

    /// What has been read so far.
    pub fn stats(&self) -> ExecStats {
        self.counters.snapshot()
    }

    fn next_block(&mut self) -> Result<Option<SeriesBlock>, ExecError> {
        if self.state == State::Fresh {
            self.state = State::Running;
            let mut row = Row::default();
            self.pending = self.rows.next_row(&mut row)?.then_some(row);
        }
        let Some(mut row) = self.pending.take() else { return Ok(None) };
        let series = row.series.clone();
        let mut values = Vec::new();
        let mut rows = 0;
        let partial = loop {
            if row.series != series {
                self.pending = Some(row);
                break false;
            }
            if rows == self.chunk_rows {
                self.pending = Some(row);
                break true;
            }
            values.push(FieldValue::Time(row.time));
            values.extend(row.values.drain(..).map(without_nan));
            rows += 1;
            if !self.rows.next_row(&mut row)? {
                break false;
            }
        };
        Ok(Some(self.block(&series, values, partial)))
    }

    fn block(&self, series: &Series, values: Vec<FieldValue>, partial: bool) -> SeriesBlock {
        let tags = self.keys.iter().cloned().zip(series.tags.iter().map(|v| v.to_string()));
        SeriesBlock {
            name: Arc::clone(&series.name),
            tags: (!self.keys.is_empty()).then(|| tags.collect()),
            columns: Arc::clone(&self.columns),
            values,
            partial,
            zone: self.zone.clone(),
        }
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<SeriesBlock, ExecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let block = self.next_block().transpose();
        if !matches!(block, Some(Ok(_))) {
            self.state = State::Ended;
        }
        block
    }
}

fn without_nan(value: FieldValue) -> FieldValue {
    match value {
        FieldValue::Float(v) if v.is_nan() => FieldValue::Null,
        value => value,
    }
}
