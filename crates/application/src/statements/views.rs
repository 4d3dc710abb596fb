//! BACKFILL.

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::{Command, Database};
use hyperbytedb_timeseriesql::ast::{BackfillStatement, BinaryExpr, BinaryOp, Expr, StoredQueryKind, VarRef};
use hyperbytedb_timeseriesql::reduce::condition_expr;
use jiff::tz::TimeZone;

use super::{StatementError, StatementService};
use crate::waiting::now_ns;
use crate::windows::{QueryKey, StoredQuery};

impl StatementService {
    /// Has windows of a stored query computed in the background.
    pub(super) fn backfill(&self, statement: &BackfillStatement) -> Result<(), StatementError> {
        let catalog = self.catalog.catalog();
        let database = catalog
            .database(&statement.database)
            .ok_or_else(|| StatementError::database_not_found(&statement.database))?;
        let (kind, text) = stored_text(database, statement)?;
        let query = StoredQuery::parse(&statement.database, text)
            .ok_or_else(|| StatementError::NoWindows(kind, statement.name.clone()))?;
        let bound = |op, time: &Expr| {
            let reference = VarRef { name: "time".to_owned(), data_type: None };
            let (lhs, rhs) = (Box::new(Expr::VarRef(reference)), Box::new(time.clone()));
            Expr::Binary(BinaryExpr { op, lhs, rhs })
        };
        let zone = query.select.time_zone.clone().unwrap_or(TimeZone::UTC);
        let time_of = |op, time: &Expr| {
            condition_expr(Some(bound(op, time)), Some(now_ns()), &zone).map(|(_, range)| range)
        };
        let from = time_of(BinaryOp::GtEq, &statement.from)?.min_ns();
        let to = time_of(BinaryOp::Lt, &statement.to)?.max_ns().saturating_add(1);
        if from >= to {
            return Err(StatementError::EmptyBackfill);
        }
        let windows = self.windows.as_ref().ok_or(StatementError::ViewsDisabled)?;
        if !self.commands.is_in_cluster() {
            return Ok(windows.backfill(&query, &(from..to), &catalog)?);
        }
        let QueryKey { is_view, database, name } = query.key;
        let command = Command::Backfill { database, name, is_view, from, to };
        Ok(self.commands.run(command, &QueryContext::unbounded())?)
    }
}

fn stored_text<'a>(
    database: &'a Database,
    statement: &BackfillStatement,
) -> Result<(&'static str, &'a str), StatementError> {
    use hyperbytedb_domain::catalog::CatalogError;
    let name = &statement.name;
    match statement.kind {
        StoredQueryKind::MaterializedView => {
            let view = database.materialized_views.iter().find(|view| &view.name == name);
            let view = view.ok_or_else(|| CatalogError::MaterializedViewNotFound(name.clone()))?;
            Ok(("the materialized view", &view.query))
        }
        StoredQueryKind::ContinuousQuery => {
            let query = database.continuous_queries.iter().find(|query| &query.name == name);
            let query = query.ok_or_else(|| StatementError::ContinuousQueryNotFound(name.clone()))?;
            Ok(("the continuous query", &query.query))
        }
    }
}
