//! The tables that a SELECT reads.

use std::sync::Arc;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_planner::{PreparedSelect, PreparedSource};

use crate::scope::Scope;

/// What one SELECT reads from one table.
#[derive(Debug, Clone)]
pub(crate) struct TableSource {
    pub name: Arc<str>,
    pub table: Arc<Table>,
}

/// The tables of a statement by measurement, in the order in which their rows come; `None` if it reads subqueries.
pub(crate) fn tables_by_name(select: &PreparedSelect, scope: &Scope) -> Option<Vec<Vec<TableSource>>> {
    let mut tables = Vec::new();
    for source in &select.sources {
        match source {
            PreparedSource::Measurement { name, table } => {
                tables.push(TableSource { name: Arc::from(name.as_str()), table: Arc::clone(table) });
            }
            PreparedSource::Subquery(_) => return None,
        }
    }
    tables.sort_by(|a, b| scope.directed(a.name.cmp(&b.name)));
    Some(tables.chunk_by(|a, b| a.name == b.name).map(<[_]>::to_vec).collect())
}
