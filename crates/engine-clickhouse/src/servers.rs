//! The servers, and asking them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::Select;
use hyperbytedb_clickhouse_sql::schema::Database;
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::KnownTables;
use parking_lot::{Mutex, RwLock};

use crate::client::Client;
use crate::connect::Connected;
use crate::failure::Failure;
use crate::hosts::HostId;
use crate::options::ClickHouseOptions;

/// Which servers must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    All,
    /// One of each shard.
    ThoseThatAnswer,
}

pub(crate) struct Servers {
    pub(crate) client: Arc<Client>,
    pub(crate) options: ClickHouseOptions,
    pub(crate) database: Database,
    /// `None`: not enough of them have answered yet.
    connected: RwLock<Option<Arc<Connected>>>,
    /// Held while they are asked what they are.
    connecting: Mutex<()>,
    /// Tables that all servers have with these columns.
    pub(crate) tables: KnownTables,
}

impl Servers {
    pub(crate) fn new(options: ClickHouseOptions) -> Result<Self, EngineError> {
        Ok(Self {
            client: Arc::new(Client::new(&options)?),
            database: Database::new(options.database.as_str()),
            connected: RwLock::default(),
            connecting: Mutex::default(),
            tables: KnownTables::default(),
            options,
        })
    }

    /// What the servers are, which is found out when all that is needed for it has been said.
    pub(crate) fn connected(&self) -> Result<Arc<Connected>, EngineError> {
        if let Some(known) = self.connected.read().clone() {
            return Ok(known);
        }
        let _connecting = self.connecting.lock();
        if let Some(known) = self.connected.read().clone() {
            return Ok(known);
        }
        let found = Arc::new(self.connect()?);
        *self.connected.write() = Some(found.clone());
        Ok(found)
    }

    /// Asks all anew when one answers that did not when they were asked what they are.
    pub(crate) fn greet_late(&self) -> Result<(), EngineError> {
        let Some(known) = self.connected.read().clone() else { return Ok(()) };
        if known.away.iter().all(|host| self.client.hosts.is_down(*host)) {
            return Ok(());
        }
        let found = self.connect()?;
        *self.connected.write() = Some(Arc::new(found));
        Ok(())
    }

    /// Runs a statement on the first of these servers that is reached.
    pub(crate) fn execute_on_one(
        &self,
        hosts: &[HostId],
        statement: &Statement,
    ) -> Result<(), (HostId, Failure)> {
        self.on_one(hosts, async |host| self.client.execute(host, statement).await)
    }

    /// The answer of the first of these servers that is reached.
    pub(crate) fn on_one<T>(
        &self,
        hosts: &[HostId],
        ask: impl AsyncFn(HostId) -> Result<T, Failure>,
    ) -> Result<T, (HostId, Failure)> {
        self.client.wait_for_one(&QueryContext::unbounded(), hosts, ask)
    }

    /// The whole answer of a small internal question.
    pub(crate) fn ask(&self, host: HostId, select: &Select) -> Result<Vec<RecordBatch>, Failure> {
        self.client.wait(&QueryContext::unbounded(), self.client.ask(host, select))
    }

    /// What the servers answer, by shard; those without the table are left out. Replicas answer for each other, other servers of a
    /// shard may differ after an insert that not all of them have got, so each is asked.
    pub(crate) fn ask_shards(
        &self,
        select: &Select,
        asked: Asked,
        purpose: &str,
    ) -> Result<Vec<Vec<RecordBatch>>, EngineError> {
        let connected = self.connected()?;
        connected.layout.shards.iter().map(|shard| self.ask_shard(shard, select, asked, purpose)).collect()
    }

    fn ask_shard(
        &self,
        shard: &[HostId],
        select: &Select,
        asked: Asked,
        purpose: &str,
    ) -> Result<Vec<RecordBatch>, EngineError> {
        let (mut rows, mut has_answered, mut away) = (Vec::new(), false, None);
        for host in self.client.hosts.in_turn(shard) {
            let is_enough = self.options.replicated
                || (asked == Asked::ThoseThatAnswer && self.client.hosts.is_down(host));
            if has_answered && is_enough {
                break;
            }
            match self.ask(host, select) {
                Ok(batches) => {
                    rows.extend(batches);
                    has_answered = true;
                }
                Err(failure) if failure.is_unknown_table() => has_answered = true,
                Err(failure) if failure.is_unreachable() => away = Some((host, failure)),
                Err(failure) => return Err(self.error((host, failure), purpose)),
            }
        }
        let is_enough = has_answered && (self.options.replicated || asked == Asked::ThoseThatAnswer);
        match away {
            Some(failed) if !is_enough => Err(self.error(failed, purpose)),
            _ => Ok(rows),
        }
    }

    /// The servers that must carry out a change of rows: of each list one.
    pub(crate) fn writers(&self) -> Result<Vec<Vec<HostId>>, EngineError> {
        let connected = self.connected()?;
        Ok(match self.options.replicated {
            true => connected.layout.shards.clone(),
            false => self.client.hosts.all().map(|host| vec![host]).collect(),
        })
    }

    pub(crate) fn is_distributed(&self) -> bool {
        !self.options.cluster.is_empty()
    }

    /// A server that does not answer, if there is one.
    pub(crate) fn away(&self) -> Option<(HostId, Failure)> {
        let probes =
            self.client.wait_for_each(self.client.hosts.all(), async |host| self.client.probe(host).await);
        let failed = probes.ok()?.into_iter().filter_map(|(host, probe)| Some((host, probe.err()?)));
        failed.into_iter().find(|(_, failure)| failure.is_unreachable())
    }

    /// Says which server is in the way.
    pub(crate) fn error(&self, (host, failure): (HostId, Failure), purpose: &str) -> EngineError {
        if failure.is_between_servers()
            && let Some((away, failure)) = self.away()
        {
            return failure.into_engine_error(&self.describe(away), purpose);
        }
        failure.into_engine_error(self.client.hosts.url(host), purpose)
    }

    /// A server as operators know it.
    fn describe(&self, host: HostId) -> String {
        let url = self.client.hosts.url(host);
        let connected = self.connected.read().clone();
        let shard = connected
            .as_ref()
            .and_then(|connected| connected.layout.shards.iter().position(|shard| shard.contains(&host)));
        match shard {
            Some(shard) if self.is_distributed() => format!("{url}, shard {},", shard + 1),
            _ => url.to_owned(),
        }
    }
}
