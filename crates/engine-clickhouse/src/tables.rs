//! Making tables, on all servers. Everything here can be done once more, also by two at once.
//!
//! The tables that hold rows are there before the Distributed ones: the other way round inserts and scans would fail.
//!
//! Readers do with one server of each shard, and so do writers where the servers keep each other's rows. What is found out while
//! a server is away is not remembered: it is looked at when it is back.

use hyperbytedb_clickhouse_sql::schema;
use hyperbytedb_clickhouse_sql::statement::{self, Statement, TableEngine};
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::{ColumnCounts, selects_nothing};

use crate::engine::ClickHouseEngine;
use crate::hosts::HostId;
use crate::servers::Asked;
use crate::survey::{Stored, Survey};

/// What a table is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Delete,
    /// The table is made where it is not.
    Insert,
}

impl ClickHouseEngine {
    /// Whether the table exists on the servers that are needed; then it has all its columns, since those that are missing are added.
    pub(crate) fn complete(&self, table: &Table, purpose: Purpose) -> Result<bool, EngineError> {
        let servers = &self.servers;
        if servers.tables.get(table.id).is_some_and(|counts| counts.covers(table)) {
            return Ok(true);
        }
        let connected = servers.connected()?;
        let asked = match purpose {
            Purpose::Delete | Purpose::Insert if !servers.options.replicated => Asked::All,
            _ => Asked::ThoseThatAnswer,
        };
        let mut survey = servers.survey(table.id, asked)?;
        let mut stored = survey.stored(servers, table.id, &connected.layout)?;
        let is_nowhere = matches!(stored, Stored::Nowhere);
        if is_nowhere && purpose != Purpose::Insert {
            return survey.nothing(servers, &connected.layout);
        }
        if is_nowhere || matches!(stored, Stored::Partly) {
            self.create_table(table, &survey)?;
            // One that was begun before may lack columns.
            survey = servers.survey(table.id, asked)?;
            stored = survey.stored(servers, table.id, &connected.layout)?;
        }
        let Stored::Everywhere(counts) = stored else {
            let name = servers.database.table(table.id);
            let text = format!("a ClickHouse server came back while {name} was made: it is tried again");
            return Err(EngineError::Unavailable(text));
        };
        if !counts.covers(table) {
            self.add_columns(table, counts, &survey)?;
        }
        if survey.is_of_all() {
            servers.tables.remember(table.id, counts);
            servers.tables.remember(table.id, ColumnCounts::of(table));
        }
        Ok(true)
    }

    /// Whether there can be rows of the selection; then the table has all its columns.
    pub(crate) fn may_hold(
        &self,
        table: &Table,
        rows: &RowSelection,
        purpose: Purpose,
        context: &QueryContext,
    ) -> Result<bool, EngineError> {
        context.check()?;
        Ok(!selects_nothing(rows) && self.complete(table, purpose)?)
    }

    fn create_table(&self, table: &Table, survey: &Survey) -> Result<(), EngineError> {
        let servers = &self.servers;
        let stored = servers.database.table(table.id);
        let engine = match servers.options.replicated {
            false => TableEngine::MergeTree,
            true => {
                let path = format!("/clickhouse/tables/{{shard}}/{}/{}", stored.database, stored.table);
                TableEngine::Replicated { path }
            }
        };
        let settings = servers.connected()?.table_settings.clone();
        let create = statement::create_table(table, stored.clone(), engine, settings);
        self.on_each(survey.hosts(), &create, "creating a table")?;
        if servers.is_distributed() {
            let distributed = Statement::CreateDistributed {
                table: servers.database.distributed_table(table.id),
                columns: schema::columns(table),
                cluster: servers.options.cluster.clone(),
                stored,
            };
            self.on_each(survey.hosts(), &distributed, "creating a table")?;
        }
        Ok(())
    }

    fn add_columns(&self, table: &Table, counts: ColumnCounts, survey: &Survey) -> Result<(), EngineError> {
        let servers = &self.servers;
        let add = |name| statement::add_columns(table, name, counts.tags, counts.fields);
        if let Some(statement) = add(servers.database.table(table.id)) {
            for hosts in servers.writers()? {
                let hosts: Vec<HostId> =
                    hosts.into_iter().filter(|host| survey.hosts().any(|found| found == *host)).collect();
                if !hosts.is_empty() {
                    let added = servers.execute_on_one(&hosts, &statement);
                    added.map_err(|failed| servers.error(failed, "adding columns"))?;
                }
            }
        }
        if servers.is_distributed()
            && let Some(statement) = add(servers.database.distributed_table(table.id))
        {
            self.on_each(survey.hosts(), &statement, "adding columns")?;
        }
        Ok(())
    }

    pub(crate) fn drop_everywhere(&self, table: TableId) -> Result<(), EngineError> {
        self.servers.tables.forget(table);
        self.attempts.lock().remove(&table);
        self.servers.connected()?;
        for table in self.servers.names_of(table).into_iter().rev() {
            self.on_each(
                self.servers.client.hosts.all(),
                &Statement::DropTable { table },
                "dropping a table",
            )?;
        }
        Ok(())
    }

    /// Runs a statement on each of these servers, at once.
    fn on_each(
        &self,
        hosts: impl Iterator<Item = HostId>,
        statement: &Statement,
        purpose: &str,
    ) -> Result<(), EngineError> {
        let client = &self.servers.client;
        let outcomes = client.wait_for_each(hosts, async |host| client.execute(host, statement).await);
        let outcomes = outcomes.map_err(|failure| failure.into_engine_error("ClickHouse", purpose))?;
        outcomes.into_iter().try_for_each(|(host, outcome)| {
            outcome.map_err(|failure| self.servers.error((host, failure), purpose))
        })
    }
}
