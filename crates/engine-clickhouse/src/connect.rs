//! Finding out, once, what the servers are: their versions, who has which shard, and whose tables they hold.

use std::collections::HashSet;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::{UInt8Type, UInt32Type};
use hyperbytedb_clickhouse_sql::cluster;
use hyperbytedb_clickhouse_sql::schema::Database;
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_clickhouse_sql::{Select, Settings};
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::answers::{numbers, strings};

use crate::answer::all_rows;
use crate::client::Request;
use crate::failure::Failure;
use crate::hosts::{HostId, Layout};
use crate::options::ClickHouseOptions;
use crate::servers::Servers;

/// The oldest version that will do.
const VERSION_MIN: Version = Version(24, 8);
/// From this one on scans leave out rows of deletes that are still to be carried out.
const DELETES_ON_THE_FLY: Version = Version(25, 6);
/// From this one on no query may ask for the old analyzer.
const NEW_ANALYZER_ONLY: Version = Version(26, 9);
/// A table without rows, whose comment tells whose database this is.
const MARKER: &str = "installation";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// What the servers are.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) layout: Layout,
    /// Those that have not answered yet.
    pub(crate) away: Vec<HostId>,
    pub(crate) deletes_on_the_fly: bool,
    pub(crate) has_old_analyzer: bool,
    /// Settings of tables that all of them know.
    pub(crate) table_settings: Settings,
}

/// A server as one of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    shard: u32,
    weight: u32,
    host: String,
    is_asked: bool,
}

/// What one server says.
struct Greeting {
    version: Version,
    members: Vec<Member>,
    known_settings: HashSet<String>,
}

impl Servers {
    pub(crate) fn connect(&self) -> Result<Connected, EngineError> {
        let greetings = self.on_each(|host| match self.greet(host) {
            Ok(greeting) => Ok(Some(greeting)),
            // The others may know where it belongs.
            Err(failure) if failure.is_unreachable() && self.is_distributed() => {
                let error = failure.into_engine_error(self.client.hosts.url(host), "connecting");
                tracing::warn!("{error}");
                Ok(None)
            }
            Err(failure) => Err(failure.into_engine_error(self.client.hosts.url(host), "connecting")),
        })?;
        let layout = self.layout(&greetings)?;
        let known: Vec<&Greeting> = greetings.iter().flatten().collect();
        let mut table_settings = table_settings(&self.options);
        table_settings.retain(|name| known.iter().all(|greeting| greeting.known_settings.contains(name)));
        let deletes_on_the_fly = known.iter().all(|greeting| greeting.version >= DELETES_ON_THE_FLY);
        let has_old_analyzer = known.iter().all(|greeting| greeting.version < NEW_ANALYZER_ONLY);
        // In one order: of two installations that begin at once, the one that has the first server has them all.
        for (host, greeting) in greetings.iter().enumerate() {
            if greeting.is_some() {
                self.claim(host, &layout)?;
            }
            self.client.hosts.set_stranger(host, greeting.is_none());
        }
        tracing::info!(servers = known.len(), shards = layout.shards.len(), "connected to ClickHouse");
        let away = self.client.hosts.all().filter(|&host| greetings[host].is_none()).collect();
        Ok(Connected { layout, away, deletes_on_the_fly, has_old_analyzer, table_settings })
    }

    /// Asks each server something, at once: one that hangs holds up none of the others.
    fn on_each<T: Send>(
        &self,
        work: impl Fn(HostId) -> Result<T, EngineError> + Sync,
    ) -> Result<Vec<T>, EngineError> {
        let work = &work;
        thread::scope(|scope| {
            let threads: Vec<_> =
                self.client.hosts.all().map(|host| scope.spawn(move || work(host))).collect();
            let outcome = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(EngineError::failed("connecting", "a thread panicked")))
            };
            threads.into_iter().map(outcome).collect()
        })
    }

    fn greet(&self, host: HostId) -> Result<Greeting, Failure> {
        let url = self.client.hosts.url(host);
        let version = cluster::version();
        let answer = self.client.ask_at_once(host, &version);
        let text = first_column(&self.client.wait(&QueryContext::unbounded(), answer)?)?.concat();
        let version = Version::parse(&text)
            .ok_or_else(|| EngineError::failed("connecting", format!("odd version {text:?} of {url}")))?;
        if version < VERSION_MIN {
            let Version(major, minor) = VERSION_MIN;
            let text = format!("ClickHouse at {url} is {text}: it must be {major}.{minor} or newer");
            return Err(EngineError::failed("connecting", text).into());
        }
        let cluster = &self.options.cluster;
        let members = if cluster.is_empty() { Vec::new() } else { self.members(host)? };
        if members.is_empty() && !cluster.is_empty() {
            let text = format!(
                "ClickHouse at {url} does not know the cluster {cluster:?}: set clickhouse.cluster as in its remote_servers"
            );
            return Err(EngineError::failed("connecting", text).into());
        }
        let settings = cluster::known_table_settings(table_settings(&self.options).names());
        let known_settings = self.texts(host, settings)?.into_iter().collect();
        Ok(Greeting { version, members, known_settings })
    }

    fn members(&self, host: HostId) -> Result<Vec<Member>, Failure> {
        let mut members = Vec::new();
        for batch in self.ask_stranger(host, &cluster::members(&self.options.cluster))? {
            let shards = numbers::<UInt32Type>(&batch, 0)?.into_iter();
            let weights = numbers::<UInt32Type>(&batch, 1)?;
            let local = numbers::<UInt8Type>(&batch, 3)?;
            for (((shard, weight), host), local) in shards.zip(weights).zip(strings(&batch, 2)?).zip(local) {
                members.push(Member { shard, weight, host, is_asked: local != 0 });
            }
        }
        members.sort_by_key(|member| member.shard);
        Ok(members)
    }

    /// Which of our servers is which of the cluster's.
    fn layout(&self, greetings: &[Option<Greeting>]) -> Result<Layout, EngineError> {
        if self.options.cluster.is_empty() {
            return Ok(Layout::of_one_server());
        }
        let away = || EngineError::Unavailable("no ClickHouse server of clickhouse.urls answers".to_owned());
        let members = &greetings.iter().flatten().next().ok_or_else(away)?.members;
        let shard_of_host = greetings.iter().enumerate().map(|(host, greeting)| {
            let url = self.client.hosts.url(host);
            let found = match greeting {
                Some(greeting) => greeting.members.iter().find(|member| member.is_asked),
                // Only its name is known.
                None => {
                    let mut named = members.iter().filter(|member| is_host_of(url, &member.host));
                    named.next().filter(|_| named.next().is_none())
                }
            };
            match (found, greeting) {
                (Some(member), _) => Ok(member.shard),
                (None, None) => Err(EngineError::Unavailable(format!(
                    "ClickHouse at {url} has not answered yet, and the others do not know it by this name"
                ))),
                (None, Some(_)) => Err(EngineError::failed(
                    "connecting",
                    format!(
                        "ClickHouse at {url} is not in its own cluster {:?}: see host and port in its remote_servers",
                        self.options.cluster
                    ),
                )),
            }
        });
        let shard_of_host: Vec<u32> = shard_of_host.collect::<Result<_, _>>()?;
        layout_of(members, &shard_of_host).map_err(|text| EngineError::failed("connecting", text))
    }

    /// Makes the database where it is not, and sees whose it is: tables of another installation have the same names.
    fn claim(&self, host: HostId, layout: &Layout) -> Result<(), EngineError> {
        let url = self.client.hosts.url(host);
        let failed = |failure: Failure| failure.into_engine_error(url, "making the database");
        let shard = layout.shards.iter().position(|shard| shard.contains(&host)).unwrap_or_default();
        let own = format!("{}, shard {} of {:?}", self.options.installation, shard, layout.slots);
        if self.texts(host, cluster::database(&self.database)).map_err(failed)?.is_empty() {
            self.execute_at_stranger(host, &Statement::CreateDatabase { database: self.database.clone() })
                .map_err(failed)?;
        }
        let mut marker = self.marker(host).map_err(failed)?;
        if marker.is_none() {
            self.refuse_foreign_tables(host)?;
            let table = self.database.named(MARKER);
            let statement = Statement::CreateMarker { table, comment: own.clone() };
            self.execute_at_stranger(host, &statement).map_err(failed)?;
            marker = self.marker(host).map_err(failed)?;
        }
        let marker = marker.unwrap_or_default();
        if marker == own {
            return Ok(());
        }
        let database = Database::name(&self.database);
        Err(EngineError::failed(
            "connecting",
            format!(
                "database {database} of {url} belongs to installation {marker:?}, this is {own:?}: use the data folder that \
                 it was made with and as many shards as then, or another clickhouse.database"
            ),
        ))
    }

    /// The marker is there before any table of ours.
    fn refuse_foreign_tables(&self, host: HostId) -> Result<(), EngineError> {
        let url = self.client.hosts.url(host);
        let tables = self.texts(host, cluster::tables(&self.database));
        let tables = tables.map_err(|failure| failure.into_engine_error(url, "looking at the database"))?;
        // Two servers may make it at once.
        let Some(table) = tables.iter().find(|name| *name != MARKER) else { return Ok(()) };
        let database = Database::name(&self.database);
        let text = format!(
            "database {database} of {url} has a table that is none of HyperbyteDB's, {table}: choose another \
             clickhouse.database"
        );
        Err(EngineError::failed("connecting", text))
    }

    fn marker(&self, host: HostId) -> Result<Option<String>, Failure> {
        for batch in self.ask_stranger(host, &cluster::tables(&self.database))? {
            let named = strings(&batch, 0)?.into_iter().zip(strings(&batch, 1)?);
            if let Some((_, comment)) = named.into_iter().find(|(name, _)| name == MARKER) {
                return Ok(Some(comment));
            }
        }
        Ok(None)
    }

    fn ask_stranger(&self, host: HostId, select: &Select) -> Result<Vec<RecordBatch>, Failure> {
        let request = Request::read(select.to_string());
        let answer = self.client.run_at_stranger(host, &request);
        all_rows(self.client.wait(&QueryContext::unbounded(), answer)?)
    }

    fn execute_at_stranger(&self, host: HostId, statement: &Statement) -> Result<(), Failure> {
        let request = Request::statement(statement);
        let answer = self.client.run_at_stranger(host, &request);
        self.client.wait(&QueryContext::unbounded(), answer).map(drop)
    }

    /// The first column of a small answer.
    fn texts(&self, host: HostId, select: Select) -> Result<Vec<String>, Failure> {
        Ok(first_column(&self.ask_stranger(host, &select)?)?)
    }
}

fn first_column(answer: &[RecordBatch]) -> Result<Vec<String>, EngineError> {
    let mut texts = Vec::new();
    for batch in answer {
        texts.extend(strings(batch, 0)?);
    }
    Ok(texts)
}

/// `hosts`: the shard of each of our servers, by the cluster's number.
fn layout_of(members: &[Member], hosts: &[u32]) -> Result<Layout, String> {
    let mut layout = Layout { shards: Vec::new(), slots: Vec::new() };
    let mut last = None;
    for member in members {
        if last == Some(member.shard) {
            continue;
        }
        last = Some(member.shard);
        let servers: Vec<HostId> = (0..hosts.len()).filter(|host| hosts[*host] == member.shard).collect();
        if servers.is_empty() {
            return Err(format!(
                "shard {} of the cluster, on {}, has no server in clickhouse.urls",
                member.shard, member.host
            ));
        }
        layout.slots.extend(std::iter::repeat_n(layout.shards.len(), member.weight as usize));
        layout.shards.push(servers);
    }
    if layout.slots.is_empty() {
        return Err("all shards of the cluster have the weight 0".to_owned());
    }
    Ok(layout)
}

fn is_host_of(url: &str, host: &str) -> bool {
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    address == host || address.strip_prefix(host).is_some_and(|rest| rest.starts_with(':'))
}

/// Few large merges, and inserts that are known when they come again.
fn table_settings(options: &ClickHouseOptions) -> Settings {
    let mut settings = Settings::default()
        // Tags follow from the series, so they need not be part of the key.
        .with("allow_dimensions_outside_sorting_key", 1)
        .with("min_age_to_force_merge_seconds", 300)
        .with("min_age_to_force_merge_on_partition_only", 1);
    if !options.replicated {
        settings.set("non_replicated_deduplication_window", options.deduplication_window);
    }
    if options.fsync {
        settings.set("fsync_after_insert", 1);
        settings.set("fsync_part_directory", 1);
        settings.set("min_rows_to_fsync_after_merge", 1);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(shard: u32, weight: u32) -> Member {
        Member { shard, weight, host: format!("h{shard}"), is_asked: false }
    }

    #[test]
    fn versions() {
        assert!(Version::parse("24.3.1.5").unwrap() < VERSION_MIN);
        assert!(Version::parse("25.1.2").unwrap() > VERSION_MIN);
        assert_eq!(Version::parse("x.1"), None);
    }

    #[test]
    fn slots_follow_the_weights() {
        let members = [member(1, 2), member(1, 2), member(2, 1)];
        let layout = layout_of(&members, &[2, 1, 1]).unwrap();
        assert_eq!(layout, Layout { shards: vec![vec![1, 2], vec![0]], slots: vec![0, 0, 1] });
        assert!(layout_of(&members, &[1, 1]).unwrap_err().contains("shard 2 of the cluster, on h2"));
        assert!(layout_of(&[member(1, 0)], &[1]).is_err());
    }

    #[test]
    fn hosts_are_known_by_name() {
        assert!(is_host_of("https://ch1:8443", "ch1"));
        assert!(!is_host_of("https://ch11:8443", "ch1"));
    }
}
