//! Rows of one table.

use std::sync::Arc;

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{FieldId, RowScan, Scan, ScanOutput, TagId};
use hyperbytedb_timeseriesql::ast::{DataType, Expr, VarRef};

use crate::error::ExecError;
use crate::expression::BoundExpr;
use crate::inputs::{Inputs, can_cast, value_type};
use crate::scan::predicate::{self, Split};
use crate::scan::tables::TableSource;
use crate::scope::Scope;

/// Rows read past a limit.
const TIE_ROWS_AHEAD: u64 = 64;

/// Where a value of a row comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
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
    pub(super) group: Vec<Option<usize>>,
    /// The SELECT's inputs, then those of the residual condition.
    pub(super) origins: Vec<Origin>,
    pub(super) inputs: usize,
    pub(super) residual: Option<BoundExpr>,
    /// All tags of the table by name, with their positions among the scanned tags; empty where outer groups are series.
    pub(super) series_tags: Vec<(String, usize)>,
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
            scope.grouping.outer.iter().filter_map(|&i| group_by[i].map(|c| columns.tags[c])).collect();
        let series_tags =
            if order.len() < table.tags.len() { series_tags(table, &mut columns) } else { Vec::new() };
        let scan = Scan {
            table: Arc::clone(table),
            time: scope.range,
            filter: pushed,
            shards: None,
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

    /// Whether an outer group may have rows of several series.
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
