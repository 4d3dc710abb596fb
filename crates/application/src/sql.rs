//! Statements of operators in the engine's own language, over the measurements of one retention policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::ports::{Caller, SqlAnswer, SqlError, SqlPort, SqlStatement, SqlText};

use crate::api::QueryRequest;
use crate::statement_summary::{Cost, Described};
use crate::statements::StatementService;

/// A statement of an operator. Who may send one the interface decides.
#[derive(Debug, Clone, Default)]
pub struct SqlRequest {
    pub text: String,
    /// Values of its parameters, by name.
    pub parameters: BTreeMap<String, String>,
    /// Empty: none, so that no measurement can be named.
    pub database: String,
    /// Empty: the database's default.
    pub retention_policy: String,
    /// Where the statement names no format.
    pub format: String,
    /// Bytes of the answer.
    pub max_result_bytes: u64,
    pub caller: Caller,
    pub cancel: CancelToken,
}

/// Running SQL.
pub trait SqlApi: Send + Sync {
    /// Blocks. The statement is among the running queries meanwhile, with their bounds.
    fn run_sql(&self, request: &SqlRequest) -> Result<SqlAnswer, SqlError>;
}

pub struct SqlService {
    pub statements: Arc<StatementService>,
    pub engine: Arc<dyn SqlPort>,
}

impl SqlApi for SqlService {
    fn run_sql(&self, request: &SqlRequest) -> Result<SqlAnswer, SqlError> {
        let read = self.engine.read(&request.text)?;
        let started = Instant::now();
        let answer = self.run(request, &read);
        let summary = &self.statements.summary;
        if summary.is_enabled() {
            let cost = Cost { latency: started.elapsed(), failed: answer.is_err(), ..Cost::default() };
            summary.record(&request.database, Described::sql(&request.text, read.normalized), cost);
        }
        answer
    }
}

impl SqlService {
    fn run(&self, request: &SqlRequest, read: &SqlText) -> Result<SqlAnswer, SqlError> {
        let services = &self.statements;
        let catalog = services.catalog.catalog();
        let (mut named, mut asked) = (Vec::new(), None);
        if !request.database.is_empty() {
            let refused = |what: &str, name: &str| SqlError::Refused(format!("{what} not found: {name}"));
            let database =
                catalog.database(&request.database).ok_or_else(|| refused("database", &request.database))?;
            let policy = database
                .retention_policy(&request.retention_policy)
                .ok_or_else(|| refused("retention policy", &request.retention_policy))?;
            named.extend(read.names.iter().filter_map(|name| policy.tables.get(name).cloned()));
            asked = Some(&**policy);
        }
        let place = QueryRequest {
            database: request.database.clone(),
            caller: request.caller.clone(),
            cancel: request.cancel.clone(),
            ..QueryRequest::default()
        };
        let Some(_ticket) = services.running.enter(request.text.clone(), &place) else {
            let limit = services.options.max_concurrent;
            return Err(SqlError::Refused(crate::QueryError::TooManyQueries { limit }.to_string()));
        };
        let context = services.context(&request.cancel);
        let mut tables = Vec::with_capacity(named.len());
        for table in named {
            let rows = services.reader.all_rows(&table, &context)?;
            tables.push((table, rows));
        }
        let statement = SqlStatement {
            text: &request.text,
            parameters: &request.parameters,
            tables,
            catalog: &catalog,
            policy: asked,
            format: &request.format,
            max_result_bytes: request.max_result_bytes,
        };
        self.engine.run(&statement, &context)
    }
}
