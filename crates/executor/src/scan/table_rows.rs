//! Rows of one table, as the engine streams them.

use std::sync::Arc;

use hyperbytedb_domain::scan::ScanOutput;
use hyperbytedb_domain::{EngineError, FieldValue};

use super::column_reader::ColumnReader;
use super::row_plan::{Origin, RowPlan};
use super::shards::Shards;
use super::slices::Slices;
use super::tables::TableSource;
use crate::error::ExecError;
use crate::inputs::cast;
use crate::row::{Row, RowStream, Series};
use crate::runtime::Runtime;

/// The rows of a [`RowPlan`], as the engine streams them.
pub(crate) struct TableRows<'a> {
    runtime: Runtime<'a>,
    name: Arc<str>,
    plan: RowPlan,
    slices: Slices,
    batch: Batch,
    series: Option<Series>,
    filter: Option<Box<dyn SeriesFilter>>,
}

/// Which series of a table are shown, in its time.
pub(crate) trait SeriesFilter {
    /// Comes before the first row is read.
    fn prepare(&mut self, runtime: &Runtime<'_>) -> Result<(), ExecError>;
    fn admits(&self, series: &Series, time: i64) -> bool;
}

#[derive(Default)]
struct Batch {
    tags: Vec<ColumnReader>,
    times: Option<ColumnReader>,
    fields: Vec<ColumnReader>,
    rows: usize,
    next: usize,
}

impl<'a> TableRows<'a> {
    /// The scan starts with the first row that is asked for.
    pub fn new(
        runtime: &Runtime<'a>,
        source: &TableSource,
        plan: RowPlan,
        filter: Option<Box<dyn SeriesFilter>>,
    ) -> Self {
        Self {
            runtime: runtime.clone(),
            name: Arc::clone(&source.name),
            slices: Slices::new(plan.scan.clone(), runtime.options.sort_bound),
            plan,
            batch: Batch::default(),
            series: None,
            filter,
        }
    }

    pub fn shards(&self) -> Shards {
        Shards::of(&self.plan.scan.table)
    }

    /// What InfluxDB orders series by, of the row that came last.
    pub fn series_key(&self) -> String {
        let mut key = String::new();
        let row = self.batch.next.saturating_sub(1);
        for (name, column) in &self.plan.series_tags {
            let value = self.batch.tags[*column].text(row);
            if !value.is_empty() {
                key.extend([",", name.as_str(), "=", value]);
            }
        }
        key
    }

    fn next_batch(&mut self) -> Result<bool, ExecError> {
        if let Some(filter) = &mut self.filter {
            filter.prepare(&self.runtime)?;
        }
        let Some(batch) = self.slices.next_batch(&self.runtime)? else { return Ok(false) };
        let ScanOutput::Rows(rows) = &self.plan.scan.output else { return Ok(false) };
        let columns = batch.columns().iter().map(ColumnReader::new).collect::<Result<Vec<_>, _>>()?;
        if columns.len() != rows.tags.len() + 1 + rows.fields.len() {
            return Err(EngineError::failed("scan", "unexpected number of columns").into());
        }
        let mut columns = columns.into_iter();
        self.batch = Batch {
            tags: columns.by_ref().take(rows.tags.len()).collect(),
            times: columns.next(),
            fields: columns.collect(),
            rows: batch.num_rows(),
            next: 0,
        };
        Ok(true)
    }

    /// The series of a row, shared with the row before where it is the same.
    fn series_at(&mut self, index: usize) -> &Series {
        let (group, tags) = (&self.plan.group, &self.batch.tags);
        let text = |column: &Option<usize>| column.map_or("", |c| tags[c].text(index));
        let same = self
            .series
            .as_ref()
            .is_some_and(|s| group.iter().zip(s.tags.iter()).all(|(c, v)| text(c) == &**v));
        if !same {
            self.series = None;
        }
        let name = &self.name;
        self.series.get_or_insert_with(|| {
            let shared = |c: &Option<usize>| c.map_or_else(|| Arc::from(""), |c| tags[c].shared_text(index));
            Series::new(Arc::clone(name), group.iter().map(shared).collect())
        })
    }
}

impl Batch {
    fn value(&self, origin: Origin, row: usize) -> FieldValue {
        match origin {
            Origin::Field(column, None) => self.fields[column].value(row),
            Origin::Field(column, Some(to)) => cast(self.fields[column].value(row), to),
            Origin::Tag(column) if self.tags[column].text(row).is_empty() => FieldValue::Null,
            Origin::Tag(column) | Origin::TagText(column) => {
                FieldValue::String(self.tags[column].shared_text(row))
            }
            Origin::NoText => FieldValue::String(Arc::from("")),
            Origin::Null => FieldValue::Null,
        }
    }
}

impl RowStream for TableRows<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        loop {
            while self.batch.next >= self.batch.rows {
                if !self.next_batch()? {
                    return Ok(false);
                }
            }
            let index = self.batch.next;
            self.batch.next += 1;
            row.values.clear();
            row.values.extend(self.plan.origins.iter().map(|&origin| self.batch.value(origin, index)));
            if self.plan.residual.as_ref().is_some_and(|condition| !condition.holds(&row.values)) {
                continue;
            }
            row.values.truncate(self.plan.inputs);
            row.time = self.batch.times.as_ref().map_or(0, |times| times.integer(index));
            let series = self.series_at(index).clone();
            if self.filter.as_ref().is_none_or(|filter| filter.admits(&series, row.time)) {
                row.series = series;
                return Ok(true);
            }
        }
    }
}
