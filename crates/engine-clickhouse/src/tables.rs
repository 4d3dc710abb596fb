//! Making tables, on all servers. Everything here can be done once more, also by two at once.
//!
//! The tables that hold rows are there before the Distributed ones: the other way round inserts and scans would fail.

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::statement::{self, Statement, TableEngine};
use hyperbytedb_clickhouse_sql::{TableName, cluster, schema};
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::{ColumnCounts, answers, selects_nothing};

use crate::engine::ClickHouseEngine;
use crate::hosts::HostId;

/// Where a table is.
enum Stored {
    /// Or it has no rows yet: they come only after all servers have it.
    Nowhere,
    /// Nothing is lost, but some servers lack it.
    Partly,
    /// With the columns that all have.
    Everywhere(ColumnCounts),
}

impl ClickHouseEngine {
    /// Whether the table exists everywhere, with all its columns; missing columns are added to an existing one.
    pub(crate) fn complete_table(&self, table: &Table) -> Result<bool, EngineError> {
        let stored = match self.tables.get(table.id) {
            Some(counts) => Stored::Everywhere(counts),
            None => self.stored(table.id)?,
        };
        let counts = match stored {
            Stored::Everywhere(counts) => counts,
            Stored::Nowhere => return Ok(false),
            Stored::Partly => {
                self.create_table(table)?;
                return Ok(true);
            }
        };
        if !counts.covers(table) {
            self.add_columns(table, counts)?;
        }
        self.tables.remember(table.id, counts);
        self.tables.remember(table.id, ColumnCounts::of(table));
        Ok(true)
    }

    /// Whether there can be rows of the selection; then the table has all its columns.
    pub(crate) fn may_hold(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<bool, EngineError> {
        context.check()?;
        Ok(!selects_nothing(rows) && self.complete_table(table)?)
    }

    pub(crate) fn create_table(&self, table: &Table) -> Result<(), EngineError> {
        let connected = self.connected()?;
        let stored = self.database.table(table.id);
        let engine = match self.options.replicated {
            false => TableEngine::MergeTree,
            true => {
                let path = format!("/clickhouse/tables/{{shard}}/{}/{}", stored.database, stored.table);
                TableEngine::Replicated { path }
            }
        };
        let settings = connected.table_settings.clone();
        self.everywhere(
            &statement::create_table(table, stored.clone(), engine, settings),
            "creating a table",
        )?;
        if self.is_distributed() {
            let distributed = Statement::CreateDistributed {
                table: self.database.distributed_table(table.id),
                columns: schema::columns(table),
                cluster: self.options.cluster.clone(),
                stored,
            };
            self.everywhere(&distributed, "creating a table")?;
        }
        // One that was begun before may lack columns.
        self.add_columns(table, ColumnCounts::default())?;
        self.tables.remember(table.id, ColumnCounts::of(table));
        Ok(())
    }

    fn add_columns(&self, table: &Table, counts: ColumnCounts) -> Result<(), EngineError> {
        let add = |name| statement::add_columns(table, name, counts.tags, counts.fields);
        if let Some(statement) = add(self.database.table(table.id)) {
            self.on_writers(&statement, "adding columns")?;
        }
        if self.is_distributed()
            && let Some(statement) = add(self.database.distributed_table(table.id))
        {
            self.everywhere(&statement, "adding columns")?;
        }
        Ok(())
    }

    pub(crate) fn drop_everywhere(&self, table: TableId) -> Result<(), EngineError> {
        self.tables.forget(table);
        self.attempts.lock().remove(&table);
        for table in self.names_of(table).into_iter().rev() {
            self.everywhere(&Statement::DropTable { table }, "dropping a table")?;
        }
        Ok(())
    }

    /// The table's names: of its rows, and of what stands for those of all servers.
    fn names_of(&self, table: TableId) -> Vec<TableName> {
        let distributed = self.is_distributed().then(|| self.database.distributed_table(table));
        [self.database.table(table)].into_iter().chain(distributed).collect()
    }

    /// Runs a statement on all servers.
    fn everywhere(&self, statement: &Statement, purpose: &str) -> Result<(), EngineError> {
        self.connected()?;
        self.client.hosts.all().try_for_each(|host| {
            self.execute_on(host, statement).map_err(|failure| self.error((host, failure), purpose))
        })
    }

    /// Runs a statement that changes rows or what they consist of.
    pub(crate) fn on_writers(&self, statement: &Statement, purpose: &str) -> Result<(), EngineError> {
        self.writers()?.iter().try_for_each(|hosts| {
            self.execute_on_one(hosts, statement).map_err(|failed| self.error(failed, purpose))
        })
    }

    /// What the servers say. An error when one of them has lost a table whose rows others have: without its own the answers would
    /// be wrong, and an empty one in its place would hide that for good.
    fn stored(&self, id: TableId) -> Result<Stored, EngineError> {
        let connected = self.connected()?;
        let (own, names) = (self.database.table(id), self.names_of(id));
        let mut common: Option<ColumnCounts> = None;
        let (mut with, mut without, mut is_complete) = (Vec::new(), Vec::new(), true);
        for host in self.client.hosts.all() {
            let answer = self
                .ask(host, cluster::measurement_columns(&self.database, id))
                .map_err(|failure| self.error((host, failure), "looking for a table"))?;
            for name in &names {
                match columns_of(&answer, name)? {
                    Some(counts) => common = Some(common.map_or(counts, |common| common.common(counts))),
                    None => is_complete = false,
                }
            }
            let has_own = columns_of(&answer, &own)?.is_some();
            if has_own { with.push(host) } else { without.push(host) }
        }
        if is_complete {
            return Ok(common.map_or(Stored::Nowhere, Stored::Everywhere));
        }
        if !self.has_rows(&with, id)? {
            return Ok(Stored::Nowhere);
        }
        // A replica that is new gets its rows from another one.
        let is_lost = |host: &HostId| {
            let shard = connected.layout.shards.iter().find(|shard| shard.contains(host));
            let has_replica = shard.is_some_and(|shard| shard.iter().any(|other| with.contains(other)));
            !(self.options.replicated && has_replica)
        };
        match without.iter().copied().find(is_lost) {
            Some(host) => Err(EngineError::Unavailable(format!(
                "ClickHouse at {} has lost the table {}, of which other servers have rows: see docs/clickhouse.md, Lost tables",
                self.client.hosts.url(host),
                own.table
            ))),
            None => Ok(Stored::Partly),
        }
    }

    /// Whether one of these servers has rows of the table.
    fn has_rows(&self, hosts: &[HostId], id: TableId) -> Result<bool, EngineError> {
        for &host in hosts {
            let answer = self
                .ask(host, statement::partitions(&self.database, Some(id)))
                .map_err(|failure| self.error((host, failure), "looking for rows"))?;
            if !answers::partitions(&answer)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The servers that answer scans of all series.
    pub(crate) fn all_hosts(&self) -> Vec<HostId> {
        self.client.hosts.all().collect()
    }
}

fn columns_of(answer: &[RecordBatch], table: &TableName) -> Result<Option<ColumnCounts>, EngineError> {
    let mut counts = None;
    for batch in answer {
        let named = answers::strings(batch, 0)?.into_iter().zip(answers::strings(batch, 1)?);
        for (_, column) in named.filter(|(name, _)| *name == table.table) {
            counts.get_or_insert_with(ColumnCounts::default).add(&column);
        }
    }
    Ok(counts)
}
