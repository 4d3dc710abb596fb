//! Rows of one table.

use std::sync::Arc;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{FieldId, RowScan, Scan, ScanOutput, TagId};
use hyperbytedb_domain::{FieldType, FieldValue};
use hyperbytedb_timeseriesql::ast::{DataType, Expr, VarRef};

use crate::error::ExecError;
use crate::expression::BoundExpr;
use crate::inputs::{Inputs, can_cast, cast, value_type};
use crate::limits::series::SeriesLimit;
use crate::row::{Row, RowStream, Series};
use crate::runtime::Runtime;
use crate::scan::column_reader::ColumnReader;
use crate::scan::predicate::{self, Split};
use crate::scan::shards::Shards;
use crate::scan::slices::Slices;
use crate::scope::Scope;

/// Rows read past a limit.
const TIE_ROWS_AHEAD: u64 = 64;

/// What one SELECT reads from one table.
#[derive(Debug, Clone)]
pub(crate) struct TableSource {
    pub name: Arc<str>,
    pub table: Arc<Table>,
}

/// Where a value of a row comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// Position among the scanned fields, and the type it is read as.
    Field(usize, Option<FieldType>),
    /// Position among the scanned tags; null when empty.
    Tag(usize),
    /// The same; the empty string stays.
    TagText(usize),
    /// The empty string.
    NoText,
    Null,
}

/// A row scan and how its columns become values.
#[derive(Debug)]
pub(crate) struct RowPlan {
    pub scan: Scan,
    /// For each GROUP BY key its position among the scanned tags.
    group: Vec<Option<usize>>,
    /// The SELECT's inputs, then those of the residual condition.
    origins: Vec<Origin>,
    inputs: usize,
    residual: Option<BoundExpr>,
    /// All tags of the table by name, with their positions among the scanned tags; empty where buckets are series.
    series_tags: Vec<(String, usize)>,
}

#[derive(Default)]
struct ScannedColumns {
    tags: Vec<TagId>,
    fields: Vec<FieldId>,
}

impl ScannedColumns {
    fn tag(&mut self, id: TagId) -> usize {
        position_or_push(&mut self.tags, id)
    }

    fn origin(&mut self, variable: &VarRef, table: &Table) -> Origin {
        let field = table.field(&variable.name);
        let wanted = value_type(variable.data_type);
        match (variable.data_type, field) {
            (None, _) => Origin::Null,
            (Some(DataType::Tag), _) => {
                table.tag(&variable.name).map_or(Origin::Null, |tag| Origin::Tag(self.tag(tag)))
            }
            (_, Some((id, stored))) if wanted.is_none_or(|wanted| can_cast(stored, wanted)) => {
                let cast = wanted.filter(|&wanted| wanted != stored);
                Origin::Field(position_or_push(&mut self.fields, id), cast)
            }
            _ => Origin::Null,
        }
    }
}

fn position_or_push<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    items.iter().position(|i| *i == item).unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    })
}

impl RowPlan {
    /// Plans the scan of a table. `None`: nothing of what is asked for is stored in it.
    ///
    /// `required`: rows without any of these inputs are left out.
    pub fn new(
        source: &TableSource,
        scope: &Scope,
        inputs: &Inputs,
        required: &[usize],
        condition: Option<&Expr>,
    ) -> Result<Option<Self>, ExecError> {
        let table = &source.table;
        let mut columns = ScannedColumns::default();
        let group_by: Vec<Option<usize>> =
            scope.grouping.keys.iter().map(|key| table.tag(key).map(|tag| columns.tag(tag))).collect();
        let mut origins: Vec<Origin> = inputs.refs.iter().map(|r| columns.origin(r, table)).collect();
        let any_of: Vec<FieldId> = required
            .iter()
            .filter_map(|&i| match origins[i] {
                Origin::Field(column, _) => Some(columns.fields[column]),
                _ => None,
            })
            .collect();
        if any_of.is_empty() || scope.range.is_empty() {
            return Ok(None);
        }
        let Split { pushed, residual } = condition.map(|c| predicate::split(c, table)).unwrap_or_default();
        let residual = match residual {
            Some(expr) => Some(bind_residual(&expr, table, &mut columns, &mut origins)?),
            None => None,
        };
        let order: Vec<TagId> =
            scope.grouping.bucket.iter().filter_map(|&i| group_by[i].map(|c| columns.tags[c])).collect();
        let series_tags =
            if order.len() < table.tags.len() { series_tags(table, &mut columns) } else { Vec::new() };
        let scan = Scan {
            table: Arc::clone(table),
            time: scope.range,
            filter: pushed,
            merge_duplicates: false,
            output: ScanOutput::Rows(RowScan {
                group_by: order,
                tags: columns.tags,
                fields: columns.fields,
                any_of,
                descending: !scope.ascending,
                limit_per_group: 0,
                series: None,
                sort_bound: None,
            }),
        };
        Ok(Some(Self { scan, group: group_by, origins, inputs: inputs.len(), residual, series_tags }))
    }

    /// Lets the engine stop after the rows that LIMIT and OFFSET need, where they are the same here and there.
    pub fn limit_rows(&mut self, scope: &Scope) {
        if scope.limit > 0
            && (scope.slimit, scope.soffset) == (0, 0)
            && scope.grouping.is_flat()
            && let (ScanOutput::Rows(rows), None) = (&mut self.scan.output, &self.residual)
        {
            // What follows the limit decides the order of ties before it.
            let ahead = if self.series_tags.is_empty() { 0 } else { TIE_ROWS_AHEAD };
            rows.limit_per_group = (scope.limit + scope.offset) as u64 + ahead;
        }
    }

    /// Whether Rust evaluates a part of the condition.
    pub fn filters_in_rust(&self) -> bool {
        self.residual.is_some()
    }

    /// Whether a bucket may have rows of several series.
    pub fn may_tie(&self) -> bool {
        !self.series_tags.is_empty()
    }
}

fn series_tags(table: &Table, columns: &mut ScannedColumns) -> Vec<(String, usize)> {
    let position = |(i, key): (usize, &String)| (key.clone(), columns.tag(TagId(i as u32)));
    let mut tags: Vec<_> = table.tags.iter().enumerate().map(position).collect();
    tags.sort_unstable();
    tags
}

fn bind_residual(
    expr: &Expr,
    table: &Table,
    columns: &mut ScannedColumns,
    origins: &mut Vec<Origin>,
) -> Result<BoundExpr, ExecError> {
    let mut inputs = Inputs::default();
    inputs.add_all(expr);
    let base = origins.len();
    for variable in &inputs.refs {
        let origin = match (columns.origin(variable, table), variable.data_type) {
            (Origin::Tag(column), _) => Origin::TagText(column),
            // To a condition, a name that nothing has is a tag without a value.
            (Origin::Null, None | Some(DataType::Tag)) => Origin::NoText,
            (other, _) => other,
        };
        origins.push(origin);
    }
    BoundExpr::condition(expr, &Offset { inputs: &inputs, base })
}

struct Offset<'a> {
    inputs: &'a Inputs,
    base: usize,
}

impl crate::expression::Slots for Offset<'_> {
    fn variable(&self, variable: &VarRef) -> Option<usize> {
        Some(self.base + self.inputs.position(variable)?)
    }
}

/// The rows of a [`RowPlan`], as the engine streams them.
pub(crate) struct TableRows<'a> {
    runtime: Runtime<'a>,
    name: Arc<str>,
    plan: RowPlan,
    slices: Slices,
    batch: Batch,
    series: Option<Series>,
    series_limit: Option<SeriesLimit>,
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
        series_limit: Option<SeriesLimit>,
    ) -> Self {
        Self {
            runtime: runtime.clone(),
            name: Arc::clone(&source.name),
            slices: Slices::new(plan.scan.clone(), runtime.options.sort_bound),
            plan,
            batch: Batch::default(),
            series: None,
            series_limit,
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
        if let Some(limit) = &mut self.series_limit {
            limit.prepare(&self.runtime)?;
        }
        let Some(batch) = self.slices.next_batch(&self.runtime)? else { return Ok(false) };
        let ScanOutput::Rows(rows) = &self.plan.scan.output else { return Ok(false) };
        let columns = batch.columns().iter().map(ColumnReader::new).collect::<Result<Vec<_>, _>>()?;
        if columns.len() != rows.tags.len() + 1 + rows.fields.len() {
            return Err(
                hyperbytedb_domain::EngineError::failed("scan", "unexpected number of columns").into()
            );
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
            if self.series_limit.as_ref().is_none_or(|limit| limit.admits(&series, row.time)) {
                row.series = series;
                return Ok(true);
            }
        }
    }
}
