//! The servers as one engine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::Select;
use hyperbytedb_clickhouse_sql::schema::Database;
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::KnownTables;
use parking_lot::Mutex;

use crate::answer::Batches;
use crate::client::{Client, Request};
use crate::connect::Connected;
use crate::failure::Failure;
use crate::hosts::HostId;
use crate::options::ClickHouseOptions;

pub struct ClickHouseEngine {
    pub(crate) client: Arc<Client>,
    pub(crate) options: ClickHouseOptions,
    pub(crate) database: Database,
    /// `None`: they have not all answered yet.
    connected: Mutex<Option<Arc<Connected>>>,
    pub(crate) tables: KnownTables,
    /// Parts of an insert at work that have arrived, by table: a repetition leaves them out.
    pub(crate) arrived: Mutex<HashMap<TableId, HashSet<String>>>,
    /// When this process deleted rows of a table last: what is inserted afterwards is another insert, although its rows may have
    /// been stored before, by a server that was killed and now carries out its log again.
    pub(crate) deleted: Mutex<HashMap<TableId, u128>>,
}

impl ClickHouseEngine {
    /// Asks the servers. Those that do not answer are no error: they are asked again.
    pub fn open(options: ClickHouseOptions) -> Result<Self, EngineError> {
        let engine = Self {
            client: Arc::new(Client::new(&options)?),
            database: Database::new(options.database.as_str()),
            connected: Mutex::default(),
            tables: KnownTables::default(),
            arrived: Mutex::default(),
            deleted: Mutex::default(),
            options,
        };
        match engine.connected() {
            Err(EngineError::Unavailable(text)) => {
                tracing::error!("{text}; points stay in the log until that has changed");
            }
            connected => drop(connected?),
        }
        Ok(engine)
    }

    /// What the servers are, which is found out when all that is needed for it has been said.
    pub(crate) fn connected(&self) -> Result<Arc<Connected>, EngineError> {
        let mut connected = self.connected.lock();
        if let Some(known) = &*connected {
            return Ok(known.clone());
        }
        let found = Arc::new(self.connect()?);
        *connected = Some(found.clone());
        Ok(found)
    }

    /// Runs a statement on one server.
    pub(crate) fn execute_on(&self, host: HostId, statement: &Statement) -> Result<(), Failure> {
        let request = Request::statement(statement);
        self.client.wait(&QueryContext::unbounded(), self.client.run(host, &request)).map(drop)
    }

    /// Runs a statement on the first of these servers that is reached.
    pub(crate) fn execute_on_one(
        &self,
        hosts: &[HostId],
        statement: &Statement,
    ) -> Result<(), (HostId, Failure)> {
        self.on_one(hosts, |host| self.execute_on(host, statement))
    }

    /// The answer of the first of these servers that is reached.
    pub(crate) fn on_one<T>(
        &self,
        hosts: &[HostId],
        ask: impl Fn(HostId) -> Result<T, Failure>,
    ) -> Result<T, (HostId, Failure)> {
        let mut outcome = Err((0, Failure::Unreachable("there is no server to ask".to_owned())));
        for host in self.client.hosts.in_turn(hosts) {
            outcome = ask(host).map_err(|failure| (host, failure));
            if !matches!(&outcome, Err((_, failure)) if failure.is_unreachable()) {
                break;
            }
        }
        outcome
    }

    /// The whole answer of a small internal question.
    pub(crate) fn ask(&self, host: HostId, select: Select) -> Result<Vec<RecordBatch>, Failure> {
        let request = Request::read(select.to_string());
        let answer = self.client.wait(&QueryContext::unbounded(), self.client.run(host, &request))?;
        let mut batches = Batches::default();
        batches.push(answer);
        let mut rows = Vec::new();
        while let Some(batch) = batches.next()? {
            rows.push(batch);
        }
        batches.finish()?;
        Ok(rows)
    }

    /// What each shard answers, those without the table left out.
    pub(crate) fn ask_shards(&self, select: &Select, purpose: &str) -> Result<Vec<RecordBatch>, EngineError> {
        let mut rows = Vec::new();
        for shard in &self.connected()?.layout.shards {
            match self.on_one(shard, |host| self.ask(host, select.clone())) {
                Ok(batches) => rows.extend(batches),
                Err((_, failure)) if failure.is_unknown_table() => {}
                Err(failed) => return Err(self.error(failed, purpose)),
            }
        }
        Ok(rows)
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

    /// Says which server is in the way.
    pub(crate) fn error(&self, (host, failure): (HostId, Failure), purpose: &str) -> EngineError {
        if failure.is_between_servers() {
            let probe = |host: &HostId| {
                let answer = self.ask(*host, hyperbytedb_clickhouse_sql::cluster::version());
                answer.err().filter(Failure::is_unreachable).map(|failure| (*host, failure))
            };
            if let Some((away, failure)) = self.client.hosts.all().find_map(|host| probe(&host)) {
                return failure.into_engine_error(&self.describe(away), purpose);
            }
        }
        failure.into_engine_error(self.client.hosts.url(host), purpose)
    }

    /// A server as operators know it.
    fn describe(&self, host: HostId) -> String {
        let url = self.client.hosts.url(host);
        let connected = self.connected.lock().clone();
        let shard = connected
            .as_ref()
            .and_then(|connected| connected.layout.shards.iter().position(|shard| shard.contains(&host)));
        match shard {
            Some(shard) if self.is_distributed() => format!("{url}, shard {},", shard + 1),
            _ => url.to_owned(),
        }
    }
}
