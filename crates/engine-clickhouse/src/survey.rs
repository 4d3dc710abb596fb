//! What the servers have of a measurement.

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::{TableName, cluster, statement};
use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_engine_common::{ColumnCounts, answers};

use crate::failure::Failure;
use crate::hosts::{HostId, Layout};
use crate::servers::{Asked, Servers};

/// Where a table is.
pub(crate) enum Stored {
    /// Or it has no rows yet: they come only after all servers have it.
    Nowhere,
    /// Nothing is lost, but some servers lack it.
    Partly,
    /// With the columns that all have.
    Everywhere(ColumnCounts),
}

/// What the servers have said that answered.
pub(crate) struct Survey {
    found: Vec<Found>,
    /// One that did not answer.
    away: Option<(HostId, Failure)>,
}

struct Found {
    host: HostId,
    /// Of the table with rows of the server's own.
    own: Option<ColumnCounts>,
    /// Of what stands for the rows of all; as `own` where there is no such table.
    all: Option<ColumnCounts>,
}

impl Servers {
    /// The table's names: of its rows, and of what stands for those of all servers.
    pub(crate) fn names_of(&self, table: TableId) -> Vec<TableName> {
        let distributed = self.is_distributed().then(|| self.database.distributed_table(table));
        [self.database.table(table)].into_iter().chain(distributed).collect()
    }

    /// Asks the servers for a table. Those that did not answer last are left out where one of their shard has answered and that is enough.
    pub(crate) fn survey(&self, id: TableId, asked: Asked) -> Result<Survey, EngineError> {
        let connected = self.connected()?;
        let is_asked = |host: &HostId| asked == Asked::All || !self.client.hosts.is_down(*host);
        let (first, others): (Vec<HostId>, Vec<HostId>) = self.client.hosts.all().partition(is_asked);
        let mut survey = Survey { found: Vec::new(), away: None };
        self.ask_for(id, first, &mut survey)?;
        let lacks_shard = |survey: &Survey| {
            let is_found = |host: &HostId| survey.hosts().any(|found| found == *host);
            !connected.layout.shards.iter().all(|shard| shard.iter().any(is_found))
        };
        if lacks_shard(&survey) {
            self.ask_for(id, others, &mut survey)?;
        } else if let Some(&host) = others.first() {
            let known = Failure::Unreachable("it did not answer when it was asked last".to_owned());
            survey.away.get_or_insert((host, known));
        }
        if lacks_shard(&survey) || asked == Asked::All {
            survey.all_answered(self)?;
        }
        Ok(survey)
    }

    fn ask_for(&self, id: TableId, hosts: Vec<HostId>, survey: &mut Survey) -> Result<(), EngineError> {
        let failed = |failed| self.error(failed, "looking for a table");
        let select = cluster::measurement_columns(&self.database, id);
        let answers = self.client.wait_for_each(hosts, async |host| self.client.ask(host, &select).await);
        for (host, answer) in answers.map_err(|failure| failed((0, failure)))? {
            match answer {
                Ok(answer) => survey.found.push(Found::new(host, &answer, &self.names_of(id))?),
                Err(failure) if failure.is_unreachable() => survey.away = Some((host, failure)),
                Err(failure) => return Err(failed((host, failure))),
            }
        }
        Ok(())
    }

    /// Whether one of these servers has rows of the table.
    fn has_rows(&self, hosts: &[HostId], id: TableId) -> Result<bool, EngineError> {
        for &host in hosts {
            let answer = self
                .ask(host, &statement::partitions(&self.database, Some(id)))
                .map_err(|failure| self.error((host, failure), "looking for rows"))?;
            if !answers::partitions(&answer)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Survey {
    /// The servers that have answered.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.found.iter().map(|found| found.host)
    }

    pub(crate) fn is_of_all(&self) -> bool {
        self.away.is_none()
    }

    fn all_answered(&mut self, servers: &Servers) -> Result<(), EngineError> {
        let failed = |failed| Err(servers.error(failed, "looking for a table"));
        self.away.take().map_or(Ok(()), failed)
    }

    /// Where the table is. An error when a server has lost a table whose rows others have: without its own the answers would be wrong,
    /// and an empty one in its place would hide that for good.
    pub(crate) fn stored(
        &self,
        servers: &Servers,
        id: TableId,
        layout: &Layout,
    ) -> Result<Stored, EngineError> {
        let counts: Option<Vec<ColumnCounts>> =
            self.found.iter().flat_map(|found| [found.own, found.all]).collect();
        if let Some(common) = counts.and_then(|counts| counts.into_iter().reduce(ColumnCounts::common)) {
            return Ok(Stored::Everywhere(common));
        }
        let with = self.with_own();
        if !servers.has_rows(&with, id)? {
            return Ok(Stored::Nowhere);
        }
        // A replica that is new gets its rows from another one.
        let is_lost = |found: &&Found| {
            let is_with = |host: &HostId| with.contains(host);
            let has_replica =
                layout.shards.iter().any(|shard| shard.contains(&found.host) && shard.iter().any(is_with));
            found.own.is_none() && !(servers.options.replicated && has_replica)
        };
        match self.found.iter().find(is_lost) {
            Some(found) => Err(EngineError::Unavailable(format!(
                "ClickHouse at {} has lost the table {}, of which other servers have rows: see docs/clickhouse.md, Lost tables",
                servers.client.hosts.url(found.host),
                servers.database.table(id).table
            ))),
            None => Ok(Stored::Partly),
        }
    }

    /// For readers of a table that is nowhere: `false`, unless a server that is away may be the only one of its shard that has it.
    pub(crate) fn nothing(mut self, servers: &Servers, layout: &Layout) -> Result<bool, EngineError> {
        let with = self.with_own();
        if !layout.shards.iter().all(|shard| shard.iter().any(|host| with.contains(host))) {
            self.all_answered(servers)?;
        }
        Ok(false)
    }

    fn with_own(&self) -> Vec<HostId> {
        self.found.iter().filter(|found| found.own.is_some()).map(|found| found.host).collect()
    }
}

impl Found {
    fn new(host: HostId, answer: &[RecordBatch], names: &[TableName]) -> Result<Self, EngineError> {
        let own = columns_of(answer, &names[0])?;
        let all = match names.get(1) {
            Some(name) => columns_of(answer, name)?,
            None => own,
        };
        Ok(Self { host, own, all })
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
