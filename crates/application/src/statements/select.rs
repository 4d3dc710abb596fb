//! SELECT and EXPLAIN: plan, then stream the rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::{Caller, WriteRequest, WriteSource};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{CancelToken, QueryContext, Tags};
use hyperbytedb_executor::{ExecError, ExecOptions, ExecStats, execute};
use hyperbytedb_line_protocol::PointPrinter;
use hyperbytedb_metrics as metrics;
use hyperbytedb_planner::prepare::{PrepareContext, PrepareLimits, prepare};
use hyperbytedb_planner::prepared::{IntoTarget, PreparedSelect};
use hyperbytedb_timeseriesql::ast::{
    CreateMaterializedViewStatement, ExplainStatement, Measurement, MeasurementName, SelectStatement, Source,
    Statement,
};
use hyperbytedb_timeseriesql::walk::for_each_measurement_mut;
use tracing::debug_span;

use super::rows::{Rows, integer, text};
use super::show::instead_of_system_name;
use super::{Execution, StatementError, StatementService};
use crate::api::{DEFAULT_CHUNK_ROWS, QueryRequest};
use crate::reader::tier_rows::TierRows;
use crate::views::check_definition;
use crate::waiting::now_ns;

/// Rows of one write of INTO.
const INTO_WRITE_ROWS: usize = 10_000;

impl StatementService {
    pub(super) fn select(
        &self,
        statement: &SelectStatement,
        execution: &mut Execution<'_>,
    ) -> Result<(), StatementError> {
        refuse_system_sources(statement)?;
        let catalog = self.catalog.catalog();
        let planning = Instant::now();
        let plan = debug_span!("plan")
            .in_scope(|| self.prepare(statement, &catalog, execution.request, &execution.context))?;
        metrics::QUERY_PLAN.record_duration(planning.elapsed());
        let context = execution.context.clone();
        let options = self.exec_options(execution.chunk_rows());
        let running = Instant::now();
        let _span = debug_span!("execute").entered();
        let mut run = execute(&plan, &self.reader, &context, &options)?;
        let first = run.next();
        metrics::QUERY_FIRST_BLOCK.record_duration(running.elapsed());
        let mut blocks = first.into_iter().chain(run.by_ref());
        let result = match &plan.into {
            Some(target) => self.write_into(&plan, target, &mut blocks, execution),
            None => blocks.try_for_each(|block| execution.emit(block?)),
        };
        metrics::QUERY_EXECUTE.record_duration(running.elapsed());
        execution.note(&run.stats());
        result
    }

    /// EXPLAIN prints the plan; EXPLAIN ANALYZE also runs it and prints what that took.
    pub(super) fn explain(
        &self,
        statement: &ExplainStatement,
        execution: &mut Execution<'_>,
    ) -> Result<(), StatementError> {
        let catalog = self.catalog.catalog();
        let started = Instant::now();
        let plan = self.prepare(&statement.statement, &catalog, execution.request, &execution.context)?;
        let planning = started.elapsed();
        let context = execution.context.clone();
        let options = self.exec_options(execution.chunk_rows());
        let mut lines = hyperbytedb_executor::explain(&plan, &self.reader, &options)?;
        if statement.analyze {
            let started = Instant::now();
            let tier_rows = TierRows::default();
            let reader = self.reader.counting(tier_rows.clone());
            let mut run = execute(&plan, &reader, &context, &options)?;
            let mut rows = 0;
            for block in run.by_ref() {
                rows += block?.rows().count();
            }
            execution.note(&run.stats());
            lines.extend(analysis(&run.stats(), &tier_rows, rows, planning, started.elapsed()));
        }
        let column = if statement.analyze { "EXPLAIN ANALYZE" } else { "QUERY PLAN" };
        let mut rows = Rows::new("", &[column]);
        lines.iter().for_each(|line| rows.row([text(line)]));
        execution.emit(rows.block())
    }

    pub(super) fn prepare(
        &self,
        statement: &SelectStatement,
        catalog: &Catalog,
        request: &QueryRequest,
        query: &QueryContext,
    ) -> Result<PreparedSelect, StatementError> {
        let context = PrepareContext {
            catalog,
            database: &request.database,
            retention_policy: &request.retention_policy,
            now: now_ns(),
            limits: PrepareLimits { max_buckets: self.options.max_select_buckets },
            query,
        };
        let prepared = prepare(statement, &context);
        query.check()?;
        Ok(prepared?)
    }

    fn exec_options(&self, chunk_rows: usize) -> ExecOptions {
        ExecOptions {
            chunk_rows,
            max_points: self.options.max_select_points as u64,
            max_buffered_points: self.options.max_buffered_points,
            sort_bound: self.options.sort_bound,
            pushdown: true,
        }
    }

    /// The points that a SELECT INTO would write, in batches.
    pub fn points_of(
        &self,
        statement: &SelectStatement,
        database: &str,
        cancel: &CancelToken,
        take: &mut dyn FnMut(Vec<IntoPoint>) -> Result<(), StatementError>,
    ) -> Result<(), StatementError> {
        let request = QueryRequest {
            caller: Caller::Trusted,
            database: database.to_owned(),
            cancel: cancel.clone(),
            ..QueryRequest::default()
        };
        let Some(_ticket) = self.running.enter(statement.to_string(), &request) else {
            return Err(StatementError::TooManyQueries { limit: self.options.max_concurrent });
        };
        let context = self.context(&request.cancel);
        let catalog = self.catalog.catalog();
        let plan = self.prepare(statement, &catalog, &request, &context)?;
        let Some(target) = &plan.into else { return Ok(()) };
        let options = self.exec_options(DEFAULT_CHUNK_ROWS);
        for block in execute(&plan, &self.reader, &context, &options)? {
            let block = block?;
            take(block.rows().map(|row| IntoPoint::of(&plan, target, &block, row)).collect())?;
        }
        Ok(())
    }

    /// Writes the rows to the target and answers with their number.
    fn write_into(
        &self,
        plan: &PreparedSelect,
        target: &IntoTarget,
        blocks: impl Iterator<Item = Result<SeriesBlock, ExecError>>,
        execution: &mut Execution<'_>,
    ) -> Result<(), StatementError> {
        let mut written = 0;
        let copied = self.copy(plan, target, blocks, &mut written);
        match copied {
            Err(error) if written > 0 => {
                return Err(StatementError::Into { error: Box::new(error), written });
            }
            copied => copied?,
        }
        let mut rows = Rows::new("result", &["time", "written"]);
        rows.row([FieldValue::Time(0), integer(written)]);
        execution.emit(rows.block())
    }

    /// A few rows at a time, so that neither memory nor the log's records grow with the statement.
    fn copy(
        &self,
        plan: &PreparedSelect,
        target: &IntoTarget,
        blocks: impl Iterator<Item = Result<SeriesBlock, ExecError>>,
        written: &mut u64,
    ) -> Result<(), StatementError> {
        let mut lines = String::new();
        let mut pending = 0;
        for block in blocks {
            let block = block?;
            for row in block.rows() {
                pending += usize::from(push_line(&mut lines, plan, target, &block, row));
                if pending >= INTO_WRITE_ROWS {
                    self.write_lines(target, std::mem::take(&mut lines))?;
                    *written += std::mem::take(&mut pending) as u64;
                }
            }
        }
        if pending > 0 {
            self.write_lines(target, lines)?;
            *written += pending as u64;
        }
        Ok(())
    }

    fn write_lines(&self, target: &IntoTarget, lines: String) -> Result<(), StatementError> {
        // The statement was authorized as a whole.
        let IntoTarget { database, retention_policy, .. } = target;
        let request = WriteRequest::lines(WriteSource::Server, database, retention_policy, lines);
        Ok(self.ingestion.write(request)?)
    }

    /// Fills in the request's database and policy where a stored statement leaves them out.
    pub(super) fn with_defaults(
        &self,
        statement: Statement,
        execution: &Execution<'_>,
    ) -> Result<Statement, StatementError> {
        match statement {
            Statement::CreateContinuousQuery(mut cq) => {
                self.fill_places(&mut cq.source, &cq.database, execution)?;
                Ok(Statement::CreateContinuousQuery(cq))
            }
            Statement::CreateMaterializedView(mut view) => {
                self.fill_places(&mut view.source, &view.database, execution)?;
                self.check_view(&view, execution)?;
                Ok(Statement::CreateMaterializedView(view))
            }
            other => Ok(other),
        }
    }

    /// Whether the view can be kept.
    fn check_view(
        &self,
        view: &CreateMaterializedViewStatement,
        execution: &Execution<'_>,
    ) -> Result<(), StatementError> {
        let catalog = self.catalog.catalog();
        if catalog.database(&view.database).is_none() {
            return Err(StatementError::database_not_found(&view.database));
        }
        check_definition(view, &catalog)?;
        self.prepare(&view.source, &catalog, execution.request, &execution.context).map(drop)
    }

    /// The statement as InfluxDB prints it in a message.
    pub(super) fn with_places(&self, statement: &Statement, execution: &Execution<'_>) -> Statement {
        let mut statement = statement.clone();
        if let Statement::Select(select) = &mut statement {
            // A place that does not exist stays as it is; running the statement will say so.
            let _ = self.fill_places(select, "", execution);
        }
        statement
    }

    /// Names the database and retention policy of each source and of the target. Without a database in the request,
    /// `own_database` is the default.
    fn fill_places(
        &self,
        select: &mut SelectStatement,
        own_database: &str,
        execution: &Execution<'_>,
    ) -> Result<(), StatementError> {
        let catalog = self.catalog.catalog();
        let request = execution.request;
        let database = execution.database(None);
        let default = if database.is_empty() { own_database.to_owned() } else { database.to_owned() };
        let mut failed = None;
        for_each_measurement_mut(select, &mut |m: &mut Measurement| {
            let filled = fill_place(&catalog, request, &default, &mut m.database, &mut m.retention_policy);
            failed = failed.take().or(filled.err());
        });
        if let Some(target) = &mut select.target {
            fill_place(&catalog, request, &default, &mut target.database, &mut target.retention_policy)?;
        }
        failed.map_or(Ok(()), Err)
    }
}

/// InfluxDB keeps some names of measurements for itself; only the outermost FROM is looked at.
fn refuse_system_sources(statement: &SelectStatement) -> Result<(), StatementError> {
    for source in &statement.sources {
        let Source::Measurement(Measurement { name: MeasurementName::Name(name), .. }) = source else {
            continue;
        };
        if let Some(instead) = instead_of_system_name(name) {
            return Err(StatementError::SystemSource { name: name.clone(), instead });
        }
    }
    Ok(())
}

/// What EXPLAIN ANALYZE adds to the plan.
fn analysis(
    stats: &ExecStats,
    tiers: &TierRows,
    rows: usize,
    planning: Duration,
    running: Duration,
) -> Vec<String> {
    vec![
        format!("scans: {}", stats.scans),
        format!("rows read: {}", stats.rows_read),
        format!("rows from memory: {}", tiers.memory_rows()),
        format!("rows from the engine: {}", tiers.engine_rows()),
        format!("bytes read: {}", stats.bytes_read),
        format!("rows returned: {rows}"),
        format!("time planning: {planning:.1?}"),
        format!("time in scans: {:.1?}", stats.engine_time),
        format!("time in operators: {:.1?}", running.saturating_sub(stats.engine_time)),
    ]
}

fn fill_place(
    catalog: &Catalog,
    request: &QueryRequest,
    default_database: &str,
    database: &mut Option<String>,
    policy: &mut Option<String>,
) -> Result<(), StatementError> {
    let name = database.get_or_insert_with(|| default_database.to_owned());
    if name.is_empty() {
        return Err(StatementError::DatabaseRequired);
    }
    let db = catalog.database(name).ok_or_else(|| StatementError::database_not_found(name))?;
    if policy.as_deref().unwrap_or_default().is_empty() {
        let default = if request.retention_policy.is_empty() {
            db.default_retention_policy.clone()
        } else {
            request.retention_policy.clone()
        };
        *policy = Some(default);
    }
    match policy {
        Some(policy) if !db.retention_policies.contains_key(policy) => {
            Err(StatementError::PolicyNotFound { database: name.clone(), policy: policy.clone() })
        }
        _ => Ok(()),
    }
}

/// A point that a SELECT INTO writes.
#[derive(Debug, Clone)]
pub struct IntoPoint {
    pub measurement: Arc<str>,
    pub tags: Tags,
    pub time: i64,
    /// Those that can be stored: neither NULL nor infinite.
    pub fields: BTreeMap<String, FieldValue>,
}

impl IntoPoint {
    fn of(plan: &PreparedSelect, target: &IntoTarget, block: &SeriesBlock, row: &[FieldValue]) -> Self {
        let measurement = target.measurement.as_deref().map_or_else(|| block.name.clone(), Arc::from);
        let mut tags: Vec<(String, String)> =
            block.tags.iter().flat_map(|tags| tags.iter()).cloned().collect();
        let (mut time, mut fields) = (0, BTreeMap::new());
        for (column, (key, value)) in block.columns.iter().zip(row).enumerate() {
            match value {
                FieldValue::Time(t) => time = *t,
                FieldValue::String(value) if is_tag_column(plan, column) => {
                    tags.push((key.clone(), value.as_ref().to_owned()));
                }
                FieldValue::Null | FieldValue::Strings(_) => {}
                FieldValue::Float(value) if !value.is_finite() => {}
                _ if is_tag_column(plan, column) => {}
                value => drop(fields.insert(key.clone(), value.clone())),
            }
        }
        Self { measurement, tags: Tags::new(tags), time, fields }
    }
}

/// Whether a column of a result is a tag of the points that INTO makes of it.
fn is_tag_column(plan: &PreparedSelect, column: usize) -> bool {
    column.checked_sub(1).and_then(|i| plan.fields.get(i)).is_some_and(|field| field.implied)
}

/// Appends a result row as line protocol; false when it has no value besides its time.
fn push_line(
    lines: &mut String,
    plan: &PreparedSelect,
    target: &IntoTarget,
    block: &SeriesBlock,
    row: &[FieldValue],
) -> bool {
    let mut point = PointPrinter::begin(lines, target.measurement.as_deref().unwrap_or(&block.name));
    for (key, value) in block.tags.iter().flat_map(|tags| tags.iter()) {
        point.tag(key, value);
    }
    let is_tag = |column| is_tag_column(plan, column);
    let columns = || block.columns.iter().zip(row).enumerate();
    for (_, (key, value)) in columns().filter(|(column, _)| is_tag(*column)) {
        if let FieldValue::String(value) = value {
            point.tag(key, value);
        }
    }
    let mut time = 0;
    for (_, (key, value)) in columns().filter(|(column, _)| !is_tag(*column)) {
        match value {
            FieldValue::Time(t) => time = *t,
            value => point.field(key, value),
        }
    }
    point.end(time)
}
