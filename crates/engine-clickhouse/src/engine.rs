//! The servers as one engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use hyperbytedb_clickhouse_sql::schema::Database;
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_clickhouse_sql::{Select, cluster};
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::KnownTables;
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::answer::Batches;
use crate::client::{Client, Request};
use crate::connect::Connected;
use crate::failure::Failure;
use crate::hosts::HostId;
use crate::insert::Attempted;
use crate::options::ClickHouseOptions;

/// How long those that have not answered are left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Which servers of a shard that are not replicas of each other must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    All,
    ThoseThatAnswer,
}

pub struct ClickHouseEngine {
    pub(crate) client: Arc<Client>,
    pub(crate) options: ClickHouseOptions,
    pub(crate) database: Database,
    /// `None`: not enough of them have answered yet.
    connected: RwLock<Option<Arc<Connected>>>,
    /// Held while they are asked. When those that have not answered may be asked again.
    connecting: Mutex<Instant>,
    pub(crate) tables: KnownTables,
    /// Of the insert at work, by table: what has become of its parts, by token and servers.
    pub(crate) attempts: Mutex<HashMap<TableId, HashMap<String, Attempted>>>,
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
            connected: RwLock::default(),
            connecting: Mutex::new(Instant::now()),
            tables: KnownTables::default(),
            attempts: Mutex::default(),
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

    /// What the servers are, which is found out when all that is needed for it has been said. Those that have not answered so far
    /// are asked now and then.
    pub(crate) fn connected(&self) -> Result<Arc<Connected>, EngineError> {
        let known = self.connected.read().clone();
        match known {
            Some(known) if known.away.is_empty() => Ok(known),
            Some(known) => match self.connecting.try_lock() {
                Some(connecting) if Instant::now() >= *connecting => Ok(self.look_again(connecting, known)),
                _ => Ok(known),
            },
            None => {
                let _connecting = self.connecting.lock();
                if let Some(known) = self.connected.read().clone() {
                    return Ok(known);
                }
                let found = Arc::new(self.connect()?);
                *self.connected.write() = Some(found.clone());
                Ok(found)
            }
        }
    }

    /// Asks all anew when one of those that were away answers.
    fn look_again(&self, mut connecting: MutexGuard<'_, Instant>, known: Arc<Connected>) -> Arc<Connected> {
        let answers = |&host: &HostId| {
            let failure = self.probe(host, cluster::version()).err();
            failure.is_none_or(|failure| !failure.is_unreachable())
        };
        let is_back = known.away.iter().any(answers);
        let found = match is_back.then(|| self.connect()) {
            Some(Ok(found)) => Arc::new(found),
            Some(Err(error)) => {
                tracing::error!("{error}");
                known
            }
            None => known,
        };
        *self.connected.write() = Some(found.clone());
        *connecting = Instant::now() + LOOK_AGAIN;
        found
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
        rows(self.client.wait(&QueryContext::unbounded(), self.client.run(host, &request))?)
    }

    /// The answer of a question that any server answers at once.
    pub(crate) fn probe(&self, host: HostId, select: Select) -> Result<Vec<RecordBatch>, Failure> {
        let request = Request::read(select.to_string());
        rows(self.client.wait(&QueryContext::unbounded(), self.client.probe(host, &request))?)
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
            match self.ask(host, select.clone()) {
                Ok(batches) => {
                    rows.extend(batches);
                    has_answered = true;
                }
                Err(failure) if failure.is_unknown_table() => has_answered = true,
                Err(failure) if failure.is_unreachable() => away = Some((host, failure)),
                Err(failure) => return Err(self.error((host, failure), purpose)),
            }
            if has_answered && self.options.replicated {
                return Ok(rows);
            }
        }
        match away {
            Some(failed) if asked == Asked::All || !has_answered => Err(self.error(failed, purpose)),
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
        let probe = |host| {
            let answer = self.probe(host, cluster::version());
            answer.err().filter(Failure::is_unreachable).map(|failure| (host, failure))
        };
        self.client.hosts.all().find_map(probe)
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

/// The batches of a whole answer.
fn rows(answer: Bytes) -> Result<Vec<RecordBatch>, Failure> {
    let mut batches = Batches::default();
    batches.push(answer);
    let mut rows = Vec::new();
    while let Some(batch) = batches.next()? {
        rows.push(batch);
    }
    batches.finish()?;
    Ok(rows)
}
