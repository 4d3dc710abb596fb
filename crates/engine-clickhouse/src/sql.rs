//! Statements of operators: ClickHouse itself takes them.

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::ports::{SqlAnswer, SqlError, SqlPort, SqlStatement, SqlText};

use crate::engine::ClickHouseEngine;

fn refused() -> SqlError {
    let text = "SQL is not available here with engine.kind = \"clickhouse\": ask ClickHouse itself";
    SqlError::Refused(text.to_owned())
}

impl SqlPort for ClickHouseEngine {
    fn read(&self, _: &str) -> Result<SqlText, SqlError> {
        Err(refused())
    }

    fn run(&self, _: &SqlStatement<'_>, _: &QueryContext) -> Result<SqlAnswer, SqlError> {
        Err(refused())
    }
}
