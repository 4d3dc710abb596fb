//! Rows of a subquery as the input of the statement around it.

use hyperbytedb_domain::{FieldType, FieldValue};
use hyperbytedb_planner::PreparedSelect;
use hyperbytedb_timeseriesql::ast::{Expr, VarRef};

use crate::error::ExecError;
use crate::expression::{BoundExpr, Slots};
use crate::inputs::{Inputs, cast, value_type};
use crate::row::{Row, RowStream, Series};
use crate::runtime::Runtime;
use crate::scope::Scope;

/// Where a value is found in a row of the subquery.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// A column, and the type it is read as.
    Column(usize, Option<FieldType>),
    /// Position among the subquery's GROUP BY tags.
    Tag(usize),
    EmptyTag,
    Null,
}

impl Origin {
    fn value(self, row: &Row) -> FieldValue {
        match self {
            Self::Column(i, None) => row.values[i].clone(),
            Self::Column(i, Some(to)) => cast(row.values[i].clone(), to),
            Self::Tag(i) => FieldValue::String(row.series.tags[i].clone()),
            Self::EmptyTag => FieldValue::String("".into()),
            Self::Null => FieldValue::Null,
        }
    }
}

struct Filter {
    condition: BoundExpr,
    origins: Vec<Origin>,
    values: Vec<FieldValue>,
}

/// Runs the subquery, filters its rows and picks the inputs of the statement around it.
pub(crate) struct SubqueryRows<'a> {
    rows: Box<dyn RowStream + 'a>,
    filter: Option<Filter>,
    origins: Vec<Origin>,
    /// Positions of the outer GROUP BY keys among the inner ones.
    projection: Vec<usize>,
    inner: Row,
    projected: Option<(Series, Series)>,
}

impl<'a> SubqueryRows<'a> {
    pub fn new(
        runtime: &Runtime<'a>,
        subquery: &'a PreparedSelect,
        outer: &Scope,
        inputs: &Inputs,
        condition: Option<&Expr>,
    ) -> Result<Self, ExecError> {
        let scope = outer.inner(subquery);
        let projection = outer.grouping.keys.iter().filter_map(|key| scope.grouping.position(key)).collect();
        let origins = inputs.refs.iter().map(|r| input_origin(r, subquery, &scope)).collect();
        let filter = condition.map(|c| Filter::new(c, subquery, &scope)).transpose()?;
        let rows = (runtime.select_rows)(runtime, subquery, &scope)?;
        Ok(Self { rows, filter, origins, projection, inner: Row::default(), projected: None })
    }

    fn series(&mut self) -> Series {
        let inner = &self.inner.series;
        if self.projection.len() == inner.tags.len() {
            return inner.clone();
        }
        match &self.projected {
            Some((from, to)) if from == inner => to.clone(),
            _ => {
                let series = inner.project(&self.projection);
                // Neighbours share their tags, which makes comparing them cheap.
                let series = match &self.projected {
                    Some((_, to)) if *to == series => to.clone(),
                    _ => series,
                };
                self.projected = Some((inner.clone(), series.clone()));
                series
            }
        }
    }
}

impl RowStream for SubqueryRows<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        while self.rows.next_row(&mut self.inner)? {
            if self.filter.as_mut().is_some_and(|filter| !filter.admits(&self.inner)) {
                continue;
            }
            row.time = self.inner.time;
            row.values.clear();
            row.values.extend(self.origins.iter().map(|origin| origin.value(&self.inner)));
            row.series = self.series();
            return Ok(true);
        }
        Ok(false)
    }
}

/// A column of the subquery or one of its own GROUP BY tags.
fn input_origin(variable: &VarRef, subquery: &PreparedSelect, scope: &Scope) -> Origin {
    column(variable, subquery).unwrap_or_else(|| {
        let own = subquery.dimensions.contains(&variable.name);
        own.then(|| scope.grouping.position(&variable.name)).flatten().map_or(Origin::Null, Origin::Tag)
    })
}

fn column(variable: &VarRef, subquery: &PreparedSelect) -> Option<Origin> {
    let position = subquery.fields.iter().position(|field| field.name == variable.name)?;
    Some(Origin::Column(position, value_type(variable.data_type)))
}

impl Filter {
    fn new(condition: &Expr, subquery: &PreparedSelect, scope: &Scope) -> Result<Self, ExecError> {
        let mut inputs = Inputs::default();
        inputs.add_all(condition);
        let origin = |variable: &VarRef| {
            let tag = || scope.grouping.position(&variable.name).map_or(Origin::EmptyTag, Origin::Tag);
            column(variable, subquery).unwrap_or_else(tag)
        };
        let origins = inputs.refs.iter().map(origin).collect();
        let condition = BoundExpr::subquery_condition(condition, &inputs as &dyn Slots)?;
        Ok(Self { condition, origins, values: Vec::new() })
    }

    fn admits(&mut self, row: &Row) -> bool {
        self.values.clear();
        self.values.extend(self.origins.iter().map(|origin| origin.value(row)));
        self.condition.holds(&self.values)
    }
}
